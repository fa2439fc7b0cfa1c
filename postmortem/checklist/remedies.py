"""Fixes with this run's numbers: the change as data, and a snippet for the framework that the run used."""

from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

from postmortem.check import Change, Evidence, Fix, say
from postmortem.checklist.optimizers import optimizer_name
from postmortem.checklist.rates import adam_rate, pretrained
from postmortem.checklist.warmup import steps_of_warmup
from postmortem.model.run import Setting
from postmortem.model.sentence import Sentence, Value

# Names of the settings' vocabulary that the contract of `changes` calls otherwise.
_PARAMETERS = {"warmup": "warmup_steps", "gradient_clip_value": "gradient_clip_norm", "max_steps": "epochs"}
# parameter → the key that people write, when the run's own configuration does not have it
_KEYS = {
    "learning_rate": "lr",
    "schedule": "scheduler",
    "gradient_clip_norm": "grad_clip",
    "model_width": "hidden",
    "model_depth": "depth",
    "initialization": "init",
    "frozen_parameters": "freeze",
}
# values that are no mistake of the configuration
_USUAL = {
    "initialization": ("xavier", "glorot", "kaiming", "he_", "lecun", "default"),
    "loss": ("cross", "mse", "mean_squared", "nll", "bce", "mae", "l1", "huber"),
}
GPT_RANGE = ("initialization", 0.02)  # the `initializer_range` of transformers
WRITTEN = ("trainer_state.json",)  # by the training itself
EDITABLE = (".json", ".yaml", ".yml", ".toml", ".py", ".sh", ".ini", ".cfg")


def change(e: Evidence, name: str, to: Value, default: Value = None) -> Change:
    """A change of this run's own setting where it has one; else of the usual key, in its configuration file. A value that is known (`default`)
    and stands in no configuration was set somewhere that the run did not leave behind: then no file is named."""
    parameter = _PARAMETERS.get(name, name)
    setting = next((s for s in e.settings if s.name == name and editable(e, s)), e.setting(name))
    if setting is not None:
        return changed(e, parameter, setting, to)
    file = next((s.file for s in e.settings if s.name and s.file.endswith((".json", ".yaml", ".yml", ".toml")) and editable(e, s)), "")
    key = _KEYS.get(parameter, parameter)
    taken = default is not None or any(_leaf(s.key) == key for s in e.settings)  # by something else: a list of widths
    return Change(parameter, key, "" if taken else file, default, to)


def reset(e: Evidence, name: str) -> Change:
    """Back to the default: the run's own setting is removed where it names nothing usual; else the code says otherwise than it does."""
    setting = next((s for s in e.settings if s.name == name and editable(e, s)), None)
    if setting is None or any(word in str(setting.value).lower() for word in _USUAL.get(name, ())) or (name, setting.value) == GPT_RANGE:
        return Change(name, _KEYS.get(name, name), "", None, None)
    return change(e, name, None)


def removed(e: Evidence, parameter: str, settings: Iterable[Setting]) -> tuple[Change, ...]:
    """Removals of settings, each once, in the file that a person edits where it stands in several."""
    found: dict[str, Change] = {}
    for setting in sorted(settings, key=lambda s: not editable(e, s)):
        found.setdefault(_leaf(setting.key), changed(e, parameter, setting, None))
    return tuple(found.values())


def together(e: Evidence, parameter: str, to: Value, word: str, above: float) -> tuple[Change, ...]:
    """Changes of every setting with `word` in its name that is larger than `above`, each key once: one setting may be split over several layers."""
    found: dict[str, Change] = {}
    for setting in sorted(e.settings, key=lambda s: not editable(e, s)):
        value = setting.value
        if word in _leaf(setting.key).lower() and not isinstance(value, bool) and isinstance(value, int | float) and above < value <= 1:
            found.setdefault(setting.key, changed(e, parameter, setting, to))
    return tuple(found.values())


def changed(e: Evidence, parameter: str, setting: Setting, to: Value) -> Change:
    """A change of one setting, in its file where a person edits that."""
    if editable(e, setting):
        return Change(parameter, setting.key, setting.file, setting.value, to)
    # known from a checkpoint or from what a log printed: the key, and no file to edit
    return Change(parameter, _leaf(setting.key), "", setting.value, to)


def editable(e: Evidence, setting: Setting) -> bool:
    """It stands in a file that a person edits: no log, and nothing that was saved with a checkpoint."""
    path = PurePosixPath(setting.file)
    if path.suffix not in EDITABLE or path.name in WRITTEN or any(p.suffix in (".keras", ".zip", ".h5") for p in path.parents):
        return False
    return not any(PurePosixPath(c.path) in path.parents or PurePosixPath(c.path).parent == path.parent != PurePosixPath() for c in e.saved)


def _leaf(key: str) -> str:
    return key.rpartition(".")[2]


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


def optimizer_class(e: Evidence) -> str:
    """What PyTorch and Keras call the run's optimizer; Adam where it is not known."""
    return {"sgd": "SGD", "rmsprop": "RMSprop", "adagrad": "Adagrad"}.get(optimizer_name(e), "Adam")


def set_rate(e: Evidence, rate: float | None, to: float, why: Sentence) -> Fix:
    """Set the learning rate to `to`."""
    return fix(
        e,
        say("Set the learning rate to {to:g}", to=to),
        why,
        (change(e, "learning_rate", to, rate),),
        {
            "pytorch": f"for group in optimizer.param_groups:\n    group['lr'] = {to:g}\n# or pass lr={to:g} when the optimizer is made",
            "lightning": f"def configure_optimizers(self):\n    return torch.optim.{optimizer_class(e)}(self.parameters(), lr={to:g})",
            "transformers": f"args = TrainingArguments(..., learning_rate={to:g})",
            "keras": f"model.compile(optimizer=keras.optimizers.{optimizer_class(e)}(learning_rate={to:g}), loss=loss)",
        },
    )


def with_adam(e: Evidence, rate: float | None, to: float, title: Sentence, why: Sentence) -> Fix:
    """Another optimizer, with its own usual rate: complete where nothing tells which one the run has."""
    return fix(
        e,
        title,
        why,
        (change(e, "optimizer", "adam"), change(e, "learning_rate", to, rate)),
        {
            "pytorch": f"optimizer = torch.optim.Adam(model.parameters(), lr={to:g})",
            "lightning": f"def configure_optimizers(self):\n    return torch.optim.Adam(self.parameters(), lr={to:g})",
            "keras": f"model.compile(optimizer=keras.optimizers.Adam(learning_rate={to:g}), loss=loss)",
        },
    )


def usual_adam(e: Evidence) -> Fix:
    """Adam and its usual rate, for a run that states neither its optimizer nor its rate: a rate alone that suits one optimizer is a tenth, or ten
    times, of what another takes."""
    to = rounded(adam_rate(e))
    why = (
        say("The run says neither which optimizer it used nor which rate: {to:g} is usual for Adam and a model that had learned before.", to=to)
        if pretrained(e)
        else say("The run says neither which optimizer it used nor which rate: {to:g} is usual for Adam and a fresh model of this size.", to=to)
    )
    return with_adam(e, None, to, say("Use Adam, with a learning rate of {to:g}", to=to), why)


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


def warm_up(e: Evidence, steps: int) -> Change:
    """Warm up over `steps` optimizer steps, in the unit of the run's own setting (steps, epochs, or a share of the run)."""
    unit = steps_of_warmup(e)
    if unit is None:
        return change(e, "warmup", steps)
    return change(e, "warmup", max(1, round(steps / unit)) if unit == e.steps_per_epoch else round(steps / unit, 3))


def default_initialisation(e: Evidence, why: Sentence) -> Fix:
    """Kaiming for ReLU and its kin, Xavier for tanh, the framework's default otherwise."""
    return fix(
        e,
        say("Go back to the usual initialisation (Kaiming for ReLU, Xavier for tanh)"),
        why,
        (reset(e, "initialization"),),
        {
            "pytorch": (
                "def init(module):\n    if isinstance(module, (nn.Linear, nn.Conv2d)):\n        nn.init.kaiming_normal_(module.weight, nonlinearity='relu')\n"
                "        # tanh: nn.init.xavier_uniform_(module.weight)\n        if module.bias is not None:\n            nn.init.zeros_(module.bias)\n\nmodel.apply(init)"
            ),
            "keras": "Dense(units, activation='relu', kernel_initializer='he_normal', bias_initializer='zeros')  # tanh: 'glorot_uniform'",
        },
    )


def none(e: Evidence, seen: object) -> tuple[Fix, ...]:
    """No fix to offer."""
    return ()


def only(
    title: Sentence, why: Sentence, snippets: Snippets | None = None, resets: tuple[str, ...] = ()
) -> Callable[[Evidence, object], tuple[Fix, ...]]:
    """A cause's fix that depends on the run only through its framework, and through which settings go back to their default."""

    def fixes(e: Evidence, seen: object) -> tuple[Fix, ...]:
        return (fix(e, title, why, tuple(reset(e, name) for name in resets), snippets),)

    return fixes
