"""Networks that are trained together and saved in files of their own."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from postmortem.measure.checkpoints import measure_checkpoints
from postmortem.measure.parts import joined
from postmortem.model.run import Checkpoint
from tests.measure.raw import checkpoint, run_of

RNG = np.random.default_rng(5)
GENERATOR = {"main.0.weight": RNG.standard_normal((16, 8)).astype("float32"), "main.2.weight": RNG.standard_normal((8, 16)).astype("float32")}
CRITIC = {"main.0.weight": RNG.standard_normal((16, 32)).astype("float32"), "main.2.weight": RNG.standard_normal((1, 16)).astype("float32")}


def saved(root: Path, *, generator_learns: bool) -> list[Checkpoint]:
    later = {n: t * 1.1 for n, t in CRITIC.items()}
    other = {n: t * 1.2 for n, t in GENERATOR.items()} if generator_learns else GENERATOR
    return [
        checkpoint(root, "netD_epoch_1.pth", CRITIC, step=10.0), checkpoint(root, "netG_epoch_1.pth", GENERATOR, step=10.0),
        checkpoint(root, "netD_epoch_2.pth", later, step=20.0), checkpoint(root, "netG_epoch_2.pth", other, step=20.0),
    ]  # fmt: skip


def test_each_step_is_one_checkpoint_of_both(tmp_path: Path) -> None:
    one, two = joined(saved(tmp_path, generator_learns=True))
    assert [t.name for t in one.tensors] == ["netD.main.0.weight", "netD.main.2.weight", "netG.main.0.weight", "netG.main.2.weight"]
    assert (one.step, two.step, one.path) == (10.0, 20.0, "netD_epoch_1.pth")


def test_a_generator_that_stands_still_is_seen(tmp_path: Path) -> None:
    _, weights, _ = measure_checkpoints(run_of(tmp_path, *saved(tmp_path, generator_learns=False)))
    assert weights.identical == ("netG.main.0.weight", "netG.main.2.weight")
    _, weights, _ = measure_checkpoints(run_of(tmp_path, *saved(tmp_path, generator_learns=True)))
    assert weights.identical == ()


def test_copies_of_one_network_stay_apart(tmp_path: Path) -> None:
    """`best` beside `latest`, and a network that is missing at one of the steps."""
    copies = [checkpoint(tmp_path, f"{n}_{at}.pth", CRITIC, step=at * 1.0) for at in (1, 2) for n in ("best", "latest")]
    assert joined(copies) == tuple(copies)
    several = saved(tmp_path, generator_learns=True)
    assert joined(several[:3]) == tuple(several[:3])
    unknown = [replace(several[0], step=None, epoch=None), *several[1:]]
    assert joined(unknown) == tuple(unknown)
