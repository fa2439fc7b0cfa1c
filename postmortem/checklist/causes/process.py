"""Why a process died: each of these is read off the log's own words."""

import math
from collections.abc import Callable
from dataclasses import replace

from postmortem.check import Cause, Evidence, Fix, Probe, Reading, Sighting, say
from postmortem.checklist import remedies
from postmortem.checklist.quoting import cut, first_line, last_line
from postmortem.model.run import EventKind, LogEvent
from postmortem.model.sentence import Sentence

LINES, CODE = 4, 160  # of a traceback in a fix: its last lines, each with so many characters


def _words(kinds: tuple[EventKind, ...], about: Callable[[LogEvent], bool] | None = None, *, fails: float = -3.0) -> Probe:
    """The log holds an event of these kinds (which satisfies `about`)."""

    def ask(e: Evidence, seen: Sighting) -> Reading:
        hit = next((ev for ev in reversed(e.events_of(*kinds)) if about is None or about(ev)), None)
        if hit is None:
            return Reading(False, say("no such words in the log"))
        text = _message(hit)
        return Reading(True, say("line {line}: {text}", line=hit.line, text=text) if hit.line else say("{text}", text=text), hit.source)

    return Probe(say("the log says so"), ask, 4.0, fails)


def _message(event: LogEvent) -> str:
    """What an event says: an exception with its message, else its last line."""
    name, message = event.data.get("exception"), event.data.get("message")
    return cut(f"{name}: {message}") if name and message else last_line(event.text)


HOST_MEMORY = ("can't alloc", "failed to map segment from shared object")  # of allocators and loaders whose exceptions have no name for it


def _out_of_memory(event: LogEvent) -> bool:
    """It says that memory ran out, of the device or of the host."""
    return event.kind is EventKind.OUT_OF_MEMORY or any(word in event.text for word in HOST_MEMORY)


def _ended_with_it(e: Evidence) -> bool:
    """The process was told to end, and the workers of its data loader were ended with it."""
    told = any(ev.data.get("signal") == TERMINATE for ev in e.events_of(EventKind.SIGNAL))
    died = [str(ev.data.get("signal")) for ev in e.events_of(EventKind.DATA_LOADER)]
    return told and bool(died) and set(died) == {"Terminated"}


TERMINATE = 15  # SIGTERM


def _silence(e: Evidence, seen: Sighting) -> Reading | None:
    """No word about the end, and the log or the plan is cut."""
    if _ended_with_it(e):
        return None
    spoke = e.events_of(
        EventKind.EXCEPTION,
        EventKind.OUT_OF_MEMORY,
        EventKind.COLLECTIVE,
        EventKind.DEVICE_ASSERT,
        EventKind.TIME_LIMIT,
        EventKind.PREEMPTED,
        EventKind.INTERRUPTED,
        EventKind.DISK_FULL,
        EventKind.DATA_LOADER,
        EventKind.HARDWARE,
    )
    return Reading(not spoke, say("the log stops without a word about why") if not spoke else say("the log gives another reason"))


def _cause(
    name: str,
    title: Sentence,
    mechanism: Sentence,
    probes: tuple[Probe, ...],
    fix: tuple[Sentence, Sentence, dict[str, str] | None],
    by_hand: tuple[Sentence, ...] = (),
) -> Cause:
    return Cause(name, title, mechanism, probes, remedies.only(*fix), by_hand)


def _size_of_batches(e: Evidence) -> float | None:
    """Samples of a batch by those of the training set and the steps of an epoch: a power of two where one fits."""
    samples, steps = e.number("train_samples"), e.steps_per_epoch if e.axis == "step" else None
    if not samples or not steps or samples < steps:
        return None
    powers = (2.0**k for k in range(16))
    return next((size for size in powers if math.ceil(samples / size) == round(steps)), float(math.ceil(samples / steps)))


def _memory_fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    hit = next(iter(e.events_of(EventKind.OUT_OF_MEMORY)), None)
    asked = str(hit.data.get("asked") or "") if hit is not None else ""
    stated = e.number("batch_size")
    size = stated or _size_of_batches(e)
    told = say("The allocator's own words are in the log.") if hit is not None else say("A smaller batch needs less memory.")
    why = say("It asked for {asked} more than there was.", asked=asked) if asked else told
    changes = (
        (remedies.change(e, "batch_size", max(1, int(size // 2)), stated), remedies.change(e, "accumulation", 2 * int(e.number("accumulation") or 1)))
        if size
        else ()
    )
    title = say("Halve the batch to {to} and accumulate twice", to=max(1, int(size // 2))) if size else say("Halve the batch and accumulate twice")
    snippets = {
        "pytorch": "loss = criterion(model(x), y) / accumulate\nloss.backward()\nif (i + 1) % accumulate == 0:\n    optimizer.step(); optimizer.zero_grad(set_to_none=True)",
        "transformers": "args = TrainingArguments(..., per_device_train_batch_size=half, gradient_accumulation_steps=2)",
    }
    spare = {
        "pytorch": "from torch.utils.checkpoint import checkpoint\nx = checkpoint(block, x, use_reentrant=False)\nwith torch.autocast('cuda', dtype=torch.bfloat16): ...",
        "transformers": "args = TrainingArguments(..., gradient_checkpointing=True, bf16=True)",
    }
    return (
        remedies.fix(e, title, why, changes, snippets),
        remedies.fix(
            e,
            say("Or keep the batch: gradient checkpointing and bfloat16"),
            say("Both trade a little time for about half of the memory of the activations."),
            (),
            spare,
        ),
    )


def _exception_fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    hit = next((ev for ev in reversed(e.events_of(EventKind.EXCEPTION)) if ev.data.get("frame")), None)
    if hit is None:
        return (remedies.fix(e, say("Mend the line that the traceback names"), say("The exception is in the log.")),)
    name, frame, function = (str(hit.data.get(key) or "") for key in ("exception", "frame", "frame_function"))
    title = say("Mend {frame}, in {function}", frame=frame, function=function) if function else say("Mend {frame}", frame=frame)
    fix = remedies.fix(e, title, say("It is the innermost frame of the run's own code that the traceback of {name} names.", name=name))
    return (replace(fix, code="\n".join(cut(line, CODE) for line in hit.text.strip().splitlines()[-LINES:])),)


out_of_memory = Cause(
    "out-of-memory",
    say("Out of memory"),
    say("An allocation did not fit. On the device: batch, activations or optimizer state; on the host: workers, caches, a leak."),
    (_words((EventKind.OUT_OF_MEMORY, EventKind.EXCEPTION), _out_of_memory),),
    _memory_fixes,
    (say("Print torch.cuda.max_memory_allocated() after the first step, and after an evaluation."),),
)
collective_failure = _cause(
    "collective-failure",
    say("A collective operation failed or timed out"),
    say("One rank stopped, hung or took another path; the others waited for it until the watchdog ended them."),
    (_words((EventKind.COLLECTIVE, EventKind.HANG)),),
    (
        say("Find the rank that differs: its log has the first traceback"),
        say("A timeout in the others is a consequence."),
        {"pytorch": "# TORCH_DISTRIBUTED_DEBUG=DETAIL NCCL_DEBUG=INFO torchrun ..."},
    ),
)


def _more_specific(e: Evidence, seen: Sighting) -> Reading | None:
    kinds = (
        EventKind.OUT_OF_MEMORY,
        EventKind.DATA_LOADER,
        EventKind.DISK_FULL,
        EventKind.HARDWARE,
        EventKind.DEVICE_ASSERT,
        EventKind.COLLECTIVE,
        EventKind.TIME_LIMIT,
    )
    wrapped = [ev for ev in e.events_of(EventKind.EXCEPTION) if str(ev.data.get("exception", "")).endswith(WRAPPERS)]
    killed = bool(wrapped) and bool(e.events_of(EventKind.SIGNAL, EventKind.KILLED))
    hit = next(iter(e.events_of(*kinds)), None) or next((ev for ev in e.events_of(EventKind.EXCEPTION) if _out_of_memory(ev)), None)
    if hit is None and not killed:
        return None
    return Reading(
        True,
        say(
            "the log also says: {text}",
            text=first_line(hit.text) if hit is not None and hit.text.strip() else say("killed by a signal"),
        ),
    )


WRAPPERS = ("ChildFailedError", "ProcessRaisedException", "ProcessExitedException", "SpawnException")  # they report another process's end
python_error = Cause(
    "python-error",
    say("The code raised an exception"),
    say("An exception that nobody caught ended the process."),
    (_words((EventKind.EXCEPTION,)), Probe(say("a more specific reason stands in the log"), _more_specific, -2.5)),
    _exception_fixes,
    (say("Run the failing batch alone, on the CPU, under a debugger."),),
)
device_assert = _cause(
    "device-assert",
    say("A device-side assertion: an index out of range"),
    say(
        "A label beyond the number of classes or a token beyond the vocabulary indexes outside a table; the GPU reports it later, at an unrelated line."
    ),
    (_words((EventKind.DEVICE_ASSERT,)),),
    (
        say("Check labels and token ids against the sizes of head and embedding"),
        say("The assertion compares an index with a size."),
        {
            "pytorch": "assert y.min() >= 0 and y.max() < num_classes\nassert ids.max() < model.get_input_embeddings().num_embeddings\n# CUDA_LAUNCH_BLOCKING=1 shows the true line"
        },
    ),
)
killed = Cause(
    "killed",
    say("The process was killed from outside"),
    say("A signal ended it: the kernel's out-of-memory killer, the scheduler, a person. The process had no chance to say why."),
    (_words((EventKind.KILLED, EventKind.SIGNAL), fails=0.0), Probe(say("nothing in the log explains the end"), _silence, 2.2, -3.0)),
    remedies.only(
        say("Ask the kernel and the scheduler: dmesg, sacct, kubectl describe"),
        say("The log itself stops in the middle."),
        {"pytorch": "# dmesg -T | grep -i -E 'killed process|oom'\n# sacct -j JOB --format=State,ExitCode,MaxRSS"},
    ),
    (say("Compare the time of the last line with the scheduler's record of the job."),),
)
preempted = _cause(
    "preempted",
    say("The job was preempted"),
    say("The scheduler took the machine back for another job, and the process was ended with it."),
    (_words((EventKind.PREEMPTED,)),),
    (
        say("Save on SIGTERM and requeue"),
        say("The scheduler's message is in the log."),
        {"pytorch": "signal.signal(signal.SIGTERM, lambda *_: save_checkpoint())  # sbatch --requeue --signal=TERM@120"},
    ),
)
time_limit = _cause(
    "time-limit",
    say("The job reached its time limit"),
    say("The scheduler ends a job when its time is up."),
    (_words((EventKind.TIME_LIMIT,)),),
    (
        say("Save before the limit and chain jobs"),
        say("The scheduler's message is in the log."),
        {"lightning": "Trainer(max_time='00:11:50:00')", "pytorch": "# sbatch --signal=USR1@600, and save in the handler"},
    ),
)
stopped_by_user = _cause(
    "stopped-by-user",
    say("Somebody stopped it"),
    say("A keyboard interrupt or a cancelled job: a person ended it, on purpose or not."),
    (_words((EventKind.INTERRUPTED,)),),
    (say("Resume from the last checkpoint if it was not meant"), say("The log ends with a keyboard interrupt."), None),
)
disk_full = _cause(
    "disk-full",
    say("The disk is full, or a quota is"),
    say("A write failed; the file that was being written is cut."),
    (_words((EventKind.DISK_FULL,)),),
    (
        say("Free space, keep fewer checkpoints, write to a temporary name first"),
        say("The system's own message is in the log."),
        {"pytorch": "torch.save(state, tmp); os.replace(tmp, path)", "transformers": "args = TrainingArguments(..., save_total_limit=2)"},
    ),
)


def _told_to_end(e: Evidence, seen: Sighting) -> Reading | None:
    if not _ended_with_it(e):
        return None
    hit = e.events_of(EventKind.SIGNAL)[-1]
    return Reading(True, say("line {line}: {text}", line=hit.line, text=last_line(hit.text)) if hit.line else say("a signal to end"), hit.source)


data_loader_died = _cause(
    "data-loader-died",
    say("A data-loader worker died"),
    say("A worker process was killed (often by host memory or shared memory) or raised on a sample."),
    (_words((EventKind.DATA_LOADER,)), Probe(say("the whole process was told to end, and the worker ended with it"), _told_to_end, -4.0)),
    (
        say("Use fewer workers, more shared memory, or num_workers=0 to see the exception"),
        say("The loader's message is in the log."),
        {"pytorch": "DataLoader(train, num_workers=0)  # shows the true exception; in containers: --shm-size=8g"},
    ),
)
hardware_fault = _cause(
    "hardware-fault",
    say("The hardware failed"),
    say("ECC errors, a GPU that fell off the bus, a link that broke: no code causes these."),
    (_words((EventKind.HARDWARE,)),),
    (
        say("Exclude the node and resume from the last checkpoint"),
        say("The driver's message is in the log."),
        {"pytorch": "# sbatch --exclude=NODE; nvidia-smi -q -d ECC,PAGE_RETIREMENT"},
    ),
)

PROCESS_CAUSES: tuple[Cause, ...] = (
    out_of_memory,
    collective_failure,
    python_error,
    device_assert,
    killed,
    preempted,
    time_limit,
    stopped_by_user,
    disk_full,
    data_loader_died,
    hardware_fault,
)
