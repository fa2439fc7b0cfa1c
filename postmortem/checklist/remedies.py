"""Fixes with this run's numbers: the change as data, and a snippet for the framework that the run used."""

from collections.abc import Callable

from postmortem.check import Change, Evidence, Fix, say
from postmortem.model.sentence import Sentence, Value

# parameter → the key that people write, when the run's own configuration does not have it
_KEYS = {
    "learning_rate": "lr",
    "gradient_clip_norm": "grad_clip",
    "warmup": "warmup_steps",
    "model_width": "hidden",
    "model_depth": "depth",
    "frozen_parameters": "freeze",
    "loss_scale": "loss_scale",
}


EDITABLE = (".json", ".yaml", ".yml", ".toml", ".py", ".sh", ".ini", ".cfg")


def change(e: Evidence, parameter: str, to: Value, default: Value = None) -> Change:
    """A change of this run's own setting where it has one; else of the usual key, in its configuration file."""
    setting = e.setting(parameter)
    if setting is not None and setting.file.endswith(EDITABLE):
        return Change(parameter, setting.key, setting.file, setting.value, to)
    if setting is not None:  # known from a checkpoint or from what a log printed: the key, and no file to edit
        return Change(parameter, setting.key.rpartition(".")[2], "", setting.value, to)
    file = next((s.file for s in e.settings if s.name and s.file.endswith((".json", ".yaml", ".yml", ".toml"))), "")
    return Change(parameter, _KEYS.get(parameter, parameter), file, default, to)


def rounded(value: float) -> float:
    """To one significant digit of 1, 2, 3, 5: what a person would write."""
    if value <= 0:
        return value
    from math import floor, log10

    power = 10.0 ** floor(log10(value))
    digit = min((1, 2, 3, 5, 10), key=lambda d: abs(log10(value / power) - log10(d)))
    return float(f"{digit * power:.1g}")


Snippets = dict[str, str]


def fix(e: Evidence, title: Sentence, why: Sentence, changes: tuple[Change, ...] = (), snippets: Snippets | None = None) -> Fix:
    """A fix whose code is that of the run's framework, PyTorch's when there is none for it."""
    code = ""
    if snippets:
        code = snippets.get(e.framework) or snippets.get("pytorch", "")
    return Fix(title, why, changes, code)


def lower_rate(e: Evidence, rate: float | None, to: float, why: Sentence) -> Fix:
    """Set the learning rate to `to`."""
    return fix(
        e,
        say("Set the learning rate to {to:g}", to=to),
        why,
        (change(e, "learning_rate", to, rate),),
        {
            "pytorch": f"for group in optimizer.param_groups:\n    group['lr'] = {to:g}\n# or: optimizer = type(optimizer)(model.parameters(), lr={to:g})",
            "lightning": f"def configure_optimizers(self):\n    return torch.optim.Adam(self.parameters(), lr={to:g})",
            "transformers": f"args = TrainingArguments(..., learning_rate={to:g})",
            "keras": f"model.compile(optimizer=keras.optimizers.Adam(learning_rate={to:g}), loss=loss)",
        },
    )


def clip(e: Evidence, norm: float, why: Sentence) -> Fix:
    """Clip the total gradient norm at `norm`."""
    return fix(
        e,
        say("Clip the gradient norm at {norm:g}", norm=norm),
        why,
        (change(e, "gradient_clip_norm", norm),),
        {
            "pytorch": f"loss.backward()\ntorch.nn.utils.clip_grad_norm_(model.parameters(), max_norm={norm:g})\noptimizer.step()",
            "lightning": f"trainer = Trainer(..., gradient_clip_val={norm:g})",
            "transformers": f"args = TrainingArguments(..., max_grad_norm={norm:g})",
            "keras": f"optimizer = keras.optimizers.Adam(learning_rate=lr, global_clipnorm={norm:g})",
        },
    )


def default_initialisation(e: Evidence, why: Sentence) -> Fix:
    """Kaiming for ReLU and its kin, Xavier for tanh, the framework's default otherwise."""
    return fix(
        e,
        say("Go back to the usual initialisation (Kaiming for ReLU, Xavier for tanh)"),
        why,
        (change(e, "initialization", None),),
        {
            "pytorch": (
                "def init(module):\n    if isinstance(module, (nn.Linear, nn.Conv2d)):\n        nn.init.kaiming_normal_(module.weight, nonlinearity='relu')"
                "  # tanh: nn.init.xavier_uniform_\n        if module.bias is not None:\n            nn.init.zeros_(module.bias)\n\nmodel.apply(init)"
            ),
            "keras": "Dense(units, activation='relu', kernel_initializer='he_normal', bias_initializer='zeros')  # tanh: 'glorot_uniform'",
        },
    )


def none(e: Evidence, seen: object) -> tuple[Fix, ...]:
    """No fix to offer."""
    return ()


def only(
    title: Sentence, why: Sentence, snippets: Snippets | None = None, removes: tuple[str, ...] = ()
) -> Callable[[Evidence, object], tuple[Fix, ...]]:
    """A cause's fix that depends on the run only through its framework, and through which settings of it are removed."""

    def fixes(e: Evidence, seen: object) -> tuple[Fix, ...]:
        changes = tuple(change(e, name, None) for name in removes if e.setting(name) is not None)
        return (fix(e, title, why, changes, snippets),)

    return fixes
