"""Lines that tell of numbers: steps skipped because of overflow, and losses, gradients or weights that are not finite.

`about="skipped"` marks what a training goes on from: the batch was left out. It, and what merely says so, may be a record as well.
"""

from postmortem.model.run import EventKind
from postmortem.sources.logs.rules import NUMBER, rule

_K = EventKind
_BAD = r"(?:nan|inf|infinite|non-?finite|not finite)"
# A line that speaks of what would be done, or of what was not found, tells nothing.
_FREE = (
    r"(?:(?!\b(?:if|when|whenever|whether|unless|until|once|no|never|without|check(?:s|ing)?|avoids?|prevents?|case|may|might|can|could|number)\b).)"
)
_TOLD = rf"^{_FREE}{{0,200}}?"
_LEFT_OUT = r"skip|ignor|discard|continu|patience|to zero|not updat|loss value to"
_LOSS = r"\b(?:loss(?:es)?|cost|grad(?:ient)?s?(?:[ _]norm)?|objective)"
_BECAME = r"(?:is|are|was|(?:has |have )?becomes?|became|turned|went|diverged to|exploded to)"
_VERBS = r"detected|encountered|found|skip|abort|stop|exit|ending|terminat|quit|break|received|at (?:step|iter|epoch|batch)|during"
_OF_BAD = "|".join(
    (*(f" {verb} {state}" for verb in ("is", "are", "was") for state in ("nan", "inf", "non", "not fin")),
     "become ", "becomes ", "became ", "turned ", "went ", "diverged to ", "exploded to ")
)  # fmt: skip
_PAIRS = "|".join(f"{state} {what}" for state in ("nan", "inf", "finite") for what in ("loss", "cost", "grad"))
_IN = "in loss|in the loss|in cost|in the cost|in grad|in the grad"

RULES = (
    # overflows and their floor
    rule(_K.LOSS_SCALE_FLOOR, "minimum loss scale|already at minimum|grad_scale is too small",
        r"Minimum loss scale reached(?: \(" + NUMBER.format("scale") + r"\))?|[Cc]urrent loss scale already at minimum|"
        r"grad_scale is too small, exiting"),
    rule(_K.OVERFLOW, "overflow!", r"(?i:overflow)! (?:Rank \d{1,6} )?Skipping step\. Attempted loss scale: "
        + NUMBER.format("attempted") + r"(?:, reducing to " + NUMBER.format("scale") + r")?"),
    rule(_K.OVERFLOW, "overflow", r"(?:Gradient overflow|"
        r"Overflow detected)\.\s+Skipping step, .{0,40}reducing loss scale to " + NUMBER.format("scale")),
    rule(_K.OVERFLOW, "overflow", r"overflow detected, (?:ignoring gradient, )?setting loss scale to:? " + NUMBER.format("scale")),
    rule(_K.OVERFLOW, "reducing dynamic loss scale",
        r"[Rr]educing dynamic loss scale from " + NUMBER.format("attempted") + " to " + NUMBER.format("scale")),
    rule(_K.OVERFLOW, "gradient overflow|overflow detected", r"(?i:(?:gradient overflow|overflow detected)\b.{0,20}\bskip)"),
    rule(_K.OVERFLOW, "decreased lg_loss_scale", r"Found NaN, decreased lg_loss_scale to"),
    # the code stopped itself
    rule(_K.NON_FINITE_GUARD, "loss is |loss become |loss became |loss was ",
        r"[Ll]oss (?:is|become|became|was) (?:nan|inf|NaN|Inf|infinite|not finite|non-finite)\b.{0,60}(?:stop|abort|"
        r"exit|terminat|at iteration|Nan|NaN)"),
    rule(_K.NON_FINITE_GUARD, "returned nan", r"Function '?\w{1,80}Backward\d{0,3}'? returned nan values in its \d{1,3}th output"),
    rule(_K.NON_FINITE_GUARD, "found nan|found inf|result nan|invalid loss|is non-finite",
        r"found (?:NaN|Inf|nan|inf) in (?:local|observations|actions|rewards)|Unexpected result nan|"
        r"Invalid loss, terminating training|total norm of order .{0,40} is non-finite"),
    rule(_K.NON_FINITE_GUARD, "training_step|detected nan|detected inf|nan loss|inf loss|nan gradient|inf gradient|contains nan|"
        "is not finite. previous",
        r"loss returned in `?training_step`? is (?:nan|inf)|[Dd]etected (?:nan|NaN|inf|Inf)\b.{0,60}(?:loss|grad|param|value)|"
        r"(?<!\b[Nn]o )(?:NaN|nan|Inf) (?:loss|gradients?) (?:detected|encountered|found)|contains NaN, infinity|"
        r"^ValueError: Input (?:\w{1,20} )?contains NaN|"
        r"Monitored metric \S{1,60} = -?(?:nan|inf) is not finite\. Previous"),
    rule(_K.NON_FINITE_GUARD, "nan detected|nan found|nan encountered|inf detected|inf found|inf encountered|nan loss detected|nan loss found|"
        "nan loss encountered|inf loss detected|inf loss found|inf loss encountered|non-finite",
        r"\b(?:NaN|nan|Inf|[Nn]on-finite)(?: loss)? (?:detected|encountered|found)\b.{0,60}(?:stop|abort|exit|terminat|break)"),
    rule(_K.NON_FINITE_GUARD, "non-finite loss, ", r"(?i:non-finite loss, (?:ending|stopping|aborting|terminating) training)"),
    rule(_K.NON_FINITE_GUARD, "has invalid values|satisfy the constraint|normal expects|probability tensor",
        r"parameter \w{1,40} has invalid values|Expected parameter \w{1,40} .{0,200}to satisfy the constraint|"
        r"normal expects all elements of std >= 0|probability tensor contains either `?inf`?, `?nan`?"),
    # TensorFlow, JAX, Paddle, fairseq, detectron
    rule(_K.NON_FINITE_GUARD, "diverged with loss|nan loss during training", r"[Mm]odel diverged with loss = -?(?:NaN|nan|[Ii]nf)|"
        r"NaN loss during training"),
    rule(_K.NON_FINITE_GUARD, "tensor had|nan in summary histogram|inf or nan global norm|is inf or nan",
        r"Tensor had (?:NaN|[+-]?Inf)|Nan in summary histogram|Found Inf or NaN global norm|\bis inf or nan\. ?:"),
    rule(_K.NON_FINITE_GUARD, "invalid value (nan)|invalid value (inf)", r"FloatingPointError: invalid value \((?:nan|inf)\) encountered in"),
    rule(_K.NON_FINITE_GUARD, "gradients are nan/inf|there are ",
        r"gradients are Nan/Inf|There are [`']?(?:nan|NAN)[`']? or [`']?(?:inf|INF)[`']? (?:in tensor|\()"),
    rule(_K.NON_FINITE_GUARD, "nan loss", r"(?:CRITICAL|FATAL|ERROR)\b.{0,80}\bNaN [Ll]oss\b"),
    rule(_K.NON_FINITE_GUARD, "diverged: nan|nan or inf|inf or nan", r"(?i:\bdiverged: nan\b|\bloss (?:nan or inf|inf or nan)\b.{0,40}(?:stop|"
        r"abort|exit|terminat))"),
    rule(_K.NON_FINITE_GUARD, "loss diverged, stop", r"[Ll]oss diverged, stop(?:ping)? training"),  # EAST and its kin, which ask whether it is NaN
    # Theano's and its kin
    rule(_K.NON_FINITE_GUARD, "nan detected", r"^\s*(?:(?:[^\w\s]|ERROR|WARNING|ERR)\s*){0,12}(?i:nan detected)\s*(?:[.!]+\s*)?$"),
    rule(_K.NON_FINITE_GUARD, "contain infs or nans", r"array must not contain infs or NaNs"),
    # the batch was left out, the update was
    rule(_K.NON_FINITE_GUARD, "received a nan loss|received an inf loss|received a inf loss|received an nan loss",
        r"received an? (?:inf|nan) loss\b", about="skipped"),
    rule(_K.NON_FINITE_GUARD, "infinite (or nan) loss|moving average ignored", r"caused an infinite \(or NaN\) loss|"
        r"Moving average ignored a value of -?(?:nan|inf)\b", about="skipped"),
    rule(_K.NON_FINITE_GUARD, "grad norm is nan|grad norm is inf|norm encountered", r"[Gg]rad norm is (?:nan|inf)\b|Non-finite norm encountered",
        about="skipped"),
    rule(_K.NON_FINITE_GUARD, "nan or inf|inf or nan", r"(?i:\b(?:loss|gradients?) (?:nan or inf|inf or nan)\b.{0,40}skip)", about="skipped"),
    rule(_K.NON_FINITE_GUARD, "is not correct", r"loss \(=-?(?:nan|inf)\) is not correct", about="skipped"),
    rule(_K.NON_FINITE_GUARD, _OF_BAD, rf"(?i:{_TOLD}{_LOSS} {_BECAME} {_BAD}\b(?!\s?[:=]).{{0,120}}(?:{_LEFT_OUT}))", about="skipped"),
    rule(_K.NON_FINITE_GUARD, "skip", rf"(?i:{_TOLD}\bskip(?:s|ped|ping)?\b{_FREE}{{0,60}}?(?:{_LOSS} {_BECAME} {_BAD}|\b{_BAD} (?:loss|grad))\b)",
        about="skipped"),
    rule(_K.NON_FINITE_GUARD, _PAIRS, rf"(?i:{_TOLD}\b{_BAD} (?:loss|cost|grad(?:ient)?s?)\b(?! ?[:=]).{{0,60}}(?:{_LEFT_OUT}))", about="skipped"),
    rule(_K.NON_FINITE_GUARD, _IN, rf"(?i:{_TOLD}\b{_BAD}s?\b.{{0,30}} in (?:the )?(?:loss|cost|"
        rf"grad(?:ient)?s?)\b.{{0,60}}(?:{_LEFT_OUT}))", about="skipped"),
    # it was seen, and nothing is said of what was done
    rule(_K.NON_FINITE_GUARD, _OF_BAD, rf"(?i:{_TOLD}{_LOSS} {_BECAME} {_BAD}\b(?!\s?[:=]))", about="said"),
    rule(_K.NON_FINITE_GUARD, _PAIRS, rf"(?i:{_TOLD}\b{_BAD} (?:loss|cost|grad(?:ient)?s?)\b(?! ?[:=]).{{0,40}}(?:{_VERBS}))", about="said"),
    rule(_K.NON_FINITE_GUARD, _PAIRS, rf"(?i:{_TOLD}(?:{_VERBS}|got|due to|because of|diverged|:) (?:an? )?{_BAD} (?:loss|cost|"
        rf"gradients?)\s*[.!,]?\s*$)",
        about="said"),
    rule(_K.NON_FINITE_GUARD, _IN, rf"(?i:{_TOLD}\b{_BAD}s? (?:(?:or|and|/) ?{_BAD}s? )?(?:was |were )?(?:detected |encountered |found )?in (?:the )?"
        r"(?:loss|cost|grad(?:ient)?s?)\b(?! ?[:=]))", about="said"),
    rule(_K.NON_FINITE_GUARD, "contain nan|contains nan|contains a nan|contain inf|contains inf|contains an inf",
        rf"(?i:{_TOLD}\b(?:loss|gradients?|weights|parameters?|logits|outputs?) "
        r"(?:contain nan|contains nan|contains a nan|contain inf|contains inf|contains an inf)s?\b(?! ?[:=,]))", about="said"),
    rule(_K.WARNING, "is not correct", r"loss \(=(?P<value>[-\w.]{1,40})\) is not correct", about="loss-not-correct"),
    rule(_K.WARNING, "found inf or nan|found_inf", r"Found inf or nan|found_inf", about="found-inf"),
)  # fmt: skip
