"""What is found in a checkpoint, wherever training scripts put it."""

import argparse
import copy
import pathlib
import warnings
from enum import Enum

import numpy as np
import pytest
import torch
from torch import nn

from postmortem.model.run import Status
from postmortem.sources import read_run
from postmortem.sources.checkpoints import torch_zip
from postmortem.sources.reader import Candidate

pytestmark = pytest.mark.filterwarnings("ignore:Detected call of", "ignore:.*lr_scheduler.step", "ignore:Couldn't retrieve source code")


class Schedule(Enum):
    COSINE = "cosine"


class Hyper(dict):
    """Like Lightning's AttributeDict: a dict of its own class."""


class Arguments:
    """Like TrainingArguments: plain attributes, an enum and a path among them."""


def found(file):
    one = Candidate(file.parent, file.name, file.stat().st_size, file.read_bytes()[:4096])
    assert torch_zip.claims(one)
    return torch_zip.read(one)


@pytest.fixture
def saved(tmp_path):
    def save(value, name="model.pt"):
        torch.save(value, tmp_path / name)
        (one,) = found(tmp_path / name).checkpoints
        return one

    return save


def net():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def trained(model, optimizer, steps=3):
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 3)).square().mean().backward()
        optimizer.step()
    return optimizer


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s, lambda s: {"model": s}, lambda s: {"state_dict": s}, lambda s: {"model_state_dict": s}, lambda s: {"net": s}, lambda s: {"module": s},
        lambda s: {"generator": s}, lambda s: {"checkpoint": {"model": {"state_dict": s}}}, lambda s: {"encoder_q": s, "epoch": 3},
        lambda s: {"model": {f"module.{k}": v for k, v in s.items()}}, lambda s: {"model": {f"_orig_mod.{k}": v for k, v in s.items()}},
        lambda s: {"model": {f"module._orig_mod.{k}": v for k, v in s.items()}}, lambda s: [s], lambda s: (s, {"step": 1}),
        lambda s: {"model": s, "model_ema": {k: v * 0 for k, v in s.items()}}, lambda s: {"ema": {k: v * 0 for k, v in s.items()}, "state_dict": s},
        lambda s: {"model": s, "rng_state": torch.get_rng_state(), "cuda_rng_state": [torch.get_rng_state()]},
        lambda s: {"state_dict": s, "best_state_dict": dict(s)},
    ],
)  # fmt: skip
def test_the_model_under_any_key(wrap, saved):
    state = net().state_dict()
    one = saved(wrap(state))
    assert [t.name for t in one.tensors] == list(state)
    assert one.status is Status.READ
    assert one.trainable is None


def test_two_models_keep_their_keys(saved):
    one = saved({"generator": net().state_dict(), "discriminator": {"state_dict": nn.Linear(2, 1).state_dict()}})
    names = {t.name for t in one.tensors}
    assert {"generator.0.weight", "discriminator.weight", "discriminator.bias"} <= names
    beside = saved({"model": net().state_dict(), "criterion": {"centers": torch.ones(3)}})
    assert {"0.weight", "criterion.centers"} <= {t.name for t in beside.tensors}


def test_copies_are_counted_and_left_out(saved):
    one = saved({"model": net().state_dict(), "ema_state_dict": net().state_dict()})
    assert one.facts["copied_tensors"] == len(net().state_dict())
    alone = saved({"ema_state_dict": net().state_dict()})
    assert len(alone.tensors) == len(net().state_dict())


def test_an_averaged_model_has_the_names_of_the_model(saved):
    one = saved(torch.optim.swa_utils.AveragedModel(net()).state_dict())
    assert {t.name for t in one.tensors} == {"n_averaged", *net().state_dict()}


def test_lightnings_average_is_a_copy_of_the_model_that_is_trained(saved):
    model = net().state_dict()
    average = {k: v + 1 for k, v in model.items()}
    one = saved({"state_dict": average, "current_model_state": model, "averaging_state": {"n_averaged": torch.tensor(3)}})
    assert [t.name for t in one.tensors] == list(model)
    assert one.facts["copied_tensors"] == len(model) + 1
    alone = saved({"state_dict": model, "averaging_state": {"n_averaged": torch.tensor(3)}})
    assert [t.name for t in alone.tensors] == list(model)


def test_a_number_in_a_name_that_the_file_calls_its_epoch(saved):
    """timm's `checkpoint-5.pth.tar` is that of epoch 5, where `checkpoint-5` of transformers is of step 5."""
    one = saved({"epoch": 5, "state_dict": net().state_dict()}, "checkpoint-5.pth.tar")
    assert (one.step, one.epoch) == (None, 5)
    two = saved({"epoch": 2, "state_dict": net().state_dict()}, "checkpoint-5.pth.tar")
    assert (two.step, two.epoch) == (5, 2)


def test_a_tree_of_dicts_is_one_model(saved):
    one = saved({"params": {"encoder": {"kernel": torch.ones(2, 2), "bias": torch.ones(2)}, "head": {"kernel": torch.ones(2, 1)}}})
    assert {t.name for t in one.tensors} == {"encoder.kernel", "encoder.bias", "head.kernel"}


def test_a_whole_module_inside_a_dict_beside_its_copy(saved):
    model = net()
    model[0].weight.requires_grad_(requires_grad=False)
    one = saved({"epoch": -1, "model": model, "ema": copy.deepcopy(model), "train_args": {"lr0": 0.01}})
    assert [t.name for t in one.tensors] != []
    assert {t.name for t in one.tensors} == set(model.state_dict())
    assert one.trainable == {n: p.requires_grad for n, p in model.named_parameters()}
    assert one.trainable["0.weight"] is False
    assert one.epoch is None  # ultralytics, once training is over


OPTIMIZERS = {
    "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "adam-amsgrad": lambda p: torch.optim.Adam(p, amsgrad=True),
    "adamw-amsgrad": lambda p: torch.optim.AdamW(p, amsgrad=True), "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "rmsprop": torch.optim.RMSprop, "adagrad": torch.optim.Adagrad, "adadelta": torch.optim.Adadelta,
    "nadam": torch.optim.NAdam, "radam": torch.optim.RAdam, "adamax": torch.optim.Adamax,
    "adafactor": torch.optim.Adafactor, "asgd": torch.optim.ASGD, "rprop": torch.optim.Rprop,
}  # fmt: skip


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_optimizer_of_torch_is_recognised_with_its_state(kind, saved):
    model = net()
    optimizer = trained(model, OPTIMIZERS[kind](model.parameters()))
    one = saved({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    state = one.optimizer
    assert state.kind == kind
    assert state.source == "model.pt"
    expected = optimizer.state_dict()
    assert [s.param for s in state.states] == list(expected["state"])
    assert state.groups[0].params == tuple(expected["param_groups"][0]["params"])
    assert state.groups[0].settings["lr"] == expected["param_groups"][0]["lr"]
    for one_state in state.states:
        saved_slots = expected["state"][one_state.param]
        assert set(one_state.slots) == {k for k, v in saved_slots.items() if isinstance(v, torch.Tensor) and k != "step"}
        assert all(ref.shape == tuple(saved_slots[k].shape) for k, ref in one_state.slots.items())
        if "step" in saved_slots:
            assert one_state.step == 3.0


def test_plain_sgd_has_no_state_and_is_still_recognised(saved):
    model = net()
    one = saved({"model": model.state_dict(), "optimizer": torch.optim.SGD(model.parameters(), lr=0.5).state_dict()})
    assert one.optimizer.kind == "sgd"
    assert one.optimizer.states == ()
    assert one.optimizer.groups[0].settings["momentum"] == 0
    assert "optimizer_step" not in one.facts


@pytest.mark.parametrize(("slots", "kind"), [
    (("state1", "state2", "absmax1", "qmap1"), "adam-8bit"), (("exp_avg",), "lion"), (("exp_avg_sq_row", "exp_avg_sq_col"), "adafactor"),
    (("exp_avg", "exp_avg_sq", "exp_avg_diff"), "adan"), (("unheard_of",), ""),
])  # fmt: skip
def test_optimizers_of_other_packages_by_their_slots(slots, kind, saved):
    one = saved({"state": {0: {"step": 7, **{s: torch.ones(4) for s in slots}}}, "param_groups": [{"params": [0], "lr": 1e-3}]}, "optimizer.pt")
    assert one.optimizer.kind == kind
    assert one.optimizer.states[0].step == 7
    assert one.facts["optimizer_step"] == 7
    assert one.step == 7


def test_parameter_groups_names_and_tuples(saved):
    model = net()
    optimizer = torch.optim.AdamW(
        [{"params": list(model.named_parameters())[:2], "lr": 1e-3, "weight_decay": 0.0}, {"params": list(model.named_parameters())[2:]}],
        lr=torch.tensor(2e-3),
        betas=(0.8, 0.95),
    )
    one = saved({"optim": optimizer.state_dict()})
    first, second = one.optimizer.groups
    assert first.names == ("0.weight", "0.bias")
    assert first.params == (0, 1)
    assert first.settings["betas.0"] == 0.8
    assert first.settings["betas.1"] == 0.95
    assert second.settings["lr"] == pytest.approx(2e-3)


def test_lightning(saved, tmp_path):
    model = net()
    optimizer = trained(model, torch.optim.Adam(model.parameters()))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
    checkpoint = {
        "epoch": 8, "global_step": 405, "pytorch-lightning_version": "2.4.0", "state_dict": {f"net.{k}": v for k, v in model.state_dict().items()},
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"current": {"completed": 9}}}},
        "callbacks": {
            "ModelCheckpoint{'monitor': 'val_loss'}": {"monitor": "val_loss", "best_model_score": torch.tensor(0.25), "best_model_path": "a/b.ckpt"},
            "EarlyStopping{'monitor': 'val_loss'}": {"wait_count": 2, "patience": 3, "best_score": torch.tensor(0.25), "stopped_epoch": 0},
        },
        "optimizer_states": [optimizer.state_dict()], "lr_schedulers": [scheduler.state_dict()],
        "MixedPrecision": {"scale": 65536.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 2000, "_growth_tracker": 12},
        "hparams_name": "kwargs", "hyper_parameters": Hyper(lr=0.001, layers=[3, 4], nested={"dropout": 0.5}, schedule=Schedule.COSINE, path=pathlib.PurePosixPath("data/x")),
    }  # fmt: skip
    one = saved(checkpoint, "epoch=8-step=405.ckpt")
    assert (one.step, one.epoch) == (405, 8)
    assert one.optimizer.kind == "adam"
    assert one.scheduler["_last_lr"] == 0.001
    assert one.scheduler["step_size"] == 10
    assert one.scaler["scale"] == 65536.0
    assert one.scaler["_growth_tracker"] == 12
    settings = {s.key: s for s in one.settings}
    assert settings["hyper_parameters.lr"].value == 0.001
    assert settings["hyper_parameters.lr"].name == "learning_rate"
    assert settings["hyper_parameters.lr"].file == "epoch=8-step=405.ckpt"
    assert settings["hyper_parameters.nested.dropout"].value == 0.5
    assert settings["hyper_parameters.layers.1"].value == 4
    assert settings["hyper_parameters.schedule"].value == "cosine"
    assert settings["hyper_parameters.path"].value == "data/x"
    assert one.facts["early_stopping.wait_count"] == 2
    assert one.facts["model_checkpoint.best_model_score"] == 0.25
    assert one.facts["pytorch-lightning_version"] == "2.4.0"


def test_training_arguments_are_settings_and_no_checkpoint(tmp_path):
    arguments = Arguments()
    arguments.__dict__.update(
        learning_rate=5e-5,
        per_device_train_batch_size=8,
        lr_scheduler_type=Schedule.COSINE,
        output_dir="out",
        device=torch.device("cpu"),
        fsdp=[],
        dtype=torch.float16,
    )
    torch.save(arguments, tmp_path / "training_args.bin")
    one = found(tmp_path / "training_args.bin")
    assert one.checkpoints == ()
    assert one.source.status is Status.READ
    settings = {s.key: (s.name, s.value) for s in one.settings}
    assert settings["learning_rate"] == ("learning_rate", 5e-5)
    assert settings["per_device_train_batch_size"] == ("batch_size", 8)
    assert settings["lr_scheduler_type"][1] == "cosine"
    assert settings["device"][1] == "cpu"
    assert settings["dtype"][1] == "float16"


def test_namespaces_scores_and_bookkeeping(saved):
    one = saved({
        "arch": "resnet18", "epoch": 17, "best_acc1": torch.tensor(71.5), "loss": np.float32(0.5), "args": argparse.Namespace(lr=0.1, gpu=None, tags=["a"]),
        "state_dict": net().state_dict(), "optimizer": torch.optim.SGD(net().parameters(), lr=0.1).state_dict(),
    }, "model_best.pth.tar")  # fmt: skip
    assert one.epoch == 17
    assert one.facts["best_acc1"] == 71.5
    assert one.facts["loss"] == 0.5
    assert one.facts["arch"] == "resnet18"
    settings = {s.key: s.value for s in one.settings}
    assert settings["args.lr"] == 0.1
    assert settings["args.gpu"] is None
    assert settings["args.tags.0"] == "a"
    meta = saved({"meta": {"epoch": 12, "iter": 4800}, "state_dict": net().state_dict()}, "latest.pth")
    assert (meta.step, meta.epoch) == (4800, 12)


def test_the_step_out_of_content_name_or_optimizer(saved):
    model = net()
    adam = trained(model, torch.optim.Adam(model.parameters()), 5).state_dict()
    assert saved({"model": model.state_dict(), "iter_num": 7, "optimizer": adam}, "step_9.pt").step == 7
    assert saved({"model": model.state_dict(), "optimizer": adam}, "step_9.pt").step == 9
    counted = saved({"model": model.state_dict(), "optimizer": adam}, "checkpoint_ep002.pth")
    assert (counted.step, counted.epoch) == (5, 2)
    assert counted.facts["step_from"] == "optimizer"
    assert saved({"model": model.state_dict(), "step": torch.tensor(11)}, "x.pt").step == 11
    assert saved({"model": model.state_dict(), "epoch": float("nan")}, "x.pt").epoch is None
    assert saved({"model": model.state_dict(), "step": True}, "x.pt").step is None


def test_schedulers_scaler_and_optimizer_files_on_their_own(saved):
    model = net()
    optimizer = trained(model, torch.optim.AdamW(model.parameters()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
        warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        chain = torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, cosine], milestones=[5])
        one = saved(chain.state_dict(), "scheduler.pt")
    assert one.tensors == ()
    assert one.scheduler["last_epoch"] == 0
    assert one.scheduler["_schedulers.1.T_max"] == 10
    scaler = saved({"scale": 0.5, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 2000, "_growth_tracker": 0}, "scaler.pt")
    assert scaler.scaler["scale"] == 0.5
    alone = saved(optimizer.state_dict(), "optimizer.bin")
    assert alone.optimizer.kind == "adamw"
    assert alone.tensors == ()


def test_deepspeed_and_megatron_layouts(saved):
    model = net()
    deepspeed = saved({
        "module": model.state_dict(), "optimizer": None, "lr_scheduler": {"last_batch_iteration": 99}, "global_steps": 1000, "skipped_steps": 12, "dp_world_size": 8,
        "ds_config": {"fp16": {"enabled": True}, "gradient_clipping": 1.0}, "ds_version": "0.14",
    }, "mp_rank_00_model_states.pt")  # fmt: skip
    assert deepspeed.step == 1000
    assert deepspeed.facts["skipped_steps"] == 12
    assert {s.key: s.value for s in deepspeed.settings}["ds_config.fp16.enabled"] is True
    adam = trained(model, torch.optim.AdamW(model.parameters())).state_dict()
    megatron = saved({
        "args": argparse.Namespace(lr=3e-4, seq_length=2048), "checkpoint_version": 3.0, "iteration": 500,
        "model": {"language_model": {"encoder": {f"layers.{k}": v for k, v in model.state_dict().items()}, "embedding": {"word": {"weight": torch.ones(5, 2)}}}},
        "optimizer": {"optimizer": adam, "grad_scaler": {"scale": 1.0, "growth_factor": 2.0, "_growth_tracker": 4}, "fp32_from_fp16_params": [[torch.ones(4)], [torch.ones(2)]]},
        "opt_param_scheduler": {"max_lr": 3e-4, "num_steps": 500, "lr_decay_style": "cosine", "lr_warmup_steps": 10}, "rng_state": [{"np": 1}],
    }, "model_optim_rng.pt")  # fmt: skip
    assert megatron.step == 500
    assert megatron.optimizer.kind == "adamw"
    assert megatron.scaler["scale"] == 1.0
    assert megatron.scheduler["lr_decay_style"] == "cosine"
    assert {"language_model.encoder.layers.0.weight", "language_model.embedding.word.weight"} <= {t.name for t in megatron.tensors}
    assert not [t for t in megatron.tensors if "fp32" in t.name]


def test_odd_structures_do_no_harm(saved, tmp_path):
    loop = {"model": net().state_dict()}
    loop["self"] = loop
    assert len(saved(loop).tensors) == len(net().state_dict())
    for value in (
        None,
        3,
        "text",
        [],
        {},
        {"a": {}},
        {"state": {}, "param_groups": "x"},
        {"param_groups": []},
        {"model": None},
        {3: torch.ones(1)},
        torch.ones(2),
    ):
        torch.save(value, tmp_path / "odd.pt")
        found(tmp_path / "odd.pt")


def test_omegaconf_trees(saved):
    omegaconf = pytest.importorskip("omegaconf")
    config = omegaconf.OmegaConf.create({"optim": {"lr": 0.1, "betas": [0.9, 0.99], "name": "adam"}, "lr_again": "${optim.lr}"})
    one = saved({"state_dict": net().state_dict(), "hyper_parameters": config})
    assert {s.key: s.value for s in one.settings} == {
        "hyper_parameters.optim.lr": 0.1, "hyper_parameters.optim.betas.0": 0.9, "hyper_parameters.optim.betas.1": 0.99, "hyper_parameters.optim.name": "adam",
        "hyper_parameters.lr_again": "${optim.lr}",
    }  # fmt: skip


def test_this_ranks_part_of_a_distributed_tensor(saved):
    import torch.distributed as dist
    from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        tensor = distribute_tensor(torch.randn(4, 3), init_device_mesh("cpu", (1,)), [Shard(0)])
        one = saved({"model": {"w": tensor}})
    finally:
        dist.destroy_process_group()
    assert [(t.name, t.shape) for t in one.tensors] == [("w", (4, 3))]
    assert one.refused == ()


def test_flat_parameters_of_fsdp_say_so(tmp_path: pathlib.Path) -> None:
    torch.save({"flat_param": torch.ones(500), "_fsdp_wrapped_module.layers.0.flat_param": torch.ones(70)}, tmp_path / "model_step100_rank0.pt")
    run = read_run([tmp_path])
    assert "2 FSDP units" in str(run.sources[0].detail)
    assert "570 values" in str(run.sources[0].detail)
