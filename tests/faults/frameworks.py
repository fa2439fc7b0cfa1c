"""Who trains: plain PyTorch, or a framework whose own loop, loggers and checkpoints leave the run's files.

A framework is used where it is installed; elsewhere the same plan is trained with plain PyTorch, and `absent` says so.
"""

import importlib
import importlib.util
import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults import train
from tests.faults.plan import Plan, Trace
from tests.faults.style import Style

IN_DATA = ("shuffled_labels", "val_label_shift", "val_inputs", "imbalance", "raw_inputs", "zero_inputs", "sorted", "same_batch", "nan_rows")
IN_START = ("init_scale", "init_zero", "init_constant", "bias_fill", "save_initial")
IN_GRAPH = ("frozen", "only_head", "stale_optimizer", "detach")
IN_LOSS = ("softmax_twice", "sign", "broadcast", "log_zero")
IN_RATE = ("lr_zero", "lr_spike")
IN_STEP = ("accident", "bad_batch", "constant_sample")


@dataclass(frozen=True)
class Framework:
    """`logs` are what its own loggers write; `mistakes` those of a plan that can be made in it."""

    name: str
    needs: str  # what must be importable
    module: str  # of this package; has `run(plan, style, start) -> Trace`, whose `left` is the directory that it wrote
    logs: tuple[str, ...]
    mistakes: tuple[str, ...]
    nets: tuple[str, ...] = ()  # all where empty

    @property
    def installed(self) -> bool:
        return importlib.util.find_spec(self.needs) is not None

    def takes(self, plan: Plan) -> bool:
        special = plan.resume_at or plan.adapters or plan.pretrained or plan.precision or plan.bn_momentum
        fits = plan.net in self.nets if self.nets else plan.net not in ("towers", "vae")
        return fits and not special and all(name in self.mistakes for name, _ in plan.wrong)

    def run(self, plan: Plan, style: Style, start: int = 0) -> Trace:
        runner: Callable[[Plan, Style, int], Trace] = importlib.import_module(self.module).run
        return runner(plan, style, start)

    def drawn(self, dice: random.Random, plan: Plan) -> Style:
        """A style that suits the plan: a rate that is wrong gets logged."""
        rate = plan.has("lr_zero") or plan.has("lr_spike")
        return Style(
            log=dice.choice(self.logs[:2] if rate else self.logs),
            checkpoints=dice.choice(["all", "all", "all", "none"]),
            configuration="none"
            if self.name == "lightning"
            else dice.choice(["args.json", "config.yaml", "nested.yaml", "none"]),  # it has hparams.yaml
            every=dice.choice([5, 10, 10, 20]),
            rate=bool(rate) or dice.random() < 0.7,
            norm=dice.random() < 0.4,
            digits=4,
            framework=self.name,
        )


IN_TORCH = (*IN_DATA, *IN_START, *IN_GRAPH, *IN_LOSS, *IN_RATE, *IN_STEP)
FRAMEWORKS = {
    f.name: f
    for f in (
        Framework(
            "lightning",
            "lightning",
            "tests.faults.with_lightning",
            ("lightning csv", "lightning events", "lightning bar"),
            (*IN_TORCH, "no_zero_grad", "no_step", "guard"),
        ),
        Framework("transformers", "transformers", "tests.faults.with_transformers", ("trainer", "trainer events", "trainer bar"), IN_TORCH),
        Framework(
            "keras",
            "keras",
            "tests.faults.with_keras",
            ("keras csv", "keras text", "keras bar", "keras history"),
            (*IN_DATA, *IN_START, "frozen", "softmax_twice", "accident"),
            nets=("mlp", "vgg", "gru", "lstm", "textconv", "bag"),
        ),
    )
}


def run(plan: Plan, style: Style | None, start: int = 0) -> Trace:
    """Train the plan with the framework that the style names; without a style, plain PyTorch."""
    framework = FRAMEWORKS.get(style.framework) if style else None
    return framework.run(plan, style, start) if framework and style else train.run(plan, start)


def turn(number: int) -> Framework | None:
    """Whose turn it is: of eight runs three are plain PyTorch's, and two, two and one the frameworks' that are installed."""
    name = ("", "lightning", "transformers", "", "keras", "lightning", "", "transformers")[number % 8]
    return FRAMEWORKS[name] if name and FRAMEWORKS[name].installed else None


def absent() -> list[str]:
    """The frameworks that are not here, whose runs plain PyTorch trains."""
    return [f.name for f in FRAMEWORKS.values() if not f.installed]
