"""What a log tells beside numbers: crashes, kills, guards, overflows, warnings, beginnings and ends.

Every rule needs a context that only such a line has; the bare words "nan", "error" or "overflow" match nothing, because
logs print configurations, metrics and source code. Tracebacks are collected per rank, for their lines interleave.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from postmortem.model.run import EventKind, LogEvent
from postmortem.model.sentence import Value

MAX_TEXT = 2_000  # characters of an excerpt
MAX_TRACEBACK = 200  # lines
MAX_STRAY = 200  # lines of other ranks within one traceback
MOST = {EventKind.OVERFLOW: 5_000, EventKind.CHECKPOINT_SAVED: 1_000}
MOST_OF_A_KIND = 60

_PREFIX = re.compile(
    r"^(?:\s{0,8}(?:\[rank(?P<a>\d{1,6})\]:|\[default(?P<b>\d{1,4})\]:|(?P<c>\d{1,4}): |\(\w{1,40} pid=\d{1,9}(?:, ip=[\d.]{1,40})?\)|"
    r"\[rank:? (?P<d>\d{1,6})\]))\s?",
    re.IGNORECASE,
)
_RANK = re.compile(r"\b(?:\[?[Rr]ank:? |global rank |rank=)(\d{1,6})\b")
_TRACEBACK = re.compile(r"Traceback \(most recent call last\):")
_FRAME = re.compile(r'^\s*File "([^"]{1,400})", line (\d{1,9})(?:, in (\S{1,200}))?')
_EXCEPTION = re.compile(
    r"^(?P<type>(?:[A-Za-z_][\w]{0,60}\.){0,8}[A-Za-z_]\w{0,80}(?:Error|Exception|Interrupt|Exit|Warning|Failure|Timeout|Killed|Stop|NotFound|OutOfMemory|Died|Refused|Expired))"
    r"(?::\s?(?P<message>.*))?$"
)
_ANY_EXCEPTION = re.compile(r"^(?P<type>(?:[A-Za-z_]\w{0,60}\.){0,8}[A-Z]\w{0,80})(?::\s(?P<message>.*))?$")
_LIBRARY = re.compile(r"site-packages|dist-packages|/lib/python\d|lib/python\d\.\d|<frozen|/torch/|\\lib\\|^<")
_AT = re.compile(r"\b(global[_ ]?step|step|iteration|iter|epoch)[ _=:]{1,3}(\d{1,12})\b", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
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
_SIZE = r"Tried to allocate (?P<asked>[\d.]{1,20} ?[KMGT]?i?B)"
_CAPACITY = r"(?P<capacity>[\d.]{1,20} ?[KMGT]?i?B) total capacity|total capacity of (?P<capacity2>[\d.]{1,20} ?[KMGT]?i?B)"

# In order: the first that matches names the line.
_RULES: tuple[Rule, ...] = (
    # overflows and their floor
    _rule(_K.LOSS_SCALE_FLOOR, r"Minimum loss scale reached(?: \(" + _NUMBER.format("scale") + r"\))?|[Cc]urrent loss scale already at minimum"),
    _rule(_K.OVERFLOW, r"OVERFLOW! Rank \d{1,6} Skipping step\. Attempted loss scale: " + _NUMBER.format("attempted") + r"(?:, reducing to " + _NUMBER.format("scale") + r")?"),
    _rule(_K.OVERFLOW, r"Gradient overflow\.\s+Skipping step, .{0,40}reducing loss scale to " + _NUMBER.format("scale")),
    _rule(_K.OVERFLOW, r"overflow detected, (?:ignoring gradient, )?setting loss scale to:? " + _NUMBER.format("scale")),
    # not finite
    _rule(_K.NON_FINITE_GUARD, r"[Ll]oss (?:is|became|was) (?:nan|inf|NaN|Inf|infinite|not finite|non-finite)\b.{0,60}(?:stop|abort|exit|terminat|at iteration|Nan|NaN)"),
    _rule(_K.NON_FINITE_GUARD, r"Function '?\w{1,80}Backward\d{0,3}'? returned nan values in its \d{1,3}th output"),
    _rule(_K.NON_FINITE_GUARD, r"found (?:NaN|Inf|nan|inf) in local|Unexpected result nan|The grad norm is (?:nan|inf)|Non-finite norm encountered|Invalid loss, terminating training|total norm of order .{0,40} is non-finite"),
    _rule(_K.NON_FINITE_GUARD, r"loss returned in `?training_step`? is (?:nan|inf)|[Dd]etected (?:nan|NaN|inf|Inf)\b.{0,60}(?:loss|grad|param)|(?:NaN|nan|Inf) (?:loss|gradients?) (?:detected|encountered|found)|contains NaN, infinity"),
    _rule(_K.NON_FINITE_GUARD, r"parameter \w{1,40} has invalid values|Expected parameter \w{1,40} .{0,200}to satisfy the constraint|normal expects all elements of std >= 0|probability tensor contains either `?inf`?, `?nan`?"),
    # memory
    _rule(_K.WARNING, r"attempting to recover from OOM|OOM: Ran out of memory with exception|ran OOM .{0,40}(?:retry|skipp)", about="oom-recovered"),
    _rule(_K.OUT_OF_MEMORY, r"NCCL WARN Cuda failure '?(?:2 )?'?out of memory", where="device"),
    _rule(_K.OUT_OF_MEMORY, r"(?:CUDA|HIP|XPU|MPS backend|hip) out of memory|cuda(?:ErrorMemoryAllocation| runtime error \(2\))|CUBLAS_STATUS_ALLOC_FAILED|CUDA error: out of memory|error=2 : out of memory|CUDA_ERROR_OUT_OF_MEMORY", where="device"),
    _rule(_K.OUT_OF_MEMORY, r"RESOURCE_EXHAUSTED: Out of memory|OOM when allocating tensor|torch\.(?:cuda\.)?OutOfMemoryError", where="device"),
    _rule(_K.OUT_OF_MEMORY, r"oom-kill event|oom_kill|OOM Killed|OOMKilled|[Oo]ut of memory: Kill(?:ed)? process|task \d{1,6}: Out Of Memory|DefaultCPUAllocator: (?:not enough memory|can't allocate memory)|^MemoryError\b|Cannot allocate memory", where="host"),
    # data loader
    _rule(_K.DATA_LOADER, r"DataLoader worker \(pid(?:\(s\))? [\d, ]{1,60}\) (?:is killed by signal: (?P<signal>[A-Za-z ]{3,30}?)(?:\.|$)|exited unexpectedly)"),
    _rule(_K.DATA_LOADER, r"Unexpected bus error encountered in worker|insufficient shared memory \(shm\)", about="shared-memory"),
    # hardware
    _rule(_K.HARDWARE, r"uncorrectable (?:NVLink |ECC )?(?:ECC )?error|NVRM: Xid|\bXid \(PCI|fallen off the bus|cudaErrorECCUncorrectable|CUDA error: hardware|DUE TO NODE FAILURE|NVLink error"),
    # device asserts
    _rule(_K.DEVICE_ASSERT, r"block: \[\d{1,10},\d{1,10},\d{1,10}\], thread: \[\d{1,6},\d{1,6},\d{1,6}\] Assertion .(?P<assertion>.{1,200}?). failed"),
    _rule(_K.DEVICE_ASSERT, r"device-side assert triggered"),
    # disk
    _rule(_K.DISK_FULL, r"No space left on device|[Dd]isk quota exceeded|\[?Errno 28\]?|PytorchStreamWriter failed writing file"),
    # schedulers
    _rule(_K.TIME_LIMIT, r"CANCELLED AT \S{1,40} DUE TO TIME LIMIT|DUE TO TIME LIMIT|job killed: walltime|exceeded (?:hard )?wallclock"),
    _rule(_K.PREEMPTED, r"CANCELLED AT \S{1,40} DUE TO PREEMPTION|DUE TO PREEMPTION|[Pp]reemption (?:notice|signal) received|was preempted|Bypassing signal SIGTERM.{0,40}preempt"),
    _rule(_K.KILLED, r"slurmstepd: error: \*\*\* (?:JOB|STEP) [\d._]{1,30} ON \S{1,80} CANCELLED AT", by="slurm"),
    # collectives
    _rule(_K.COLLECTIVE, r"Watchdog caught collective operation timeout: WorkNCCL\(SeqNum=(?P<sequence>\d{1,20}), OpType=(?P<operation>\w{1,40})", about="timeout"),
    _rule(_K.HANG, r"watchdog got stuck for (?P<seconds>\d{1,9}) seconds|heartbeat monitor timed out|[Tt]imed out waiting for (?:the )?(?:barrier|rank)"),
    _rule(_K.COLLECTIVE, r"Process group watchdog thread terminated with exception|Exception \(either an error or timeout\) detected by watchdog", about="watchdog"),
    _rule(_K.COLLECTIVE, r"nccl(?:Remote|System|Internal|UnhandledCuda|InvalidUsage)Error|NCCL error in:|NCCL communicator was aborted|DistBackendError|unhandled (?:system|cuda) error", about="nccl"),
    _rule(_K.COLLECTIVE, r"NCCL WARN .{0,200}(?:[Cc]onnection (?:closed|reset)|[Tt]imeout|[Ff]ailed|[Uu]nhandled)|[Gg]loo.{0,100}(?:[Cc]onnection closed|[Tt]imed out|[Rr]ead error)|socketProgress\w{0,10}: .{0,120}Connection reset", about="connection"),
    # processes
    _rule(_K.SIGNAL, r"[Ss]ignal (?P<signal>\d{1,2}) \((?P<name>SIG[A-Z]{2,6})\) received by PID"),
    _rule(_K.SIGNAL, r"\(exitcode:? (?P<exit_code>-?\d{1,3})\)|^\s*exitcode\s*: (?P<exit_code2>-?\d{1,3}) \(pid|Exited with exit code (?P<exit_code3>\d{1,3})|exit[_ ]status[=: ](?P<exit_code4>[1-9]\d{0,2})\b"),
    _rule(_K.SIGNAL, r"^(?:\S{1,200}: line \d{1,6}:\s+\d{1,9} )?Segmentation fault|Fatal Python error: Segmentation fault", signal=11),
    _rule(_K.SIGNAL, r"^(?:\S{1,200}: line \d{1,6}:\s+\d{1,9} )?Aborted(?: \(core dumped\)|$| +\S)|Fatal Python error: Aborted", signal=6),
    _rule(_K.SIGNAL, r"(?:task \d{1,6}: )Bus error|^(?:\S{1,200}: line \d{1,6}:\s+\d{1,9} )?Bus error", signal=7),
    _rule(_K.SIGNAL, r"Received SIGTERM|SIGTERM received|[Rr]eceived (?:termination )?signal:? (?:15|SIGTERM)|Caught signal 15|: Terminated\s*$", signal=15),
    _rule(_K.KILLED, r"^Killed\s*$|^\S{1,200}: line \d{1,6}:\s+\d{1,9} Killed\b|^\[1\]\s{1,8}\d{1,9} killed ", signal=9),
    _rule(_K.KILLED, r"A worker died or was killed while executing a task|died unexpectedly.{0,80}SIGKILL"),
    _rule(_K.INTERRUPTED, r"^KeyboardInterrupt\b|Detected KeyboardInterrupt|Keyboard ?interrupt received|Interrupted by user|^\^C", case=True),
    # warnings that a check knows
    _rule(_K.WARNING, r"Detected call of `lr_scheduler\.step\(\)` before `optimizer\.step\(\)`", about="scheduler-before-optimizer"),
    _rule(_K.WARNING, r"Using a target size \(torch\.Size\((?P<target>\[[\d, ]{0,60}\])\)\) that is different to the input size \(torch\.Size\((?P<input>\[[\d, ]{0,60}\])\)\)", about="target-size"),
    _rule(_K.WARNING, r"None of the inputs have requires_grad=True", about="no-input-requires-grad"),
    _rule(_K.WARNING, r"Token indices sequence length is longer than the specified maximum", about="tokens-too-long"),
    _rule(_K.WARNING, r"Some weights of .{1,120} were not initialized from the model checkpoint", about="weights-not-initialized"),
    _rule(_K.WARNING, r"Some weights of the model checkpoint .{0,200} were not used", about="weights-not-used"),
    _rule(_K.WARNING, r"resume_param_scheduler is True but|skip resuming (?:parameter )?(?:scheduler|optimizer)|optimizer state (?:not found|was not loaded)|without (?:loading )?optimizer state", about="state-not-resumed"),
    _rule(_K.WARNING, r"loss \(=(?P<value>[-\w.]{1,40})\) is not correct", about="loss-not-correct"),
    _rule(_K.WARNING, r"Found inf or nan|found_inf", about="found-inf"),
    _rule(_K.WARNING, r"find_unused_parameters=True was specified in DDP constructor, but did not find any unused", about="unused-parameters"),
    _rule(_K.WARNING, r"does not have many workers which may be a bottleneck|tf\.data.{0,40}input pipeline.{0,40}bottleneck", about="few-workers"),
    # ends and beginnings
    _rule(_K.EARLY_STOPPED, r"(?:^|[\s`:\]])(?:[Ee]arly[ -]?[Ss]topp(?:ing|ed)\b|EarlyStopping:)(?!\s*[:=(_]|[ _-](?:patience|counter|epochs?\b|metric|is |conditioned|on\b|threshold|monitor|enabled|delta)).{0,80}$|early stopping criterion|[Mm]onitored metric \S{1,60} did not improve in the last|Stopping training early"),
    _rule(_K.FINISHED, r"`?Trainer\.fit`? stopped: `?max_(?:epochs|steps|time)=[^`]{1,40}`? reached|^\W{0,4}(?:\S{1,60} ){0,8}?[Tt]raining (?:is )?(?:complete[d]?|finished|done|over)\b(?!:)|[Ff]inished [Tt]raining\b(?! epoch)|Optimization Done|\btrain_runtime\b|Training completed\. Do not forget"),
    _rule(_K.RESUMED, r"[Rr]esum(?:ing|ed) (?:training |run )?from\b(?! None| False)|[Rr]estor(?:ing|ed) (?:all )?(?:states|checkpoint|weights|model|from)\b|(?:=> ?)?[Ll]oaded checkpoint\b|[Ss]uccessfully (?:loaded|resumed).{0,20}(?:checkpoint|from)|[Ll]oading checkpoint (?:from|'|\"|/)|Continuing training from (?:checkpoint|global step|epoch)|Auto[- ]resum(?:e|ing) from"),
    _rule(_K.CHECKPOINT_SAVED, r"\b[Ss]av(?:ed|ing) (?:the )?(?:best |new |current |final |last |full )?(?:model |training )?(?:checkpoint|state|weights|model|ckpt)\b(?:.{0,40}?(?P<path>[\w./=\-]{1,200}\.(?:ckpt|pth?|tar|h5|keras|safetensors|bin|npz))\b)?|[Cc]heckpoint saved|successfully saved checkpoint"),
    _rule(_K.STARTED, r"\*{3,5} ?Running training ?\*{3,5}|^\W{0,4}(?:\S{1,60} ){0,6}?(?:[Ss]tart(?:ing|ed)? (?:the )?[Tt]raining\b|[Tt]raining (?:has )?started\b|Starting Optimization)"),
)  # fmt: skip
_SUSPICIOUS = re.compile(
    "|".join(f"(?:{re.sub(r'[(][?]P<[a-z0-9_]+>', '(?:', r.pattern.pattern)})" for r in _RULES)
    + r"|Traceback|^\s*(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt)\b"
)
# One of these is in every line that a rule can match: a cheap question before the dear one.
_NEEDLES = tuple(
    (
        "loss scale|overflow|nan|infinit|non-finite|invalid|constraint|normal expects|oom|out of memory|outofmemory|memoryallocation|runtime error (2)|alloc_failed|"
        "error=2|out_of_memory|resource_exhausted|cannot allocate|can't allocate|memoryerror|not enough memory|dataloader worker|bus error|shared memory|ecc|xid|"
        "bus|hardware|nvlink|assert|no space left|quota|errno 28|writing file|cancelled|due to|walltime|wallclock|preempt|slurmstepd|watchdog|heartbeat|timed out|"
        "nccl|distbackend|unhandled|gloo|connection|exitcode|exit code|exit_status|exit status|segmentation|aborted|sigterm|signal|terminated|killed|worker died|"
        "died unexpectedly|interrupt|^c|lr_scheduler|target size|requires_grad|token indices|some weights|resum|optimizer state|is not correct|found inf|found_inf|"
        "find_unused|bottleneck|early|did not improve|stopping|trainer.fit|training|train_runtime|optimization|restor|checkpoint|save|saving|traceback|error|exception"
    ).split("|")
)
_ABOUT_EXCEPTION = frozenset(
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


def is_suspicious(text: str) -> bool:
    """A line that may tell of an event: worth asking `Watch.line`. Asked once for each shape of line."""
    low = text[:1000].lower()
    return any(needle in low for needle in _NEEDLES) and "nccl info" not in low and bool(_SUSPICIOUS.search(text[:1000]))


@dataclass(slots=True)
class _Open:
    """A traceback that is being read."""

    first_line: int
    lines: list[str]
    frames: list[tuple[str, str, str]] = field(default_factory=list)  # file, line, function
    raised: "tuple[str, str] | None" = None  # type, message
    more: int = 0  # lines of the message after the first
    stray: int = 0  # lines of others in between


@dataclass(frozen=True, slots=True)
class Where:
    """Where training was when the line was printed."""

    line: int
    step: float | None = None
    epoch: float | None = None
    time: float | None = None


class Watch:
    """Collects the events of one log, line by line."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.events: list[LogEvent] = []
        self._open: dict[int | None, _Open] = {}
        self._kinds: Counter[EventKind] = Counter()
        self._seen: Counter[tuple[EventKind, str]] = Counter()
        self._where = Where(0)

    @property
    def reading(self) -> bool:
        """Inside a traceback: every line is wanted."""
        return bool(self._open)

    def line(self, text: str, where: Where) -> bool:
        """Take in one line. True when it belongs to a traceback or tells an event: then its numbers are no metrics."""
        self._where = where
        rank, body = _peel(text)
        if _TRACEBACK.search(body):
            opened = self._open.get(rank)
            if opened is not None and opened.raised is not None:
                self._close(rank)
                opened = None
            if opened is None:
                self._open[rank] = _Open(where.line, [body.strip()])
            else:
                opened.lines.append(body.strip())
            return True
        opened = self._open.get(rank) or (self._open.get(None) if rank is None else None)
        if opened is not None and self._continue(opened, rank, body):
            return True
        if _FRAME.match(body) and opened is None and rank is not None:  # a traceback whose head was cut off
            self._open[rank] = opened = _Open(where.line, [])
            return self._continue(opened, rank, body)
        return self._single(body, rank if rank is not None else _rank_in(text), where)

    def add_finished(self, text: str, where: Where) -> None:
        """The log's last line says that it is done."""
        self._add(_K.FINISHED, text.strip(), None, where, {})

    def end(self) -> tuple[LogEvent, ...]:
        """The log is over."""
        for rank in list(self._open):
            self._close(rank)
        named = any(e.data.get("exception") for e in self.events)  # of interleaved tracebacks some lose their last line
        kept = [e for e in self.events if not named or e.kind != _K.EXCEPTION or e.data.get("exception")]
        return tuple(sorted(kept, key=lambda e: e.line))

    # -- tracebacks

    def _continue(self, opened: _Open, rank: int | None, body: str) -> bool:
        if opened.raised is not None:
            if body.strip() and body[:1] in " \t" and opened.more < 12 and not _FRAME.match(body):
                opened.more += 1
                opened.lines.append(body.rstrip()[:400])
                opened.raised = (opened.raised[0], f"{opened.raised[1]} {body.strip()}"[:1000])
                return True
            self._close(rank)
            return False
        if not body.strip():
            return True
        frame = _FRAME.match(body)
        if frame:
            opened.frames.append((frame[1], frame[2], frame[3] or ""))
        elif body[:1] not in " \t":
            found = _EXCEPTION.match(body.strip()) or _ANY_EXCEPTION.match(body.strip())
            if found is None:
                opened.stray += 1
                if opened.stray > MAX_STRAY or not opened.frames:
                    self._close(rank)
                return False
            opened.raised = (found["type"], (found["message"] or "").strip())
        if len(opened.lines) > MAX_TRACEBACK:
            del opened.lines[1:51]  # the end is what tells
            del opened.frames[:-MAX_TRACEBACK]
        opened.lines.append(body.rstrip()[:400])
        return True

    def _close(self, rank: int | None) -> None:
        opened = self._open.pop(rank)
        if opened.raised is None and len(opened.frames) == 0:
            return
        kind_name, message = opened.raised or ("", "")
        short = kind_name.rpartition(".")[2]
        data: dict[str, Value] = {"exception": short, "message": message[:600]}
        own = next((f for f in reversed(opened.frames) if not _LIBRARY.search(f[0])), opened.frames[-1] if opened.frames else None)
        if own is not None:
            data["frame"] = f"{own[0]}:{own[1]}"
            data["frame_function"] = own[2]
        kind = _K.EXCEPTION
        said = f"{kind_name}: {message}"
        for rule in _RULES:
            if rule.kind in _ABOUT_EXCEPTION:
                match = rule.pattern.search(said)
                if match:
                    kind = rule.kind
                    data |= _data(rule, match, said)
                    break
        if short in ("KeyboardInterrupt",):
            kind = _K.INTERRUPTED
        if short == "MemoryError":
            kind = _K.OUT_OF_MEMORY
            data["where"] = "host"
        where = Where(opened.first_line, self._where.step, self._where.epoch, self._where.time)
        self._add(kind, "\n".join(_trimmed(opened.lines)), rank, where, data)

    # -- single lines

    def _single(self, body: str, rank: int | None, where: Where) -> bool:
        text = body.strip()[:1500]
        for rule in _RULES:
            match = rule.pattern.search(text)
            if match is None:
                continue
            data = _data(rule, match, text)
            kind = rule.kind
            if (
                kind == _K.OVERFLOW
                and data.get("scale") == data.get("attempted")
                and isinstance(data.get("scale"), float)
                and float(data["scale"] or 0) <= 1.0
            ):
                kind = _K.LOSS_SCALE_FLOOR
            raised = _EXCEPTION.match(text)
            if raised and kind in _ABOUT_EXCEPTION:
                data |= {"exception": raised["type"].rpartition(".")[2], "message": (raised["message"] or "")[:600]}
            self._add(kind, text, rank, where, data)
            return kind in _ABOUT_EXCEPTION or kind in (_K.SIGNAL, _K.KILLED, _K.HANG)
        raised = _EXCEPTION.match(text)
        if raised and raised["type"][:1].isupper() | ("." in raised["type"]) and not raised["type"].endswith("Warning"):
            if text.endswith(":") and raised["message"]:  # the message goes on in indented lines
                self._open[rank] = _Open(where.line, [text], raised=(raised["type"], raised["message"]))
                return True
            self._add(_K.EXCEPTION, text, rank, where, {"exception": raised["type"].rpartition(".")[2], "message": (raised["message"] or "")[:600]})
            return True
        return False

    def _add(self, kind: EventKind, text: str, rank: int | None, where: Where, data: Mapping[str, Value]) -> None:
        alike = (kind, re.sub(r"\d+", "0", text[:300]))
        self._seen[alike] += 1
        self._kinds[kind] += 1
        most = MOST.get(kind, MOST_OF_A_KIND)
        repeated = self._seen[alike] > (16 if kind not in MOST else most)
        if self._kinds[kind] > most or repeated:
            return
        clean = _CONTROL.sub("", text)[:MAX_TEXT]
        self.events.append(LogEvent(kind, clean, self.source, where.line, where.step, where.epoch, where.time, rank, MappingProxyType(dict(data))))


def _peel(text: str) -> tuple[int | None, str]:
    """Rank and rest of a line that says which rank printed it."""
    match = _PREFIX.match(text)
    if match is None:
        return None, text
    rank = next((int(v) for v in match.groupdict().values() if v is not None), None)
    return rank, text[match.end() :]


def _rank_in(text: str) -> int | None:
    match = _RANK.search(text[:400])
    return int(match[1]) if match else None


def _data(rule: Rule, match: re.Match[str], text: str) -> dict[str, Value]:
    data: dict[str, Value] = dict(rule.data)
    for name, found in match.groupdict().items():
        if found is not None:
            value = _scalar(found)
            data[name.rstrip("0123456789")] = float(found) if name in ("scale", "attempted") else value
    if rule.kind in (EventKind.RESUMED, EventKind.CHECKPOINT_SAVED):
        at = _AT.search(text)
        if at:
            data["epoch" if at[1].lower() == "epoch" else "step"] = float(at[2])
    if rule.kind == EventKind.OUT_OF_MEMORY:
        asked, capacity = re.search(_SIZE, text), re.search(_CAPACITY, text)
        if asked:
            data["asked"] = asked["asked"]
        if capacity:
            data["capacity"] = capacity["capacity"] or capacity["capacity2"]
    return data


def _scalar(text: str) -> Value:
    try:
        return float(text) if "." in text or "e" in text.lower() else int(text)
    except ValueError:
        return text


def _trimmed(lines: list[str]) -> list[str]:
    """Head and tail of a long traceback: at most `MAX_TEXT` characters, the exception kept."""
    if sum(len(line) + 1 for line in lines) <= MAX_TEXT:
        return lines
    tail: list[str] = []
    room = MAX_TEXT - len(lines[0]) - 10
    for line in reversed(lines[1:]):
        room -= len(line) + 1
        if room < 0:
            break
        tail.append(line)
    return [lines[0], "  …", *reversed(tail)]
