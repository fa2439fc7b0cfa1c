"""Diagnoses made by hand: what the report must show, without reading a run."""

import dataclasses
import math
import random
from types import MappingProxyType
from typing import Any

from postmortem.model.diagnosis import (
    AttemptNote,
    CauseVerdict,
    Change,
    CheckpointNote,
    Clue,
    Cost,
    Diagnosis,
    EventNote,
    Finding,
    FindingStatus,
    Fix,
    ModelNote,
    NextTime,
    Onset,
    RestartFrom,
    RunNote,
    SeriesNote,
    SettingNote,
    Severity,
    SourceNote,
    Standing,
    Steps,
    Tool,
    Verdict,
)
from postmortem.model.exhibits import (
    CurveExhibit,
    DepthExhibit,
    DistributionExhibit,
    Exhibits,
    HeatmapExhibit,
    Level,
    Mark,
    TensorRow,
)
from postmortem.model.sentence import Sentence, say

TOOL = Tool("postmortem", "0.1.0")
ALL_MODES = (
    ("loss-not-decreasing", "Loss does not decrease"),
    ("exploding-gradients", "Exploding gradients"),
    ("vanishing-gradients", "Vanishing gradients"),
    ("overfitting", "Overfitting"),
    ("underfitting", "Underfitting"),
    ("non-finite", "NaN or Inf without growth before it"),
    ("loss-spike", "Loss spikes"),
    ("oscillating-loss", "Oscillating loss"),
    ("dead-units", "Dead units"),
    ("frozen-parameters", "Frozen parameters"),
    ("schedule-fault", "Faulty learning-rate schedule"),
    ("resume-fault", "Faulty resume"),
    ("validation-fault", "Validation does not fit training"),
    ("data-fault", "Broken data"),
    ("precision-fault", "Numerical precision"),
    ("weight-collapse", "Collapsing weights"),
    ("crash", "The process died"),
    ("corrupt-checkpoint", "Corrupt checkpoint"),
    ("stalled", "No progress in time"),
)
LAYERS = tuple(f"encoder.layers.{i}.{part}.weight" for i in range(6) for part in ("attn.qkv", "mlp.fc1"))
STEPS = tuple(float(s) for s in range(0, 1000, 5))
LR_CODE = """optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
...
loss.backward()
torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
optimizer.step()"""
TRACEBACK = """Traceback (most recent call last):
  File "train.py", line 212, in <module>
    main(args)
  File "train.py", line 188, in main
    raise FloatingPointError(f"loss is {loss.item()} at step {step}")
FloatingPointError: loss is nan at step 415"""


def absent(mode: str, title: str, why: Sentence | None = None) -> Finding:
    clues = (
        Clue(say("the jump is above {limit:.3g}", limit=12.0), False, -3.48, say("{value:.4g}", value=1.5), "logs/metrics.csv"),
        Clue(say("the share of silent units is above {limit:.0%}", limit=0.9), None, 0.0, say("not measured")),
    )
    return Finding(mode, say(title), FindingStatus.ABSENT, None, 0.03, 0, why or say("Nothing in the curves speaks for it."), clues=clues)


def not_measured(mode: str, title: str, log: str) -> Finding:
    return Finding(mode, say(title), FindingStatus.NOT_MEASURED, None, None, 0, say("Not measured: log {log}.", log=log))


def _fill(found: dict[str, Finding]) -> tuple[Finding, ...]:
    rest = {
        "dead-units": not_measured("dead-units", "Dead units", "activation statistics"),
        "data-fault": not_measured("data-fault", "Broken data", "statistics of a batch"),
        "stalled": not_measured("stalled", "No progress in time", "wall-clock times"),
    } | found
    return tuple(rest.get(mode) or absent(mode, title) for mode, title in ALL_MODES)


def _curves() -> tuple[CurveExhibit, ...]:
    rng = random.Random(0)

    def loss(s: float) -> float:
        if s >= 415:
            return math.nan
        if s >= 310:
            return 0.6 * math.exp((s - 310) / 7)
        return 0.45 + 2.0 * math.exp(-s / 80) + rng.gauss(0, 0.03)

    def norm(s: float) -> float:
        if s >= 415:
            return math.nan
        if s > 400:
            return math.inf
        return (1.4 + rng.random()) * (math.exp((s - 290) / 8) if s >= 290 else 1.0)

    train = tuple(loss(s) for s in STEPS)
    val_steps = tuple(float(s) for s in range(50, 1000, 50))
    val = tuple(math.nan if s >= 415 else 0.52 + 2.0 * math.exp(-s / 80) + (1e3 if s > 340 else 0) for s in val_steps)
    acc = tuple(0.1 if s > 330 else 0.1 + 0.75 * (1 - math.exp(-s / 80)) for s in val_steps)
    lr = tuple(0.1 * min(1.0, (s + 1) / 300) for s in STEPS)
    return (
        CurveExhibit("train/loss", STEPS, train, 1000, smooth=tuple(0.45 + 2.0 * math.exp(-s / 80) if s < 310 else math.nan for s in STEPS)),
        CurveExhibit("val/loss", val_steps, val, len(val)),
        CurveExhibit("val/accuracy", val_steps, acc, len(acc)),
        CurveExhibit("lr", STEPS, lr, 1000),
        CurveExhibit("grad_norm", STEPS, tuple(norm(s) for s in STEPS), 1000),
        CurveExhibit("throughput", STEPS, tuple(512 + rng.gauss(0, 8) for _ in STEPS), 1000),
        CurveExhibit("other/aux/kl", STEPS, tuple(math.exp(-s / 200) for s in STEPS), 1000),
    )


def _histogram(center: float, spread: float) -> tuple[tuple[float, ...], tuple[int, ...]]:
    edges = tuple(-0.5 + i * 1.0 / 60 for i in range(61))
    counts = tuple(int(40000 * math.exp(-(((edges[i] + edges[i + 1]) / 2 - center) ** 2) / (2 * spread**2))) for i in range(60))
    return edges, counts


def _exhibits() -> Exhibits:
    checkpoints = ("100", "200", "300", "400")
    rms = tuple(tuple(0.02 * (1 + 0.1 * j) * (1 + 0.02 * i) * (80.0 if j == 3 else 1.0) for j in range(4)) for i in range(len(LAYERS)))
    rms = (*rms[:4], (0.02, 0.021, None, math.nan), *rms[5:])
    change = tuple(tuple(None if j == 0 else 0.01 * (i + 1) * (50.0 if j == 3 else 1.0) for j in range(4)) for i in range(len(LAYERS)))
    bad = tuple(tuple(float(j == 3 and i in (4, 5)) * 128 for j in range(4)) for i in range(len(LAYERS)))
    distributions = []
    for i, layer in enumerate(LAYERS):
        for checkpoint, factor in (("100", 1.0), ("300", 1.6)):
            edges, counts = _histogram(0.0, (0.03 + 0.006 * i) * factor)
            distributions.append(DistributionExhibit(layer, checkpoint, "weight", edges, counts))
    depths = tuple(
        DepthExhibit("gradient-rms", "Adam's exp_avg_sq", LAYERS, c, tuple(1e-4 * 1.6**i * k for i in range(len(LAYERS))))
        for c, k in (("100", 1.0), ("300", 4.0))
    )
    tensors = tuple(
        TensorRow(layer, "float32", (512, 512), "weight", 1e-5 * i, 0.02 + 0.001 * i, -0.1, 0.11, 0.0, 3 if i == 4 else 0, 0.01 * i, 1e-4 * 1.6**i)
        for i, layer in enumerate(LAYERS)
    )
    marks = (
        Mark(290, "visible", say("the log already shows it")),
        Mark(310, "onset", say("loss starts to grow")),
        Mark(150, "spike", say("a short spike")),
        *(Mark(float(s), "checkpoint", say("checkpoint")) for s in (100, 200, 300)),
        Mark(400, "bad-checkpoint", say("checkpoint with NaN")),
        Mark(300, "best-validation", say("best validation loss")),
        Mark(415, "crash", say("the process died")),
    )
    return Exhibits(
        curves=_curves(),
        marks=marks,
        levels=(Level("train/loss", 2.303, say("chance: ln 10 = 2.303")), Level("val/accuracy", 0.1, say("chance: 10%"))),
        heatmaps=(
            HeatmapExhibit("rms", LAYERS, checkpoints, rms),
            HeatmapExhibit("relative-change", LAYERS, checkpoints, change),
            HeatmapExhibit("non-finite", LAYERS, checkpoints, bad),
        ),
        distributions=tuple(distributions),
        depths=depths,
        tensors=tensors,
    )


def _run(**changes: Any) -> RunNote:
    note = RunNote(
        name="exp1",
        family="classifier",
        framework="pytorch",
        outcome="crashed",
        axis="step",
        steps=Steps(995.0, 5000.0),
        attempts=(AttemptNote(0.0, 995.0, None),),
        sources=(
            SourceNote("train.log", "text-log", "read", None, 48211),
            SourceNote("config.yaml", "config", "read", None, 812),
            SourceNote("ckpt/step_400.pt", "torch-zip", "partial", say("{n} of {m} tensors hold NaN", n=2, m=12), 9_437_184),
            SourceNote("notes.docx", "", "skipped", say("no reader knows this format"), 20480),
            SourceNote("old.pkl", "pickle", "failed", say("refused: it names {what}", what="os.system"), 99, refused=True),
        ),
        hyperparameters=MappingProxyType({"learning_rate": 0.1, "batch_size": 128, "optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.0}),
        settings=(
            SettingNote("learning_rate", "optim.lr", 0.1, "config.yaml"),
            SettingNote("batch_size", "data.batch_size", 128, "config.yaml"),
            SettingNote("optimizer", "optim.name", "sgd", "config.yaml"),
            SettingNote("", "data.root", "~/data/cifar10", "config.yaml"),
            SettingNote("", "trainer.amp", False, "config.yaml"),
        ),
        model=ModelNote(3_214_090, 3_214_090, "transformer encoder, 6 blocks", "head.weight", 10),
        series=tuple(
            SeriesNote(c.name, c.name.split("/")[-1], "train.log", c.points, c.steps[0], c.steps[-1], c.values[0], c.values[-1]) for c in _curves()
        ),
        checkpoints=(
            *(CheckpointNote(f"ckpt/step_{s}.pt", s, s / 100, "torch-zip", "read", 12, 9_437_184, None, 0) for s in (100.0, 200.0, 300.0)),
            CheckpointNote("ckpt/step_400.pt", 400.0, 4.0, "torch-zip", "read", 12, 9_437_184, None, 2),
        ),
        events=(
            EventNote("warning", "UserWarning: lr_scheduler.step() called before optimizer.step()", "train.log", 12, None),
            EventNote("exception", TRACEBACK, "train.log", 841, 415.0),
        ),
        assumed=(say("The model is a classifier: {why}.", why="the log has accuracy and the head has 10 outputs"),),
    )
    return dataclasses.replace(note, **changes)


def exploding() -> Diagnosis:
    """A run that failed, with everything that a report can show."""
    lr_clue = Clue(
        say("the learning rate was at its highest when it began"),
        True,
        2.1,
        say("lr was {lr:.3g} at step {step}, {share:.0%} of its peak", lr=0.1, step=310, share=1.0),
        "train.log",
    )
    norm_clue = Clue(
        say("the gradient norm grew before the loss"),
        True,
        2.6,
        say("from {a:.3g} to {b:.3g} within {n} steps", a=1.9, b=1.2e6, n=110),
        "train.log",
    )
    clip_clue = Clue(
        say("no gradient clipping is configured"), True, 1.2, say("{file} names none of {n} known keys", file="config.yaml", n=9), "config.yaml"
    )
    fix = Fix(
        say("Lower the learning rate from {a:g} to {b:g} and clip gradients at {c:g}", a=0.1, b=0.01, c=1.0),
        say("Before step {step} the gradient norm was {n:.2g} at the median; a norm of 1 touches few of those steps.", step=290, n=1.9),
        (
            Change("learning_rate", "optim.lr", "config.yaml", 0.1, 0.01),
            Change("gradient_clip_norm", "optim.clip_norm", "config.yaml", None, 1.0),
        ),
        LR_CODE,
    )
    causes = (
        CauseVerdict(
            "learning-rate-too-high",
            say("Learning rate too high"),
            say("Each update overshoots, the gradient grows with the distance, and the next update is larger still."),
            Standing.LIKELY,
            0.90,
            -1.0,
            (
                lr_clue,
                Clue(say("the loss fell before it rose"), True, 1.1, say("from {a} to {b}", a=2.45, b=0.47), "train.log"),
                Clue(say("a lower rate trained stably"), None, 0.0, say("log {what}", what="a second run at a lower rate")),
            ),
            (fix,),
        ),
        CauseVerdict(
            "no-gradient-clipping",
            say("No gradient clipping"),
            say("Nothing bounded the size of a single update."),
            Standing.POSSIBLE,
            0.55,
            -1.0,
            (clip_clue,),
            (Fix(say("Clip the gradient norm at {c:g}", c=1.0), say("It bounds a single update."), (fix.changes[1],)),),
        ),
        CauseVerdict(
            "no-warmup",
            say("No warm-up"),
            say("The first updates met a model that was not yet in a flat region."),
            Standing.RULED_OUT,
            0.02,
            -1.5,
            (Clue(say("the learning rate started at its peak"), False, -2.4, say("it rose over {n} steps", n=300), "train.log"),),
        ),
        CauseVerdict(
            "accumulating-gradients",
            say("Gradients are never zeroed"),
            say("Old gradients are added to new ones."),
            Standing.NOT_MEASURED,
            0.1,
            -2.0,
        ),
    )
    main = Finding(
        "exploding-gradients",
        say("Exploding gradients"),
        FindingStatus.PRESENT,
        Severity.FATAL,
        0.97,
        0,
        say("Train loss fell to {best:.3g} by step {step}, then grew without bound and was NaN from step {nan}.", best=0.47, step=300, nan=415),
        None,
        Onset(310.0, 3.1, 290.0),
        -1.2,
        (
            norm_clue,
            Clue(say("the loss itself grew before it was NaN"), True, 2.1, say("{n:.3g} times within {k} steps", n=2.4e6, k=105), "train.log"),
        ),
        causes,
        causes[0].fixes,
        (say("Plot the gradient norm per layer from step {step} on.", step=280),),
        ("train/loss", "grad_norm"),
    )
    crash = Finding(
        "crash",
        say("The process died"),
        FindingStatus.PRESENT,
        Severity.FATAL,
        0.99,
        0,
        say("The script raised {what} at step {step}.", what="FloatingPointError", step=415),
        "exploding-gradients",
        Onset(415.0, 4.15),
        1.0,
        (
            Clue(
                say("the log ends in a traceback"),
                True,
                3.5,
                say("line {line}: {what}", line=841, what="FloatingPointError: loss is nan"),
                "train.log",
            ),
        ),
    )
    schedule = Finding(
        "schedule-fault",
        say("Faulty learning-rate schedule"),
        FindingStatus.CRASHED,
        None,
        None,
        0,
        say("The check itself failed: {error}", error="ZeroDivisionError: float division by zero"),
    )
    verdict = Verdict(
        "exploding-gradients",
        say("Exploding gradients"),
        "learning-rate-too-high",
        say("Learning rate too high"),
        Severity.FATAL,
        0.97,
        main.onset,
        main.summary,
        "ckpt/step_300.pt",
        RestartFrom(
            "ckpt/step_300.pt",
            300.0,
            say("The last checkpoint before step {step}; all {n} tensors are finite.", step=310, n=12),
            'checkpoint = torch.load("ckpt/step_300.pt", weights_only=True)\nmodel.load_state_dict(checkpoint["model"])',
        ),
        Cost(690.0, 0.69, 1.9, 15.2),
        (norm_clue, lr_clue, clip_clue),
        (fix,),
        0.90,
    )
    next_time = (
        NextTime(
            "grad_norm per layer",
            say("log the norm of every layer's gradient each {n} steps", n=50),
            ("bad-initialization", "learning-rate-too-high"),
            "recorder = postmortem.Recorder(model)",
        ),
        NextTime("activation statistics", say("log the share of zeros after each activation"), ("dead-units",)),
    )
    return Diagnosis(
        _run(),
        verdict,
        _fill({"exploding-gradients": main, "crash": crash, "schedule-fault": schedule}),
        next_time,
        _exhibits(),
        TOOL,
        chance=MappingProxyType({"loss": 2.303, "accuracy": 0.1, "classes": 10}),
    )


def healthy() -> Diagnosis:
    """A run that finished; one minor thing is worth knowing."""
    rng = random.Random(1)
    steps = tuple(float(s) for s in range(1, 31))
    curves = (
        CurveExhibit("train/loss", steps, tuple(0.3 + 2 * math.exp(-s / 6) + rng.gauss(0, 0.01) for s in steps), 30),
        CurveExhibit("val/loss", steps, tuple(0.4 + 2 * math.exp(-s / 6) + rng.gauss(0, 0.02) for s in steps), 30),
        CurveExhibit("train/accuracy", steps, tuple(0.92 - 0.8 * math.exp(-s / 6) for s in steps), 30),
        CurveExhibit("val/accuracy", steps, tuple(0.89 - 0.8 * math.exp(-s / 6) for s in steps), 30),
    )
    minor = Finding(
        "loss-spike",
        say("Loss spikes"),
        FindingStatus.PRESENT,
        Severity.MINOR,
        0.8,
        0,
        say("{n} spike, recovered within {k} steps.", n=1, k=4),
        None,
        Onset(12.0, 12.0),
        0.4,
        (Clue(say("the loss was back at its level soon"), True, 1.0, say("after {k} steps", k=4), "metrics.csv"),),
    )
    verdict = Verdict(
        "healthy",
        say("Healthy"),
        None,
        None,
        Severity.MINOR,
        0.93,
        None,
        say("Train and validation loss fell together for {n} epochs; nothing serious was found.", n=30),
    )
    run = _run(
        name="baseline",
        outcome="finished",
        axis="epoch",
        steps=Steps(30.0, 30.0),
        attempts=(AttemptNote(1.0, 30.0, None),),
        checkpoints=(),
        events=(),
        sources=(SourceNote("metrics.csv", "csv", "read", None, 2048),),
        series=tuple(SeriesNote(c.name, c.name, "metrics.csv", 30, 1.0, 30.0, c.values[0], c.values[-1]) for c in curves),
        settings=(),
        hyperparameters=MappingProxyType({}),
        model=ModelNote(None, None, "", None, None),
        assumed=(),
    )
    return Diagnosis(run, verdict, _fill({"loss-spike": minor}), (), Exhibits(curves=curves), TOOL)


def inconclusive() -> Diagnosis:
    """Next to nothing was logged."""
    curve = CurveExhibit("train/loss", (1.0, 2.0, 3.0), (0.71, 0.7, 0.69), 3)
    verdict = Verdict(
        "inconclusive",
        say("Inconclusive"),
        None,
        None,
        None,
        None,
        None,
        say("{n} points of one curve do not tell whether this run is well.", n=3),
    )
    run = _run(
        name="short",
        outcome="unknown",
        framework="",
        family="",
        axis="record",
        steps=Steps(None, None),
        attempts=(AttemptNote(1.0, 3.0, None),),
        checkpoints=(),
        events=(),
        sources=(SourceNote("log.txt", "text-log", "read", None, 120),),
        series=(SeriesNote("train/loss", "loss", "log.txt", 3, 1.0, 3.0, 0.71, 0.69),),
        settings=(),
        hyperparameters=MappingProxyType({}),
        model=ModelNote(None, None, "", None, None),
        assumed=(),
    )
    findings = tuple(not_measured(mode, title, "val/loss") for mode, title in ALL_MODES)
    next_time = (
        NextTime("val/loss", say("evaluate on held-out data each epoch"), ("overfitting", "underfitting")),
        NextTime("lr", say("write the learning rate beside the loss"), ("schedule-fault",)),
    )
    return Diagnosis(run, verdict, findings, next_time, Exhibits(curves=(curve,)), TOOL)


def crashed() -> Diagnosis:
    """Out of memory in the second attempt; no curve, no checkpoint."""
    clue = Clue(
        say("the log ends with an out-of-memory error"), True, 4.0, say("line {line}: tried to allocate {n:.2f} GiB", line=93, n=2.5), "slurm-123.out"
    )
    cause = CauseVerdict(
        "out-of-memory",
        say("Out of memory on the device"),
        say("A step needed more memory than the device had left."),
        Standing.CONFIRMED,
        0.99,
        0.0,
        (clue,),
    )
    finding = Finding(
        "crash",
        say("The process died"),
        FindingStatus.PRESENT,
        Severity.FATAL,
        0.99,
        1,
        say("Out of memory at step {step}.", step=57),
        None,
        Onset(57.0),
        1.0,
        (clue,),
        (cause,),
        (
            Fix(
                say("Halve the batch and accumulate over {n} steps", n=2),
                say("It halves the activations."),
                (Change("batch_size", "--batch-size", "", 64, 32),),
            ),
        ),
    )
    verdict = Verdict(
        "crash",
        finding.title,
        "out-of-memory",
        cause.title,
        Severity.FATAL,
        0.99,
        finding.onset,
        finding.summary,
        cost=Cost(None, None, None, None),
        decided_by=(clue,),
        fixes=finding.fixes,
        cause_confidence=0.99,
    )
    run = _run(
        name="job-123",
        attempts=(AttemptNote(0.0, 40.0, None), AttemptNote(30.0, 57.0, say("resumed from step {step}", step=30))),
        checkpoints=(),
        series=(),
        redacted=False,
    )
    earlier = dataclasses.replace(absent("loss-spike", "Loss spikes"), status=FindingStatus.PRESENT, severity=Severity.MINOR, attempt=0)
    findings = (*(dataclasses.replace(f, attempt=1) for f in _fill({"crash": finding})), earlier)
    return Diagnosis(run, verdict, findings, (), Exhibits(), TOOL)


def large(layers: int = 1000, checkpoints: int = 20, curves: int = 20, points: int = 2000) -> Diagnosis:
    """As large as a document gets."""
    rng = random.Random(2)
    names = tuple(f"model.layers.{i // 8}.block.{i % 8}.weight" for i in range(layers))
    columns = tuple(str(1000 * (j + 1)) for j in range(checkpoints))
    heat = tuple(
        HeatmapExhibit(q, names, columns, tuple(tuple(10 ** rng.uniform(-6, 0) for _ in columns) for _ in names))
        for q in ("rms", "std", "relative-change", "zero-share", "gradient-rms")
    )
    steps = tuple(float(i) for i in range(points))
    many = tuple(CurveExhibit(f"other/metric_{k}", steps, tuple(math.exp(rng.gauss(0, 1)) for _ in steps), points) for k in range(curves - 2))
    main = tuple(CurveExhibit(n, steps, tuple(math.exp(rng.gauss(0, 1)) for _ in steps), points) for n in ("train/loss", "grad_norm"))
    edges = tuple(i / 50 - 1 for i in range(101))
    dist = tuple(
        DistributionExhibit(n, c, "weight", edges, tuple(rng.randrange(1000) for _ in range(100))) for n in names for c in (columns[0], columns[-1])
    )
    depths = tuple(DepthExhibit("gradient-rms", "exp_avg_sq", names, c, tuple(10 ** rng.uniform(-6, 0) for _ in names)) for c in columns)
    rows = tuple(TensorRow(n, "bfloat16", (4096, 4096), "weight", 0.0, 0.02, -0.3, 0.3, 0.0, 0, 0.01, 1e-5) for n in names)
    base = exploding()
    return dataclasses.replace(base, exhibits=Exhibits((*main, *many), base.exhibits.marks, (), heat, dist, depths, rows))


def plant(value: Any, evil: str) -> Any:
    """The same document with `evil` in every text that can come from an input: strings and the values of sentences."""
    if isinstance(value, Sentence):
        return Sentence(
            value.template + " {planted}",
            MappingProxyType({**{k: evil if isinstance(v, str) else v for k, v in value.values.items()}, "planted": evil}),
        )
    if isinstance(value, str) and type(value) is str:
        return f"{value}{evil}"
    if isinstance(value, tuple):
        return tuple(plant(v, evil) for v in value)
    if isinstance(value, MappingProxyType):
        return MappingProxyType({plant(k, evil): plant(v, evil) for k, v in value.items()})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(value, **{f.name: plant(getattr(value, f.name), evil) for f in dataclasses.fields(value) if f.name != "schema"})
    return value


SAMPLES = {"exploding": exploding, "healthy": healthy, "inconclusive": inconclusive, "crashed": crashed}
