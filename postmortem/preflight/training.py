"""`diagnose_training` and `check_gradients`: a diagnosis of a training that has not begun."""

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from postmortem.capture.batches import arrays, constant_share, copies, first_rows, input_figures, label_figures, parts, sample_hashes, whole_numbers
from postmortem.checklist import checklist
from postmortem.checklist.healthy import HEALTHY
from postmortem.diagnose import examine, fold, next_time, root_finding
from postmortem.document import document
from postmortem.errors import UsageError
from postmortem.measure import measure
from postmortem.measure.exhibits import exhibits, marks
from postmortem.model.diagnosis import Diagnosis, Finding, FindingStatus, Verdict
from postmortem.model.evidence import Evidence
from postmortem.model.sentence import Sentence, say
from postmortem.preflight.as_run import as_run
from postmortem.preflight.calling import inputs_and_labels, on_device
from postmortem.preflight.copying import gradients_kept, private_copy, random_states_kept, unwrapped
from postmortem.preflight.facts import Facts
from postmortem.preflight.live_checks import live_checks
from postmortem.preflight.overview import overview
from postmortem.preflight.stepping import run as run_trial
from postmortem.preflight.trial import Trial, bytes_of, gradients_of, usual_rates
from postmortem.redact import redact
from postmortem.verdict import judge

STEPS = 100  # at most; an overfitted batch ends the trial
RATE = 1e-3  # of AdamW, where no optimizer is handed in …
HIGHER = 1e-2  # … and where that learns too little: small models need more in so few steps
MOST_BYTES = 1 << 30  # of a model whose weights are measured before and after
# Modes that one batch can show; of the others it can tell nothing.
DECIDABLE = frozenset(
    {
        "loss-not-decreasing",
        "exploding-gradients",
        "vanishing-gradients",
        "non-finite",
        "dead-units",
        "frozen-parameters",
        "data-fault",
        "crash",
    }
)
UNDECIDED = say("Not measured: one batch before training cannot tell.")


def diagnose_training(
    model: Any,
    train_loader: Any,
    criterion: Any = None,
    device: Any = None,
    optimizer: Any = None,
    *,
    steps: int = STEPS,
    autocast: Any = None,
    show: bool = True,
) -> Diagnosis:
    """Look at one batch, one forward and one backward pass, and try to overfit that batch, all on a copy. Nothing of the training changes.

    model : a `torch.nn.Module`. With `criterion` None it returns its loss (transformers), or has a `training_step` (Lightning).
    train_loader : gives batches: tuples whose last element are the labels, mappings, or inputs alone. Only the first is taken; an iterator
        loses it.
    criterion : called with outputs and labels (or the inputs, when there are none); returns a scalar, or several losses as a
        mapping or a sequence: they are summed, unless one is the sum of the others. Or a mapping of such, by the names of outputs and labels.
    device : where to run; None takes the model's.
    optimizer : the training's own. It is copied too; None tries with AdamW and says nothing of optimizers.
    autocast : a dtype for mixed precision.
    show : print the verdict, and under it what was looked at.
    Raises `UsageError` when the loader is empty, nothing gives a loss, or the model cannot be copied. What the model itself raises is a finding.
    """
    import torch

    model = unwrapped(model)
    if optimizer is not None and not hasattr(optimizer, "param_groups"):
        raise UsageError(f"the optimizer is a {type(optimizer).__name__} and not one with parameter groups; of several give the one to be tried")
    with random_states_kept(train_loader), torch.inference_mode(mode=False):
        batch = _first_batch(train_loader)
        with torch.enable_grad(), gradients_kept(model):
            trial, facts, tried, held, own = _try(model, batch, criterion, device, optimizer, steps=steps, autocast=autocast)
            for rate in (RATE, HIGHER) if own else (HIGHER,):
                if trial.error is None and trial.losses and trial.steps and not facts.learns and not facts.rescuable:
                    _, again, _, _, _ = _try(model, batch, criterion, device, None, steps=steps, autocast=autocast, rate=rate)
                    facts = replace(facts, rescued=again.fell, rescued_at=rate)
        settings = _settings(criterion, facts, optimizer, autocast)
        run = as_run(trial, facts.figures, settings, held, tried, own_optimizer=own)
        diagnosis = _judged(run, facts, overview(model, facts, batch, own_optimizer=own))
    if show:
        _print(diagnosis)
    return diagnosis


def check_gradients(model: Any, *, scale: float = 1.0, show: bool = True) -> Diagnosis:
    """Look at the gradients that a `backward()` has left in `.grad`: missing, vanishing, exploding, not finite. Changes nothing.

    scale : what the loss was multiplied by, `scaler.get_scale()` before `scaler.unscale_(optimizer)`.
    Raises `UsageError` where no parameter has a gradient: before `backward()`, after `zero_grad()`.
    """
    model = unwrapped(model)
    trial = Trial(gradients=gradients_of(model, None, scale))
    if trial.gradients and all(g.missing for g in trial.gradients):
        raise UsageError("no parameter has a gradient: call check_gradients after backward() and before zero_grad()")
    named = list(model.named_parameters())
    facts = Facts(trial, {}, None, None, sum(not p.requires_grad for _, p in named), len(named), None, 0, token_inputs=True)
    run = as_run(trial, {}, {}, None, model, own_optimizer=False)
    diagnosis = _judged(run, facts, overview(model, facts, None, own_optimizer=False))
    if show:
        _print(diagnosis)
    return diagnosis


def _first_batch(loader: Any) -> Any:
    try:
        batch = next(iter(loader))
    except StopIteration:
        raise UsageError("the loader gives no batch") from None
    first = next(arrays(parts(batch)[0]), None)
    if first is not None and len(first.shape) and not first.shape[0]:
        raise UsageError("the loader's first batch holds no samples")
    return batch


def _try(
    model: Any, batch: Any, criterion: Any, device: Any, optimizer: Any, *, steps: int, autocast: Any, rate: float = RATE
) -> tuple[Trial, Facts, Any, Any, bool]:
    """Copy, measure the batch, run the trial. (trial, facts, copied model, its optimizer, whether that is the caller's)."""
    import torch

    first = next(model.parameters(), None)
    where = torch.device(device) if device is not None else first.device if first is not None else torch.device("cpu")
    tried, judged, held = private_copy(model, criterion, optimizer, where)
    own = held is not None
    trainable = [p for p in tried.parameters() if p.requires_grad]
    used, raised = None, None
    if held is None:
        for module in tried.modules():
            if getattr(module, "sparse", False) is True:  # an embedding whose gradients AdamW would refuse
                module.sparse = False
        held = torch.optim.AdamW(trainable or [torch.zeros(1, requires_grad=True)], lr=rate)
    else:
        _move_state(held, where)
        used, raised = usual_rates(held)
    kept = on_device(batch, where)
    figures = _batch_figures(batch)
    trial, classes, wrong = run_trial(tried, kept, judged, held, steps=steps, autocast=autocast, keep_bytes=bytes_of(tried) <= MOST_BYTES)
    trial.learning_rate, trial.raised_from = used, raised
    _, histogram = label_figures(inputs_and_labels(batch)[1], None)
    figures["labels_out_of_range"] = float(wrong)
    if not histogram:
        figures.pop("largest_class_share", None)
    names = {id(p): n for n, p in tried.named_parameters()}
    inside = {id(p) for g in held.param_groups for p in g["params"]}
    absent = tuple(n for n, p in tried.named_parameters() if p.requires_grad and id(p) not in inside) if own else None
    foreign = len([i for i in inside if i not in names]) if own else 0
    frozen = sum(not p.requires_grad for p in tried.parameters())
    facts = Facts(
        trial,
        figures,
        math.log(classes) if classes else None,
        classes,
        frozen,
        len(names),
        absent,
        foreign,
        token_inputs=whole_numbers(parts(batch)[0]),
    )
    return trial, facts, tried, held, own


def _move_state(optimizer: Any, device: Any) -> None:
    import torch

    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            if isinstance(value, torch.Tensor) and value.dim() and parameter.device == device:
                state[key] = value.to(device)


def _batch_figures(batch: Any) -> dict[str, float]:
    inputs, labels = parts(batch)
    figures = input_figures(inputs)
    told, _ = label_figures(labels, None)
    lost = figures.pop("non_finite", 0.0) + told.pop("label_non_finite", 0.0)
    out = {"non_finite": lost, **{f"train_{k}": v for k, v in figures.items() if math.isfinite(v)}, **told}
    rows = first_rows(inputs)
    hashes = sample_hashes(rows)
    if len(hashes) > 1:
        out["copies"] = copies(hashes)
    constant = constant_share(rows)
    if constant is not None and len(hashes) > 1:
        out["constant_samples"] = constant
    if whole_numbers(inputs):
        out["indices"] = 1.0
    return out


def _settings(criterion: Any, facts: Facts, optimizer: Any, autocast: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if criterion is not None:
        out["loss"] = getattr(criterion, "__name__", type(criterion).__name__)
    if facts.classes:
        out["num_classes"] = facts.classes
    if optimizer is not None:
        first = optimizer.param_groups[0] if optimizer.param_groups else {}
        out["optimizer"] = type(optimizer).__name__
        out["lr"] = facts.trial.learning_rate
        out |= {k: first[k] for k in ("weight_decay", "momentum") if isinstance(first.get(k), int | float)}
    if autocast is not None:
        out["precision"] = str(autocast).removeprefix("torch.")
    return out


def _judged(run: Any, facts: Facts, notes: Sequence[Sentence]) -> Diagnosis:
    run = redact(run)
    evidence, assumed = measure(run)
    evidence = _with_gradients(evidence, facts)
    checks = {c.id: c for c in checklist()}
    live = live_checks(facts, checks)
    found = [_one(examine(live.get(mode, check), evidence), mode) for mode, check in checks.items()]
    seen = {
        f.mode for f in found if f.mode in live and f.status == FindingStatus.PRESENT
    }  # what was seen directly is no consequence of what was inferred
    findings = fold(found, [replace(c, consequences=tuple(m for m in c.consequences if m not in seen or c.id in seen)) for c in checklist()])
    verdict = _said(judge(evidence, findings, HEALTHY, 0), facts, root_finding(findings, 0))
    onset = verdict.onset
    shown = exhibits(run, evidence, marks(evidence, onset.step if onset else None, onset.visible_from_step if onset else None))
    wanted = tuple(n for n in next_time(evidence, checklist(), findings) if set(n.would_decide) & DECIDABLE)
    return document(run, evidence, verdict, findings, wanted, shown, (*assumed, *notes), redacted=True)


def _said(verdict: Verdict, facts: Facts, root: Finding | None) -> Verdict:
    """A verdict without a fault, in words that fit one batch."""
    losses = facts.trial.losses
    if verdict.mode == "healthy" and verdict.severity is None and losses:
        summary = say(
            "Nothing wrong was found on one batch: {n} steps took its loss from {first:.4g} to {last:.4g}. "
            "Whether labels are right, one batch cannot tell.",
            n=facts.trial.steps,
            first=losses[0],
            last=losses[-1],
        )
        return replace(verdict, summary=summary)
    if verdict.mode == "inconclusive" and root is not None:
        return replace(verdict, summary=root.summary)
    if verdict.mode == "inconclusive" and not losses and facts.trial.gradients:
        return replace(verdict, summary=say("No gradient is missing, vanishing, exploding or not finite; gradients alone tell no more than that."))
    return verdict


def _one(finding: Finding, mode: str) -> Finding:
    if mode in DECIDABLE:
        return finding
    return Finding(finding.mode, finding.title, FindingStatus.NOT_MEASURED, None, None, finding.attempt, UNDECIDED)


def _with_gradients(evidence: Evidence, facts: Facts) -> Evidence:
    """The evidence with the true gradients of the first backward in place of what an optimizer would remember."""
    rms = {g.name: g.rms for g in facts.trial.gradients if not g.missing and not g.non_finite and g.rms > 0}
    layers = [n for n in evidence.model.weight_layers or tuple(g.name for g in facts.trial.gradients if g.name.endswith("weight")) if n in rms]
    if len(layers) < 2:
        return evidence
    ratio = math.log10(rms[layers[0]] / rms[layers[-1]])
    return replace(evidence, weights=replace(evidence.weights, gradient_depth_ratio=ratio, gradient_source="saved-grad"))


def _print(diagnosis: Diagnosis) -> None:
    from rich.console import Console

    from postmortem.render.terminal import render_terminal

    console = Console(file=sys.stdout)
    render_terminal(diagnosis, console)
    for sentence in diagnosis.run.assumed:
        console.print(f"• {sentence}", markup=False, highlight=False)
