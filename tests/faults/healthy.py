"""Sound plans, drawn at random: the ground for a fault to be planted in, and awkward ones that must not raise an alarm."""

import random
from collections.abc import Callable
from dataclasses import replace

from tests.faults.plan import Plan

# task, net, width, depth, epochs, {optimizer: lr}
GROUND = (
    ("gratings", "resnet", (16, 24), (2,), (8, 12), {"adam": 3e-3, "sgd": 0.1, "adamw": 3e-3, "rmsprop": 1e-3}),
    ("shapes", "resnet", (16, 24), (2,), (8, 12), {"adam": 3e-3, "sgd": 0.1, "adamw": 3e-3}),
    ("gratings", "vgg", (12, 20), (2,), (8, 12), {"adam": 2e-3, "adamw": 2e-3, "rmsprop": 1e-3}),
    ("shapes", "vgg", (12, 20), (2,), (10, 14), {"adam": 2e-3, "sgd": 0.05}),
    ("gratings", "vit", (24, 32), (2,), (10, 14), {"adam": 2e-3, "adamw": 2e-3}),
    ("prose", "decoder", (32, 48), (2,), (6, 9), {"adamw": 3e-3, "adam": 2e-3}),
    ("grammar", "decoder", (32,), (2,), (5, 8), {"adamw": 3e-3, "adam": 2e-3}),
    ("grammar", "lstm", (40, 56), (1,), (6, 9), {"adam": 6e-3, "rmsprop": 4e-3}),
    ("tokens", "bag", (24, 32), (1,), (10, 14), {"adam": 3e-3, "adamw": 3e-3}),
    ("tokens", "gru", (32, 40), (1,), (6, 9), {"adam": 2e-3, "rmsprop": 1e-3}),
    ("tokens", "textconv", (24, 32), (2,), (5, 8), {"adam": 1e-3, "adamw": 1e-3}),
    ("teacher", "mlp", (48, 64), (2, 3), (12, 20), {"adam": 2e-3, "sgd": 0.1, "adamw": 2e-3}),
    ("teacher", "mlp", (64,), (6, 7), (12, 16), {"adam": 1e-3}),
    ("teacher", "tabresnet", (32,), (2, 4), (8, 12), {"adamw": 1e-3, "adam": 1e-3}),
    ("friedman", "mlp", (48, 64), (2, 3), (15, 24), {"adam": 3e-3, "sgd": 0.03}),
    ("friedman", "tabresnet", (32,), (2, 3), (12, 18), {"adamw": 2e-3, "adam": 2e-3}),
    ("series", "lstm", (32,), (1,), (10, 14), {"adam": 8e-3, "rmsprop": 3e-3}),
    ("shapes", "vae", (12,), (1,), (12, 16), {"adam": 2e-3}),
    ("gratings", "autoencoder", (16, 24), (1,), (12, 16), {"adam": 2e-3, "adamw": 2e-3}),
    ("views", "towers", (48,), (2,), (10, 14), {"adam": 2e-3, "adamw": 2e-3}),
)
SAMPLES = {"prose": 1400, "grammar": 1400, "parity": 1200, "teacher": 1400, "friedman": 1200, "views": 1536, "series": 1000, "tokens": 1200}
NOISE = {"vae": 0.2, "autoencoder": 0.1}


def ground(dice: random.Random, *, tasks: tuple[str, ...] = (), nets: tuple[str, ...] = (), optimizers: tuple[str, ...] = ()) -> Plan:
    """An ordinary sound plan. Tasks of images serve classifiers and autoencoders."""
    fitting = [g for g in GROUND if (not tasks or g[0] in tasks) and (not nets or g[1] in nets) and (not optimizers or set(optimizers) & set(g[5]))]
    task, net, widths, depths, epochs, rates = dice.choice(fitting)
    optimizer = dice.choice([o for o in rates if not optimizers or o in optimizers])
    schedule = dice.choice(["none", "none", "none", "cosine", "cosine", "linear", "onecycle", "step"])
    samples = SAMPLES.get(task, 1200)
    batch = 64 if net == "towers" else dice.choice([16, 32, 32, 48, 64] if samples > 1000 else [16, 32])
    plan = Plan(
        task=task,
        net=net,
        width=dice.choice(widths),
        depth=dice.choice(depths),
        train_samples=samples,
        batch_size=batch,
        epochs=dice.randint(*epochs),
        optimizer=optimizer,
        lr=float(f"{rates[optimizer] * dice.uniform(0.6, 1.3):.1g}"),
        momentum=0.9 if optimizer == "sgd" and dice.random() < 0.5 else 0.0,
        weight_decay=dice.choice([0.0, 0.0, 1e-4]) if optimizer != "adamw" else dice.choice([0.01, 0.05]),
        schedule=schedule,
        warmup_steps=dice.choice([20, 40]) if schedule in ("cosine", "linear") and dice.random() < 0.6 else 0,
        grad_clip=1.0 if net in ("decoder", "lstm", "gru", "vit") and dice.random() < 0.6 else None,
        dropout=0.1 if net in ("decoder", "tabresnet", "vgg") and dice.random() < 0.4 else 0.0,
        noise=NOISE.get(net),
        seed=dice.randrange(1 << 20),
    )
    return replace(plan, lr=float(f"{plan.lr / 8:.1g}")) if plan.momentum else plan


def small_batches(dice: random.Random) -> Plan:
    plan = ground(dice, tasks=("tokens", "teacher", "shapes"), nets=("bag", "mlp", "vgg"), optimizers=("adam",))
    return replace(plan, batch_size=4, lr=float(f"{plan.lr / 4:.1g}"), epochs=max(4, plan.epochs // 2), train_samples=800)


def early_plateau(dice: random.Random) -> Plan:
    return Plan(
        task="parity",
        net="mlp",
        width=64,
        depth=2,
        train_samples=1200,
        batch_size=32,
        epochs=dice.randint(14, 20),
        optimizer="adam",
        lr=dice.choice([5e-4, 7e-4]),
        seed=dice.randrange(1 << 20),
    )


def warmup_bump(dice: random.Random) -> Plan:
    plan = ground(dice, tasks=("prose", "grammar", "gratings"), nets=("decoder", "vit"))
    return replace(plan, schedule="cosine", warmup_steps=60, lr=6e-3, grad_clip=1.0)


def cosine_restarts(dice: random.Random) -> Plan:
    return replace(ground(dice, tasks=("gratings", "shapes", "teacher", "friedman")), schedule="restarts", warmup_steps=0)


def smoothed_labels(dice: random.Random) -> Plan:
    return replace(
        ground(dice, tasks=("gratings", "shapes", "tokens", "teacher"), nets=("resnet", "vgg", "vit", "bag", "textconv", "mlp")),
        label_smoothing=dice.choice([0.1, 0.15]),
    )


def one_epoch(dice: random.Random) -> Plan:
    plan = ground(dice, tasks=("grammar", "shapes", "gratings"), nets=("decoder", "resnet"))
    return replace(plan, epochs=1, train_samples=6400, batch_size=16)


def low_start(dice: random.Random) -> Plan:
    plan = ground(dice, tasks=("gratings", "shapes", "grammar", "teacher"), nets=("resnet", "vgg", "decoder", "mlp"), optimizers=("adam",))
    return replace(plan, pretrained="full", lr=plan.lr / 5, epochs=6, schedule="linear", warmup_steps=0)


def adapters(dice: random.Random) -> Plan:
    plan = ground(dice, tasks=("tokens", "teacher", "gratings"), nets=("bag", "mlp", "tabresnet", "vit"))
    return replace(plan, pretrained="narrow", adapters=dice.choice([4, 8]), optimizer="adamw", weight_decay=0.0, lr=5e-3, momentum=0.0)


def linear_probe(dice: random.Random) -> Plan:
    plan = ground(dice, tasks=("gratings", "shapes", "tokens"), nets=("resnet", "vgg", "bag", "textconv"))
    return replace(plan, pretrained="narrow", freeze_backbone=True, optimizer="adam", momentum=0.0, lr=1e-2)


def still_improving(dice: random.Random) -> Plan:
    plan = ground(dice, tasks=("prose", "friedman", "series", "gratings"), nets=("decoder", "mlp", "lstm", "autoencoder"))
    return replace(plan, schedule="none", warmup_steps=0)


def resumed(dice: random.Random) -> Plan:
    plan = ground(dice)
    return replace(plan, resume_at=max(2, plan.epochs // 2 + 1))


AWKWARD: dict[str, Callable[[random.Random], Plan]] = {
    "small_batches": small_batches,
    "early_plateau": early_plateau,
    "warmup_bump": warmup_bump,
    "cosine_restarts": cosine_restarts,
    "smoothed_labels": smoothed_labels,
    "one_epoch": one_epoch,
    "low_start": low_start,
    "adapters": adapters,
    "linear_probe": linear_probe,
    "still_improving": still_improving,
    "resumed": resumed,
}
