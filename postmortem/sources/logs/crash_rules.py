"""The lines that tell an event, as one table. Read by `crash.py`."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from postmortem.model.run import EventKind
from postmortem.model.sentence import Value
from postmortem.sources.logs.anyof import any_of

_NUMBER = r"(?P<{}>\d{{1,40}}(?:\.\d{{0,40}})?(?:[eE][-+]?\d{{1,4}})?)"


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of line. `data` are constant; named groups of the pattern are added (numbers as numbers)."""

    kind: EventKind
    pattern: re.Pattern[str]
    data: Mapping[str, Value] = field(default_factory=dict)


def _rule(kind: EventKind, pattern: str, *, case: bool = True, **data: Value) -> Rule:
    return Rule(kind, re.compile(pattern, 0 if case else re.IGNORECASE), data)


_K = EventKind
SIZE = r"Tried to allocate (?P<asked>[\d.]{1,20} ?[KMGT]?i?B)"
CAPACITY = r"(?P<capacity>[\d.]{1,20} ?[KMGT]?i?B) total capacity|total capacity of (?P<capacity2>[\d.]{1,20} ?[KMGT]?i?B)"

# Programs beside a training; a shell tells which one was killed.
_OTHER_PROGRAM = (
    r"(?:\S{1,200}/)?(?:uvicorn|gunicorn|hypercorn|tensorboard|jupyter\S{0,20}|nginx|redis-server|streamlit|gradio|ollama|node|npm|sleep|tail|watch|"
    r"nvidia-smi|wget|curl|rsync|scp|cp|tar|zip|unzip|ssh|Xvfb|mlflow|ray)\b"
)
# In order: the first that matches names the line.
RULES: tuple[Rule, ...] = (
    # overflows and their floor
    _rule(_K.LOSS_SCALE_FLOOR, r"Minimum loss scale reached(?: \(" + _NUMBER.format("scale") + r"\))?|"
        r"[Cc]urrent loss scale already at minimum"),
    _rule(_K.OVERFLOW, r"OVERFLOW! Rank \d{1,6} Skipping step\. Attempted loss scale: "
        + _NUMBER.format("attempted") + r"(?:, reducing to " + _NUMBER.format("scale") + r")?"),
    _rule(_K.OVERFLOW, r"Gradient overflow\.\s+Skipping step, .{0,40}reducing loss scale to " + _NUMBER.format("scale")),
    _rule(_K.OVERFLOW, r"overflow detected, (?:ignoring gradient, )?setting loss scale to:? " + _NUMBER.format("scale")),
    # not finite
    _rule(_K.NON_FINITE_GUARD, r"[Ll]oss (?:is|became|was) (?:nan|inf|NaN|Inf|infinite|not finite|non-finite)\b.{0,60}(?:stop|abort|"
        r"exit|terminat|at iteration|Nan|NaN)"),
    _rule(_K.NON_FINITE_GUARD, r"Function '?\w{1,80}Backward\d{0,3}'? returned nan values in its \d{1,3}th output"),
    _rule(_K.NON_FINITE_GUARD, r"found (?:NaN|Inf|nan|inf) in local|Unexpected result nan|The grad norm is (?:nan|inf)|"
        r"Non-finite norm encountered|Invalid loss, terminating training|total norm of order .{0,40} is non-finite"),
    _rule(_K.NON_FINITE_GUARD, r"loss returned in `?training_step`? is (?:nan|inf)|[Dd]etected (?:nan|NaN|inf|Inf)\b.{0,60}(?:loss|grad|"
        r"param)|(?:NaN|nan|Inf) (?:loss|gradients?) (?:detected|encountered|found)|contains NaN, infinity"),
    _rule(_K.NON_FINITE_GUARD, r"\b(?:NaN|nan|Inf|[Nn]on-finite)(?: loss)? (?:detected|encountered|found)\b.{0,60}(?:stop|abort|exit|"
        r"terminat|break)"),
    _rule(_K.NON_FINITE_GUARD, r"parameter \w{1,40} has invalid values|Expected parameter \w{1,40} .{0,200}to satisfy the constraint|"
        r"normal expects all elements of std >= 0|probability tensor contains either `?inf`?, `?nan`?"),
    # memory
    _rule(_K.WARNING, r"attempting to recover from OOM|OOM: Ran out of memory with exception|ran OOM .{0,40}(?:retry|"
        r"skipp)", about="oom-recovered"),
    _rule(_K.OUT_OF_MEMORY, r"NCCL WARN Cuda failure '?(?:2 )?'?out of memory", where="device"),
    _rule(_K.OUT_OF_MEMORY, r"(?:CUDA|HIP|XPU|MPS backend|hip) out of memory|cuda(?:ErrorMemoryAllocation| runtime error \(2\))|"
        r"CUBLAS_STATUS_ALLOC_FAILED|CUDA error: out of memory|error=2 : out of memory|CUDA_ERROR_OUT_OF_MEMORY", where="device"),
    _rule(_K.OUT_OF_MEMORY, r"RESOURCE_EXHAUSTED: Out of memory|OOM when allocating tensor|"
        r"torch\.(?:cuda\.)?OutOfMemoryError", where="device"),
    _rule(_K.OUT_OF_MEMORY, r"oom-kill event|oom_kill|OOM Killed|OOMKilled|[Oo]ut of memory: Kill(?:ed)? process|"
        r"task \d{1,6}: Out Of Memory|DefaultCPUAllocator: (?:not enough memory|can't allocate memory)|^MemoryError\b|"
        r"Cannot allocate memory", where="host"),
    # data loader
    _rule(_K.DATA_LOADER, r"DataLoader worker \(pid(?:\(s\))? [\d, ]{1,60}\) (?:is killed by signal: (?P<signal>[A-Za-z ]{3,30}?)(?:\.|"
        r"$)|exited unexpectedly)"),
    _rule(_K.DATA_LOADER, r"Unexpected bus error encountered in worker|insufficient shared memory \(shm\)", about="shared-memory"),
    # hardware
    _rule(_K.HARDWARE, r"uncorrectable (?:NVLink |ECC )?(?:ECC )?error|NVRM: Xid|\bXid \(PCI|fallen off the bus|"
        r"cudaErrorECCUncorrectable|CUDA error: hardware|DUE TO NODE FAILURE|NVLink error"),
    # device asserts
    _rule(_K.DEVICE_ASSERT, r"block: \[\d{1,10},\d{1,10},\d{1,10}\], "
        r"thread: \[\d{1,6},\d{1,6},\d{1,6}\] Assertion .(?P<assertion>.{1,200}?). failed"),
    _rule(_K.DEVICE_ASSERT, r"device-side assert triggered"),
    # disk
    _rule(_K.DISK_FULL, r"^(?!.{0,1500}inotify)(?:.{0,1500}?)(?:No space left on device|[Dd]isk quota exceeded|\[?Errno 28\]?|"
        r"PytorchStreamWriter failed writing file)"),  # a table of inotify watches is full, not a disk
    # schedulers
    _rule(_K.TIME_LIMIT, r"CANCELLED AT \S{1,40} DUE TO TIME LIMIT|DUE TO TIME LIMIT|job killed: walltime|exceeded (?:hard )?wallclock"),
    _rule(_K.PREEMPTED, r"CANCELLED AT \S{1,40} DUE TO PREEMPTION|DUE TO PREEMPTION|[Pp]reemption (?:notice|signal) received|"
        r"was preempted|Bypassing signal SIGTERM.{0,40}preempt"),
    _rule(_K.KILLED, r"slurmstepd(?:-[\w.-]{1,60})?: error: \*\*\* (?:JOB|STEP) [\d._]{1,30} ON \S{1,80} CANCELLED AT", by="slurm"),
    # collectives
    _rule(_K.COLLECTIVE, r"Watchdog caught collective operation timeout: "
        r"WorkNCCL\(SeqNum=(?P<sequence>\d{1,20}), OpType=(?P<operation>\w{1,40})", about="timeout"),
    _rule(_K.HANG, r"watchdog got stuck for (?P<seconds>\d{1,9}) seconds|heartbeat monitor timed out|"
        r"[Tt]imed out waiting for (?:the )?(?:barrier|rank)"),
    _rule(_K.COLLECTIVE, r"Process group watchdog thread terminated with exception|"
        r"Exception \(either an error or timeout\) detected by watchdog", about="watchdog"),
    _rule(_K.COLLECTIVE, r"nccl(?:Remote|System|Internal|UnhandledCuda|InvalidUsage)Error|NCCL error in:|NCCL communicator was aborted|"
        r"DistBackendError|unhandled (?:system|cuda) error", about="nccl"),
    _rule(_K.COLLECTIVE, r"NCCL WARN .{0,200}(?:[Cc]onnection (?:closed|reset)|[Tt]imeout|[Ff]ailed|[Uu]nhandled)|"
        r"[Gg]loo.{0,100}(?:[Cc]onnection closed|[Tt]imed out|[Rr]ead error)|"
        r"socketProgress\w{0,10}: .{0,120}Connection reset", about="connection"),
    # processes
    _rule(_K.EXCEPTION, r"^[\w./-]{1,200}\.py: error: (?P<message>.{1,300})", exception="SystemExit"),  # the arguments were not understood
    _rule(_K.EXCEPTION, r"^Error: (?P<message>.{1,300}): Success\b", exception="Error"),  # darknet
    _rule(_K.SIGNAL, r"\b[Ff]ailed with exit code:? (?P<exit_code5>[1-9]\d{0,2})\b"),
    _rule(_K.SIGNAL, r"[Ss]ignal (?P<signal>\d{1,2}) \((?P<name>SIG[A-Z]{2,6})\) received by PID"),
    _rule(_K.SIGNAL, r"\(exitcode:? (?P<exit_code>-?\d{1,3})\)|^\s*exitcode\s*: (?P<exit_code2>-?\d{1,3}) \(pid|"
        r"Exited with exit code (?P<exit_code3>\d{1,3})|exit[_ ]status[=: ](?P<exit_code4>[1-9]\d{0,2})\b"),
    _rule(_K.SIGNAL, r"^(?:\S{1,200}: line \d{1,6}:\s+\d{1,9} )?Segmentation fault|Fatal Python error: Segmentation fault", signal=11),
    _rule(_K.SIGNAL, r"^(?:\S{1,200}: line \d{1,6}:\s+\d{1,9} )?Aborted(?: \(core dumped\)|$| +\S)|Fatal Python error: Aborted", signal=6),
    _rule(_K.SIGNAL, r"(?:task \d{1,6}: )Bus error|^(?:\S{1,200}: line \d{1,6}:\s+\d{1,9} )?Bus error", signal=7),
    _rule(_K.SIGNAL, r"Received SIGTERM|SIGTERM received|[Rr]eceived (?:termination )?signal:? (?:15|SIGTERM)|Caught signal 15|"
        r": Terminated\s*$", signal=15),
    _rule(_K.KILLED, r"^Killed\s*$|^\S{1,200}: line \d{1,6}:\s+\d{1,9} Killed\b(?!\s{1,60}" + _OTHER_PROGRAM + r")|"
        r"^\[1\]\s{1,8}\d{1,9} killed ", signal=9),
    _rule(_K.KILLED, r"A worker died or was killed while executing a task|died unexpectedly.{0,80}SIGKILL"),
    _rule(_K.INTERRUPTED, r"^KeyboardInterrupt\b|Detected KeyboardInterrupt|Keyboard ?interrupt received|Interrupted by user|"
        r"^\^C", case=True),
    # warnings that a check knows
    _rule(_K.WARNING, r"Detected call of `lr_scheduler\.step\(\)` before `optimizer\.step\(\)`", about="scheduler-before-optimizer"),
    _rule(_K.WARNING, r"Using a target size \(torch\.Size\((?P<target>\[[\d, ]{0,60}\])\)\) "
        r"that is different to the input size \(torch\.Size\((?P<input>\[[\d, ]{0,60}\])\)\)", about="target-size"),
    _rule(_K.WARNING, r"None of the inputs have requires_grad=True", about="no-input-requires-grad"),
    _rule(_K.WARNING, r"Token indices sequence length is longer than the specified maximum", about="tokens-too-long"),
    _rule(_K.WARNING, r"Some weights of .{1,120} were not initialized from the model checkpoint", about="weights-not-initialized"),
    _rule(_K.WARNING, r"Some weights of the model checkpoint .{0,200} were not used", about="weights-not-used"),
    _rule(_K.WARNING, r"resume_param_scheduler is True but|skip resuming (?:parameter )?(?:scheduler|optimizer)|"
        r"optimizer state (?:not found|was not loaded)|without (?:loading )?optimizer state", about="state-not-resumed"),
    _rule(_K.WARNING, r"loss \(=(?P<value>[-\w.]{1,40})\) is not correct", about="loss-not-correct"),
    _rule(_K.WARNING, r"Found inf or nan|found_inf", about="found-inf"),
    _rule(_K.WARNING, r"find_unused_parameters=True was specified in DDP constructor, but did not find any unused", about="unused-parameters"),
    _rule(_K.WARNING, r"does not have many workers which may be a bottleneck|"
        r"tf\.data.{0,40}input pipeline.{0,40}bottleneck", about="few-workers"),
    # ends and beginnings
    _rule(_K.EARLY_STOPPED, r"(?:^|[\s`:\]])(?:[Ee]arly[ -]?[Ss]topp(?:ing|ed)\b|EarlyStopping:)(?!\s*[:=(_]|[ _-](?:patience|counter|"
        r"epochs?\b|metric|is |conditioned|on\b|threshold|monitor|enabled|delta)).{0,80}$|early stopping criterion|"
        r"[Mm]onitored metric \S{1,60} did not improve in the last|Stopping training early"),
    _rule(_K.FINISHED, r"`?Trainer\.fit`? stopped: `?max_(?:epochs|steps|time)=[^`]{1,40}`? reached|"
        r"^\W{0,4}(?:\S{1,60} ){0,8}?[Tt]raining (?:is )?(?:complete[d]?|finished|done|over)\b(?!:)|[Ff]inished [Tt]raining\b(?! epoch)|"
        r"Optimization Done|\btrain_runtime\b|Training completed\. Do not forget"),
    _rule(_K.RESUMED, r"[Rr]esum(?:ing|ed) (?:training |run )?from\b(?! None| False)|[Rr]estor(?:ing|ed) (?:all )?(?:states|checkpoint|"
        r"weights|model|from)\b|(?:=> ?)?[Ll]oaded checkpoint\b|[Ss]uccessfully (?:loaded|resumed).{0,20}(?:checkpoint|from)|"
        r"[Ll]oading checkpoint (?:from|'|\"|/)|Continuing training from (?:checkpoint|global step|epoch)|Auto[- ]resum(?:e|ing) from"),
    _rule(_K.CHECKPOINT_SAVED, r"\b[Ss]av(?:ed|ing) (?:the )?(?:best |new |current |final |last |full )?(?:model |"
        r"training )?(?:checkpoint|state|weights|model|ckpt)\b(?:.{0,40}?(?P<path>[\w./=\-]{1,200}\.(?:ckpt|pth?|tar|h5|keras|"
        r"safetensors|bin|npz))\b)?|[Cc]heckpoint saved|successfully saved checkpoint"),
    _rule(_K.STARTED, r"\*{3,5} ?Running training ?\*{3,5}|"
        r"^(?:\W{0,4}(?:\S{1,60} ){0,6}?|.{1,100}?\bINFO\b\W{1,6})(?:[Ss]tart(?:ing|ed)? (?:the )?[Tt]rain(?:ing)?\b(?! steps?\b)|"
        r"[Tt]raining (?:has )?started\b|Starting Optimization)"),
)  # fmt: skip
# One of these is in every line that a rule can match: a cheap question before the dear one.
# As long as the patterns allow: a short word is in many lines that tell nothing.
NEEDLES = (
    "loss scale", "overflow", "returned nan", "found nan", "result nan", "norm is nan", "detected nan", "nan loss", "nan gradient", "contains nan",
    "nan detected", "nan found", "nan encountered", "inf detected", "inf found", "inf encountered",
    "training_step", "inf or nan", "probability tensor", "non-finite", "invalid values", "invalid loss", "satisfy the constraint", "normal expects",
    "from oom", "oom: ran", "ran oom", "oom-kill", "oom_kill", "oom kill", "oomkill", "oom when", "out of memory", "outofmemory",
    "memoryallocation", "runtime error (2)", "alloc_failed", "error=2", "out_of_memory", "resource_exhausted", "cannot allocate",
    "can't allocate", "memoryerror", "not enough memory", "dataloader worker", "bus error", "shared memory", "uncorrectable", "nvrm: xid",
    "xid (pci", "off the bus", "error: hardware", "nvlink", "device-side assert", "assertion", "no space left", "disk quota", "errno 28",
    "writing file", "cancelled", "due to time limit", "due to preemption", "due to node failure", "walltime", "wallclock", "preempt",
    "slurmstepd", "watchdog", "heartbeat monitor", "timed out", "nccl", "distbackend", "unhandled", "gloo", "socketprogress", "exitcode",
    "exit code", "exit_status", "exit status", "segmentation", "aborted", "sigterm", "signal", "terminated", "killed", "worker died",
    "died unexpectedly", "interrupt", "^c", "lr_scheduler", "target size", "requires_grad", "token indices", "some weights",
    "resuming", "resumed", "resume from", "resume_param", "successfully loaded", "optimizer state",
    "loss is ", "loss became ", "loss was ", "norm is inf", "found inf", "detected inf", "inf loss", "inf gradient",
    "is not correct", "found_inf", "find_unused", "bottleneck", "early stop", "early-stop", "earlystop", "did not improve",
    "training early", "trainer.fit", "training complete", "training is ", "training finished", "training done", "training over", "finished training",
    "running training", "start train", "started train", "starting train", "start the train", "started the train",
    "starting the train", "training started", "training has started", "continuing training",
    "train_runtime", "optimization done", "starting optimization", "restoring", "restored", "checkpoint", "saved ", "saving ",
    "traceback", "error", "exception",
)  # fmt: skip
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


_EXCEPTION_NAME = re.compile(r"^\s*(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt)\b")


# Needles that no pattern spells out in one piece: how one does.
_SPELT = {
    "exit_status": "exit[_ ]status", "exit status": "exit[_ ]status", "saved ": "sav(?:ed|ing)", "saving ": "sav(?:ed|ing)",
    **dict.fromkeys(("loss is ", "loss became ", "loss was "), "loss (?:is|"),
    **dict.fromkeys(("norm is nan", "norm is inf"), "norm is (?:nan|inf)"),
    **dict.fromkeys(("found nan", "found inf"), "found (?:nan|inf"),
    **dict.fromkeys(("detected nan", "detected inf"), "detected (?:nan"),
    **dict.fromkeys(("nan detected", "nan found", "nan encountered", "inf detected", "inf found", "inf encountered"), "(?: loss)? (?:detected"),
    **dict.fromkeys(("nan loss", "inf loss", "nan gradient", "inf gradient"), "inf) (?:loss|"),
    **dict.fromkeys(("resuming", "resumed", "restoring", "restored"), "(?:ing|ed) "),
    "resume from": "resum(?:e|ing) from",
    **dict.fromkeys(("early stop", "early-stop", "earlystop"), "early[ -]?stopp"),
    **dict.fromkeys(("training complete", "training is ", "training finished", "training done", "training over"), "training (?:is )?(?:complete"),
    **dict.fromkeys(("start train", "started train", "starting train", "start the train", "started the train", "starting the train"),
                    "start(?:ing|ed)? (?:the )?"),
    **dict.fromkeys(("training started", "training has started"), "training (?:has )?started"),
    **dict.fromkeys(("oom-kill", "oom_kill", "oom kill", "oomkill"), "oomkilled"),
    "successfully loaded": "uccessfully (?:loaded",
}  # fmt: skip


def _by_needle() -> dict[str, tuple[re.Pattern[str], ...]]:
    """Which patterns may match a line for the sake of a needle in it: those that have it in them, and those with none in one piece."""
    patterns = [*(rule.pattern for rule in RULES), re.compile("Traceback"), _EXCEPTION_NAME]
    plain = [re.sub(r"\[(\w)\1\]", r"\1", p.pattern.lower()).replace("\\", "") for p in patterns]
    having = [{needle for needle in NEEDLES if needle in text or _SPELT.get(needle, needle) in text} for text in plain]
    return {needle: tuple(p for p, has in zip(patterns, having, strict=True) if needle in has or not has) for needle in NEEDLES}


_BY_NEEDLE = _by_needle()
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
