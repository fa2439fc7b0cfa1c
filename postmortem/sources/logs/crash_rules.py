"""The lines that tell an event, as one table. Read by `crash.py`."""

import re
from collections.abc import Collection

from postmortem.model.run import EventKind
from postmortem.sources.logs import death_rules, numeric_rules
from postmortem.sources.logs.anyof import any_of
from postmortem.sources.logs.rules import Rule, rule

__all__ = ["ABOUT_EXCEPTION", "NEEDLES", "RULES", "Rule", "is_suspicious"]

_K = EventKind
_WARNINGS = (  # that a check knows
    rule(_K.WARNING, "lr_scheduler", r"Detected call of `lr_scheduler\.step\(\)` before `optimizer\.step\(\)`", about="scheduler-before-optimizer"),
    rule(_K.WARNING, "target size", r"Using a target size \(torch\.Size\((?P<target>\[[\d, ]{0,60}\])\)\) "
        r"that is different to the input size \(torch\.Size\((?P<input>\[[\d, ]{0,60}\])\)\)", about="target-size"),
    rule(_K.WARNING, "requires_grad", r"None of the inputs have requires_grad=True", about="no-input-requires-grad"),
    rule(_K.WARNING, "token indices", r"Token indices sequence length is longer than the specified maximum", about="tokens-too-long"),
    rule(_K.WARNING, "some weights", r"Some weights of .{1,120} were not initialized from the model checkpoint", about="weights-not-initialized"),
    rule(_K.WARNING, "some weights", r"Some weights of the model checkpoint .{0,200} were not used", about="weights-not-used"),
    rule(_K.WARNING, "resume_param|skip resuming|optimizer state|not loaded|not restored|not resumed", r"resume_param_scheduler is True but|"
        r"skip resuming (?:parameter )?(?:scheduler|optimizer)|"
        r"optimizer state (?:not found|was not loaded)|optimizer(?: and scheduler)? (?:is|are|was|were) not (?:loaded|restored|resumed)|"
        r"without (?:loading )?optimizer state", about="state-not-resumed"),
    rule(_K.WARNING, "find_unused", r"find_unused_parameters=True was specified in DDP constructor, but did not find any unused",
        about="unused-parameters"),
    rule(_K.WARNING, "bottleneck", r"does not have many workers which may be a bottleneck|"
        r"tf\.data.{0,40}input pipeline.{0,40}bottleneck", about="few-workers"),
)  # fmt: skip
_ENDS_AND_BEGINNINGS = (
    rule(_K.EARLY_STOPPED, "early stop|early-stop|earlystop|did not improve|training early",
        r"(?:^|[\s`:\]])(?:[Ee]arly[ -]?[Ss]topp(?:ing|ed)\b|EarlyStopping:)(?!\s*[:=(_]|[ _-](?:patience|counter|"
        r"epochs?\b|metric|is |conditioned|on\b|threshold|monitor|enabled|delta)).{0,80}$|early stopping criterion|"
        r"[Mm]onitored metric \S{1,60} did not improve in the last|Stopping training early"),
    rule(_K.FINISHED, "trainer.fit|training complete|training is |training finished|training done|training over|finished training|train_runtime|"
        "optimization done",
        r"`?Trainer\.fit`? stopped: `?max_(?:epochs|steps|time)=[^`]{1,40}`? reached|"
        r"^\W{0,4}(?:\S{1,60} ){0,8}?[Tt]raining (?:is )?(?:complete[d]?|finished|done|over)\b(?!:)|[Ff]inished [Tt]raining\b(?! epoch)|"
        r"Optimization Done|\btrain_runtime\b|Training completed\. Do not forget"),
    rule(_K.RESUMED, "resuming|resumed|resume from|restoring|restored|checkpoint|successfully loaded|continuing training|"
        "恢复|断点|检查点|继续训练|再開",
        r"[Rr]esum(?:ing|ed) (?:training |run )?from\b(?! None| False)|[Rr]estor(?:ing|ed) (?:all )?(?:states|checkpoint|"
        r"weights|model|from)\b|(?:=> ?)?[Ll]oaded checkpoint\b|[Ss]uccessfully (?:loaded|resumed).{0,20}(?:checkpoint|from)|"
        r"[Ll]oading checkpoint (?:from|'|\"|/)|Continuing training from (?:checkpoint|global step|epoch)|Auto[- ]resum(?:e|ing) from|"
        r"从.{0,20}(?:检查点|断点|checkpoint).{0,8}(?:恢复|继续)|恢复(?:训练|断点|检查点|模型)|断点续训(?!\W{0,3}(?:False|关闭|否))|从第.{1,8}继续训练|再開(?:します|しました)"),
    rule(_K.CHECKPOINT_SAVED, "saved |saving |checkpoint",
        r"\b[Ss]av(?:ed|ing) (?:the )?(?:best |new |current |final |last |full )?(?:model |"
        r"training )?(?:checkpoint|state|weights|model|ckpt)\b(?:.{0,40}?(?P<path>[\w./=\-]{1,200}\.(?:ckpt|pth?|tar|h5|keras|"
        r"safetensors|bin|npz))\b)?|[Cc]heckpoint saved|successfully saved checkpoint"),
    rule(_K.STARTED, "running training|start train|started train|starting train|start the train|started the train|starting the train|"
        "training started|"
        "training has started|starting optimization",
        r"\*{3,5} ?Running training ?\*{3,5}|"
        r"^(?:\W{0,4}(?:\S{1,60} ){0,6}?|.{1,100}?\bINFO\b\W{1,6})(?:[Ss]tart(?:ing|ed)? (?:the )?[Tt]rain(?:ing)?\b(?! steps?\b)|"
        r"[Tt]raining (?:has )?started\b|Starting Optimization)"),
)  # fmt: skip
# In order: the first that matches names the line.
RULES: tuple[Rule, ...] = (
    *numeric_rules.RULES,
    *death_rules.MEMORY,
    *death_rules.LOADER,
    *death_rules.DEVICES,
    *death_rules.SCHEDULERS,
    *death_rules.COLLECTIVES,
    *death_rules.PROCESSES,
    *_WARNINGS,
    *_ENDS_AND_BEGINNINGS,
)
ABOUT_EXCEPTION = frozenset(
    {
        _K.OUT_OF_MEMORY,
        _K.DATA_LOADER,
        _K.DEVICE_ASSERT,
        _K.COLLECTIVE,
        _K.DISK_FULL,
        _K.HARDWARE,
        _K.NON_FINITE_GUARD,
        _K.LOSS_SCALE_FLOOR,
        _K.INTERRUPTED,
    }
)
_ANY = (  # of lines that no rule has to match: a traceback, the name of an exception and what C++ says of one
    (re.compile(r"Traceback"), ("traceback",)),
    (re.compile(r"^\s*(?:[A-Za-z_]\w*\.)*_?[A-Z]\w*(?:Error|Exception|Interrupt)\b"), ("error", "exception", "interrupt")),
    (re.compile(r"^terminate called after throwing an instance of"), ("terminate called",)),
)
_PATTERNS = (*((r.pattern, r.needles) for r in RULES), *_ANY)
_WORDS = tuple(dict.fromkeys(needle for _, needles in _PATTERNS for needle in needles))
_SHORTEST = {word: min((part for part in _WORDS if part in word), key=len) for word in _WORDS}  # what has `gradient overflow` in it has `overflow`
# A cheap question before the dear one.
NEEDLES = tuple(dict.fromkeys(_SHORTEST.values()))
_BY_NEEDLE = {needle: tuple(p for p, needles in _PATTERNS if needle in {_SHORTEST[word] for word in needles}) for needle in NEEDLES}
_ANY_NEEDLE = re.compile(any_of(NEEDLES))


def is_suspicious(text: str, among: Collection[str] = NEEDLES) -> bool:
    """A line that may tell of an event: worth asking `Watch.line`. Asked once for each shape of line. `among` : words that it may have in it."""
    low = text[:1000].lower()
    if not _ANY_NEEDLE.search(low):
        return False
    needles = [needle for needle in among if needle in low]
    if "nccl info" in low:
        return False
    return any(pattern.search(text[:1000]) for pattern in {p for needle in needles for p in _BY_NEEDLE[needle]})
