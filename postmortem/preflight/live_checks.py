"""Failure modes that one batch decides better than any log: the same ids, probes that look at the live model."""

from dataclasses import replace
from statistics import median

from postmortem.check import Cause, Check, Cleared, Evidence, Reading, Severity, Sighting, probe, say
from postmortem.checklist.causes.bad_initialization import bad_initialization
from postmortem.checklist.causes.constant_inputs import constant_inputs
from postmortem.checklist.causes.detached_graph import detached_graph
from postmortem.checklist.causes.duplicate_samples import duplicate_samples
from postmortem.checklist.causes.learning_rate_too_high import learning_rate_too_high
from postmortem.checklist.causes.learning_rate_too_low import learning_rate_too_low
from postmortem.checklist.causes.missing_from_optimizer import missing_from_optimizer
from postmortem.checklist.causes.non_finite_inputs import non_finite_inputs
from postmortem.checklist.causes.out_of_range_labels import out_of_range_labels
from postmortem.checklist.causes.preprocessing import preprocessing
from postmortem.checklist.causes.requires_grad_off import requires_grad_off
from postmortem.checklist.causes.saturating_activations import saturating_activations
from postmortem.checklist.causes.wrong_loss import wrong_loss
from postmortem.checklist.causes.zero_learning_rate import zero_learning_rate
from postmortem.checklist.levels import FEWEST_SUMMED, SUMMED
from postmortem.checklist.limits import asked, is_above, share_is_above
from postmortem.model.sentence import Sentence
from postmortem.preflight.as_run import HERE
from postmortem.preflight.facts import Facts

DEAD = 0.9  # share of a layer's units that are silent for the whole batch; fresh networks stay below 0.3
SATURATED = 0.8  # share of a layer's outputs
ABOVE_CHANCE = 3.0  # times ln C, before any update
UNMOVED = 0.998  # of the first loss, after all steps of the trial: the rate does nothing at all
FAR_LEAP = 10.0  # times the first loss, of a trial that overfitted its batch all the same; usual rates stay below 1.5
LEAPT = 2.0  # times the first loss, at the highest of the trial
SMALL = 1e-7  # RMS of a gradient that is as good as none
LOUD = 1e-4  # RMS of another one beside it
LARGE = 1e3  # RMS of a gradient over the RMS of its weights
DUPLICATES = 0.5  # share of the batch


def _cause(cause: Cause, claim: Sentence, detail: Sentence, holds: float = 4.0) -> tuple[Cause, float]:
    """The checklist's cause with the one probe that the live model answers."""

    @probe(claim, holds=holds)
    def seen_live(e: Evidence, seen: Sighting) -> Reading:  # noqa: ARG001
        return Reading(True, detail, HERE)

    return replace(cause, probes=(seen_live,)), -1.0


def _check(base: Check, seen: Sighting | Cleared, causes: tuple[tuple[Cause, float], ...] = (), prior: float = 3.5) -> Check:
    return replace(base, needs=(), probes=(), prior=prior, detect=lambda e: seen, causes=causes)  # noqa: ARG005


def _sighting(severity: Severity, summary: Sentence, show: tuple[str, ...] = ()) -> Sighting:
    return Sighting(severity, summary, 0.0, 0.0, show, HERE)


def live_checks(facts: Facts, base: dict[str, Check]) -> dict[str, Check]:
    """Checks by mode; a mode that is not among them is the checklist's. `base` are the checklist's own."""
    out = {
        "data-fault": _data(facts, base["data-fault"]),
        "frozen-parameters": _frozen(facts, base["frozen-parameters"]),
        "dead-units": _dead(facts, base["dead-units"]),
    }
    for mode, make in (
        ("non-finite", _non_finite),
        ("vanishing-gradients", _vanishing),
        ("exploding-gradients", _exploding),
        ("loss-not-decreasing", _stuck),
    ):
        found = make(facts, base[mode])
        if found is not None:
            out[mode] = found
    return out


def _data(f: Facts, base: Check) -> Check:
    d = f.figures
    mean, std, low, high = (d.get(f"train_{k}", 0.0) for k in ("mean", "std", "min", "max"))
    lost, wrong = d.get("non_finite", 0.0), d.get("labels_out_of_range", 0.0)
    if lost:
        detail = say("{n:g} of its values are NaN or infinite", n=lost)
        seen = _sighting(Severity.FATAL, say("The batch holds {n:g} non-finite values.", n=lost), ("data/non_finite",))
        return _check(base, seen, (_cause(non_finite_inputs, say("the batch holds NaN or Inf"), detail),))
    if wrong:
        seen = _sighting(Severity.FATAL, say("{n:g} labels are outside of the {c} classes that the head has.", n=wrong, c=f.classes))
        detail = say("{n:g} labels below 0 or above {top}", n=wrong, top=(f.classes or 1) - 1)
        return _check(base, seen, (_cause(out_of_range_labels, say("labels have no output of the head"), detail),))
    if "train_std" in d and std == 0.0:
        seen = _sighting(Severity.FATAL, say("All inputs of the batch have the same value, {value:.4g}.", value=mean))
        return _check(base, seen, (_cause(constant_inputs, say("the inputs are constant"), say("their standard deviation is 0")),))
    if d.get("constant_samples", 0.0) > DUPLICATES:
        share = d["constant_samples"]
        seen = _sighting(Severity.SERIOUS, say("{share:.0%} of the samples have the same value everywhere.", share=share))
        return _check(base, seen, (_cause(constant_inputs, say("samples are constant"), say("{share:.0%} of them", share=share)),))
    high_loss = f.chance is not None and bool(f.trial.losses) and f.trial.losses[0] > ABOVE_CHANCE * f.chance
    if not f.scaled:
        severity = Severity.SERIOUS if high_loss or (f.trial.losses and not f.learns) else Severity.MINOR
        summary = say(
            "The inputs are not scaled: mean {mean:.3g}, standard deviation {std:.3g}, from {low:.3g} to {high:.3g}.",
            mean=mean,
            std=std,
            low=low,
            high=high,
        )
        detail = say("mean {mean:.3g}, standard deviation {std:.3g}", mean=mean, std=std)
        return _check(base, _sighting(severity, summary), (_cause(preprocessing, say("inputs are far from mean 0 and variance 1"), detail),))
    if not f.targets_scaled:
        mean, std = (d.get(f"target_{k}", 0.0) for k in ("mean", "std"))
        severity = Severity.MINOR if f.learns else Severity.SERIOUS
        summary = say("The targets are not scaled: mean {mean:.3g}, standard deviation {std:.3g}.", mean=mean, std=std)
        claim, detail = say("targets are far from mean 0 and variance 1"), say("mean {mean:.3g}, standard deviation {std:.3g}", mean=mean, std=std)
        return _check(base, _sighting(severity, summary), (_cause(preprocessing, claim, detail),))
    if d.get("copies", 0.0) > DUPLICATES:
        share = d["copies"]
        severity = Severity.MINOR if f.token_inputs else Severity.SERIOUS
        seen = _sighting(severity, say("{share:.0%} of the samples of the batch are copies of others.", share=share))
        return _check(base, seen, (_cause(duplicate_samples, say("samples are copies"), say("{share:.0%} of them", share=share), 3.0),))
    spread = say("mean {mean:.3g}, standard deviation {std:.3g}", mean=mean, std=std)
    figures = (
        is_above(say("the number of non-finite values in a batch"), lost, 0),
        is_above(say("the number of labels outside the head's classes in a batch"), wrong, 0),
        share_is_above(say("the share of samples that hold one value everywhere"), d.get("constant_samples"), DUPLICATES),
        share_is_above(say("the share of samples that are copies of others in their batch"), d.get("copies"), DUPLICATES),
        asked(say("the inputs are far from mean 0 and variance 1"), not f.scaled, spread),
    )
    return _check(base, Cleared(say("The batch is finite, varies, and its labels fit the head."), figures))


def _frozen(f: Facts, base: Check) -> Check:
    graded = [g for g in f.trial.gradients if not g.missing]
    if f.tensors and f.frozen == f.tensors:
        seen = _sighting(Severity.FATAL, say("None of the {n} parameter tensors is trainable.", n=f.tensors))
        return _check(base, seen, (_cause(requires_grad_off, say("requires_grad is False"), say("for all {n} of them", n=f.tensors)),))
    if f.cut:
        names = ", ".join(g.name for g in f.cut[:3])
        severity = Severity.FATAL if not graded else Severity.SERIOUS
        summary = say(
            "{n} of {of} trainable parameter tensors get no gradient although their modules run, among them {names}.",
            n=len(f.cut),
            of=len(f.trial.gradients),
            names=names,
        )
        detail = say("after one backward() .grad of {n} tensors is None", n=len(f.cut))
        return _check(base, _sighting(severity, summary), (_cause(detached_graph, say("the loss does not reach modules that ran"), detail),))
    if f.absent:
        held = len([g for g in f.trial.gradients if g.name not in set(f.absent)])
        severity = Severity.SERIOUS if held else Severity.FATAL
        summary = say(
            "{n} trainable parameter tensors are in no group of the optimizer, among them {name}; "
            "{foreign} tensors in its groups are not the model's.",
            n=len(f.absent),
            name=f.absent[0],
            foreign=f.foreign,
        )
        detail = say("{n} tensors are held by nobody", n=len(f.absent))
        return _check(base, _sighting(severity, summary), (_cause(missing_from_optimizer, say("no group holds them"), detail),))
    if f.unused:
        summary = say(
            "{n} trainable parameter tensors belong to modules that did not run on this batch, among them {name}.",
            n=len(f.unused),
            name=f.unused[0].name,
        )
        detail = say("they got no gradient because nothing called them")
        return _check(base, _sighting(Severity.MINOR, summary), (_cause(detached_graph, say("modules did not run"), detail, 1.0),))
    if f.frozen:
        summary = say("{n} of {of} parameter tensors are frozen (requires_grad is False).", n=f.frozen, of=f.tensors)
        return _check(base, _sighting(Severity.MINOR, summary), (_cause(requires_grad_off, say("requires_grad is False"), summary, 3.0),))
    absent = None if f.absent is None else len(f.absent)
    figures = (
        is_above(say("the number of parameter tensors that are frozen (of {n})", n=f.tensors), f.frozen, 0),
        is_above(say("the number of parameter tensors without a gradient (of {n})", n=f.tensors), len(f.cut) + len(f.unused), 0),
        is_above(say("the number of parameter tensors in no group of the optimizer (of {n})", n=f.tensors), absent, 0),
    )
    return _check(base, Cleared(say("Every parameter is trainable, gets a gradient and is held by the optimizer."), figures))


def _dead(f: Facts, base: Check) -> Check:
    worst = max(f.trial.seen.dead.items(), key=lambda kv: kv[1], default=("", 0.0))
    if worst[1] < DEAD:
        figure = share_is_above(say("the share of one layer's units that are silent"), worst[1], DEAD, worst[0])
        return _check(
            base, Cleared(say("No layer is silent: at most {share:.0%} of the units of one are, for this batch.", share=worst[1]), (figure,))
        )
    summary = say("{share:.0%} of the units at {name} are 0 for every sample of the batch.", share=worst[1], name=worst[0])
    severity = Severity.FATAL if worst[1] >= 1.0 else Severity.SERIOUS
    cause = _cause(bad_initialization, say("the units are dead before any update"), say("{share:.0%} of them", share=worst[1]))
    return _check(base, _sighting(severity, summary), (cause,))


def _non_finite(f: Facts, base: Check) -> Check | None:
    look, bad = f.trial.seen, [g for g in f.trial.gradients if g.non_finite]
    if f.figures.get("non_finite"):
        return None  # the data says it all
    if look.first_bad and look.between:
        summary = say(
            "{name} ({kind}) is handed non-finite values that no module before it put out: an operation between modules made them.",
            name=look.first_bad,
            kind=look.first_bad_kind,
        )
    elif look.first_bad:
        summary = say(
            "The first non-finite values come out of {name} ({kind}), whose inputs are finite.", name=look.first_bad, kind=look.first_bad_kind
        )
    elif not f.trial.outputs_finite:
        summary = say("The outputs are not finite although every module's are: an operation after the last module made them so.")
    elif bad:
        summary = say(
            "The loss is {loss:.4g} and the gradient of {name} is not finite.", loss=f.trial.losses[0] if f.trial.losses else 0.0, name=bad[-1].name
        )
    else:
        return None
    return replace(_check(base, _sighting(Severity.FATAL, summary, ("train/loss",))), causes=base.causes)


def _vanishing(f: Facts, base: Check) -> Check | None:
    graded = [g for g in f.trial.gradients if not g.missing and g.name.endswith("weight") and not g.non_finite]
    begun = any(g.weight_rms == 0 and g.rms > 0 for g in graded)  # as LoRA's second matrix: what is before it waits for its first update
    silent = [g for g in graded if g.rms < SMALL and not (begun and g.rms == 0)]
    loudest = max((g.rms for g in graded), default=0.0)
    full = max(f.trial.seen.saturated.items(), key=lambda kv: kv[1], default=("", 0.0))
    if not silent or loudest < LOUD or f.learns or any(share >= DEAD for share in f.trial.seen.dead.values()):
        return None
    summary = say(
        "The gradient of {name} has an RMS of {rms:.2g}; the largest of another layer is {loudest:.2g}.",
        name=silent[0].name,
        rms=silent[0].rms,
        loudest=loudest,
    )
    causes = base.causes
    if full[1] > SATURATED:
        claim, detail = say("units are saturated"), say("{share:.0%} of the outputs of {name} are at its limits", share=full[1], name=full[0])
        causes = (_cause(saturating_activations, claim, detail), *(c for c in base.causes if c[0].id != saturating_activations.id))
    return replace(_check(base, _sighting(Severity.SERIOUS, summary)), causes=causes)


def _exploding(f: Facts, base: Check) -> Check | None:
    first = f.trial.losses[0] if f.trial.losses else None
    matrices = [g for g in f.trial.gradients if not g.missing and g.matrix and not g.non_finite]
    usual = median([g.weight_rms for g in matrices]) if matrices else 0.0  # a head that starts near zero is small, not swamped
    loud = [g for g in matrices if usual > 0 and g.rms > LARGE * max(g.weight_rms, usual)]
    above = first is not None and f.chance is not None and first > ABOVE_CHANCE * f.chance
    leap = max(f.trial.losses) / first if first and f.learns else 0.0
    rate = f.trial.learning_rate
    if leap > FAR_LEAP and rate and f.absent is not None and f.trial.raised_from is None:
        summary = say(
            "At rate {rate:.3g} the loss leapt to {times:.3g} × the first one before it came down: on other batches it need not.",
            rate=rate,
            times=leap,
        )
        cause = _cause(learning_rate_too_high, say("the loss leapt in the first steps"), say("to {times:.3g} × the first one", times=leap))
        return _check(base, _sighting(Severity.SERIOUS, summary, ("train/loss",)), (cause,))
    if not f.scaled or not f.targets_scaled or (not above and not loud):
        return None
    settled = f.learns and (f.chance is None or f.trial.losses[-1] < ABOVE_CHANCE * f.chance)
    severity = Severity.MINOR if settled or not f.trial.losses else Severity.SERIOUS
    samples = f.trial.outputs[0] if f.trial.outputs else 0
    if above and first is not None and f.chance and samples >= FEWEST_SUMMED and SUMMED[0] < first / f.chance / samples < SUMMED[1]:
        summary = say(
            "The first loss is {first:.4g}, {times:.3g} × that of guessing, and the batch has {n} samples: their losses are added up, not averaged.",
            first=first,
            times=first / f.chance,
            n=samples,
        )
        cause = _cause(wrong_loss, say("the losses of a batch's samples are added up instead of averaged"), say("over {n} samples", n=samples))
        return _check(base, _sighting(severity, summary, ("train/loss",)), (cause,))
    if above and first is not None:
        summary = say(
            "The first loss is {first:.4g}, {times:.3g} × that of guessing: activations are too large before any update.",
            first=first,
            times=first / (f.chance or 1.0),
        )
    else:
        summary = say("The gradient of {name} is {times:.3g} × its weights.", name=loud[0].name, times=loud[0].rms / max(loud[0].weight_rms, usual))
    detail = say("{what}", what=str(summary))
    causes = (_cause(bad_initialization, say("it is so before any update"), detail, 2.0),)
    return _check(base, _sighting(severity, summary, ("train/loss",)), causes)


def _stuck(f: Facts, base: Check) -> Check | None:
    """Only what is plain: the losses of the trial did not fall. Which of the usual causes it is, the checklist's probes say."""
    mismatch = _mismatch(f, base)
    if mismatch is not None:
        return mismatch
    if f.fell is None or f.learns or f.trial.steps < 1:
        return None
    low = f.chance is not None and f.trial.losses[0] < 0.3 * f.chance
    able = f.rescuable and not f.absent and not f.cut
    if low or (f.fell < 0.9 and not able):
        return None
    rate = f.trial.learning_rate
    if able and rate is None:  # no optimizer was handed in: there is none to accuse
        learned = say("AdamW at {usual:g} takes the loss of this one batch to {times:.2f} of the first.", usual=f.rescued_at, times=f.rescued)
        return _check(base, Cleared(learned, (asked(say("the batch cannot be overfitted"), False, learned),)))
    summary = say(
        "After {n} steps on this one batch the loss is {last:.4g} and was {first:.4g}: it cannot even be overfitted.",
        n=f.trial.steps,
        last=f.trial.losses[-1],
        first=f.trial.losses[0],
    )
    causes = base.causes
    if able and rate == 0.0:
        claim = say("the optimizer's learning rate is 0")
        cause = _cause(zero_learning_rate, claim, say("in all of its groups, and no schedule says that it was more"))
        return _check(base, _sighting(Severity.FATAL, summary, ("train/loss",)), (cause,))
    if able and rate and max(f.trial.losses) > LEAPT * f.trial.losses[0]:
        claim = say("the loss leapt in the first steps, and another optimizer learns it")
        detail = say("to {times:.3g} × the first one at rate {rate:.3g}", times=max(f.trial.losses) / f.trial.losses[0], rate=rate)
        return _check(base, _sighting(Severity.SERIOUS, summary, ("train/loss",)), (_cause(learning_rate_too_high, claim, detail),))
    if able and rate and f.fell <= 1.0:
        summary = say(
            "After {n} steps at rate {rate:.3g} the loss is {last:.4g} and was {first:.4g}; "
            "AdamW at {usual:g} takes it to {times:.2f} of that: the model "
            "can learn, slowly at this rate.",
            n=f.trial.steps,
            rate=rate,
            last=f.trial.losses[-1],
            first=f.trial.losses[0],
            times=f.rescued,
            usual=f.rescued_at,
        )
        claim = say("another optimizer learns it")
        still = f.fell > UNMOVED
        cause = _cause(learning_rate_too_low, claim, say("its loss fell to {times:.2f} of the first", times=f.rescued), 3.0 if still else 1.0)
        severity = Severity.SERIOUS if still else Severity.MINOR
        return _check(base, _sighting(severity, summary, ("train/loss",)), (cause,), 2.5 if still else 1.0)
    if f.absent is not None and len(f.absent) == len(f.trial.gradients) and f.absent:
        claim = say("the optimizer holds none of the model's parameters")
        causes = (_cause(missing_from_optimizer, claim, say("{n} are held by nobody", n=len(f.absent))),)
    elif f.fell > 1.5:
        claim, detail = say("the loss grew from step to step"), say("by a factor of {times:.3g}", times=f.fell)
        causes = (_cause(learning_rate_too_high, claim, detail, 2.0), *(c for c in base.causes if c[0].id != learning_rate_too_high.id))
    return replace(_check(base, _sighting(Severity.SERIOUS, summary, ("train/loss",)), prior=2.5), causes=causes)


def _mismatch(f: Facts, base: Check) -> Check | None:
    """What goes into the loss is not what it takes: it falls all the same, more slowly and to another end."""
    if f.trial.probabilities:
        summary = say("The outputs are probabilities already (not negative, of sum 1), and the criterion applies a softmax to them once more.")
        cause = _cause(wrong_loss, say("outputs of sum 1 meet a loss that takes logits"), say("in all of the batch's samples"))
        return _check(base, _sighting(Severity.SERIOUS, summary, ("train/loss",)), (cause,))
    if f.trial.broadcast is not None:
        outputs, labels = f.trial.broadcast
        summary = say(
            "Outputs of shape {outputs} are compared with labels of shape {labels}: the loss stretches one to the other.",
            outputs=outputs,
            labels=labels,
        )
        cause = _cause(wrong_loss, say("the shapes of outputs and labels differ"), say("{outputs} and {labels}", outputs=outputs, labels=labels))
        return _check(base, _sighting(Severity.SERIOUS, summary, ("train/loss",)), (cause,))
    return None
