"""Records a training as it runs. Costs next to nothing, never stops a training, leaves a file that `postmortem analyze` reads."""

import math
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from postmortem.capture import batches, surroundings
from postmortem.capture.guarding import forks, last_words, quiet
from postmortem.capture.relation import Relation
from postmortem.capture.waiting import Step, Waiting, number, unread
from postmortem.capture.watching import Watch, describe, unwrapped
from postmortem.capture.writing import FORMAT, RecordFile

EVERY = 200  # steps between two that are looked at closely
MOST_TEXT = 6000  # characters of a traceback, counted from its end
TRACEBACK = "Traceback (most recent call last):"
BAD_BATCHES = 3  # batches of a non-finite loss that are recorded


class Recorder:
    """Records loss, learning rate, gradients, weights, activations and batches of a training.

    run_dir : where the capture file goes; several recorders never share a file.
    every : steps between two that are looked at closely. The steps 0, 1, 2, 4, 8 … after the start are looked at as well.
    config : the training's configuration, nested as it is.
    classes : number of classes, to tell labels that are out of range.

    Use it as a context manager and an exception is recorded on its way out. In a job of several processes rank 0 records, the others
    record exceptions alone. Nothing here raises once it is built.
    """

    def __init__(
        self, run_dir: str | os.PathLike[str], *, every: int = EVERY, config: Mapping[str, Any] | None = None, classes: int | None = None
    ) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1 and is {every}")
        self.every = every
        self.classes = classes
        self.failed = False
        self.norms = True  # the gradient norm of sampled steps is recorded; a framework that logs it, before clipping, says no
        self._forks = forks()  # of the process that it belongs to; those forked from it, such as a loader's workers, record nothing
        rank = surroundings.rank()
        self._quiet_rank = rank > 0
        self._file = RecordFile(Path(run_dir), f"capture-rank{rank}" if rank else "capture")
        self._begun = 0  # the step that this process began with
        self._done: int | None = None  # the last one that is done
        self._stride = 1  # by which the job's own numbers go on
        self._followed = False  # the step before the one under way was looked at
        self._go(0)
        self._epoch: float | None = None
        self._waiting = Waiting()
        self._watch: Watch | None = None
        self._seen = batches.Seen()
        self._related = Relation()
        self._last_batch: tuple[Any, Any, str] | None = None
        self._recorded: dict[str, int] = {}  # split → step of the last batch that was recorded
        self._batches_in_step = 0
        self._bad = 0
        self._samples = 0
        self._write(
            {"k": "start", "format": FORMAT, "time": time.time(), "every": every, "versions": surroundings.versions(), "git": surroundings.git(),
             "config": dict(config or {}), "script": Path(sys.argv[0]).name if sys.argv else "", "gpus": surroundings.gpus()}
        )  # fmt: skip

    @property
    def path(self) -> Path:
        """The file that is written."""
        return self._file.path

    def sampled(self, step: int | None = None) -> bool:
        """Whether a step (the one under way) is looked at closely."""
        if step is None:
            return self._close
        since = (step - self._begun) // self._stride
        crossed = step // self.every > (step - self._stride) // self.every
        return crossed or (0 <= since < self.every and since & (since - 1) == 0)

    def _go(self, at: int) -> None:
        """The step under way is that one."""
        self._at = at
        self._close = self.sampled(at)

    @quiet
    def configured(self, config: Mapping[str, Any]) -> None:
        """More of the configuration, nested as it is."""
        self._write({"k": "config", "config": dict(config)})

    @quiet
    def framework(self, name: str) -> None:
        """What runs the training; fixes are then written for it."""
        self._write({"k": "config", "config": {}, "framework": name})

    @quiet
    def at(self, step: int) -> None:
        """The step that comes next, after a resume."""
        self._begun, self._done, self._stride = int(step), None, 1
        self._go(self._begun)
        if self._at:
            self._write({"k": "resumed", "s": self._at, "time": time.time()})

    @quiet
    def watch(self, model: Any, *optimizers: Any) -> None:
        """Look at this model's gradients, weights, updates and activations on sampled steps."""
        if self._watch is not None:
            self._watch.remove()
            self._watch = None
        try:
            optimizers = tuple(unwrapped(o) for o in optimizers)
            self._write({"k": "model", "facts": describe(model, optimizers)})
            if not self._quiet_rank:
                self._watch = Watch(model, optimizers)
                if self._close:
                    self._watch.look()
        except Exception as error:  # losses and batches are recorded all the same
            warnings.warn(f"postmortem looks at no layers: {type(error).__name__}: {error}", RuntimeWarning, stacklevel=3)

    @quiet
    def batch(self, inputs: Any, labels: Any = None, split: str = "train", *, epoch: float | None = None) -> None:
        """Hand over a batch as the model gets it. Only those of sampled steps (and the first of each split) are looked at."""
        if labels is None and isinstance(inputs, Mapping | list | tuple):
            inputs, labels = batches.parts(inputs)
        self._epoch = epoch if epoch is not None else self._epoch
        if split == "train":
            self._last_batch = (inputs, labels, split)
            self._batches_in_step += 1
            self._samples += batches.size(inputs)
        due = split not in self._recorded or (self._recorded[split] != self._at and (self._close or self._followed))
        if due and not self._quiet_rank:
            self._recorded[split] = self._at
            self._write(self._data(inputs, labels, split))

    def _data(self, inputs: Any, labels: Any, split: str) -> dict[str, Any]:
        inputs = batches.near(inputs)
        figures = batches.input_figures(inputs)
        told, histogram = batches.label_figures(labels, self.classes)
        prefix = "" if split == "train" else f"{split}_"
        lost = figures.pop("non_finite", 0.0) + told.pop("label_non_finite", 0.0)
        values: dict[str, float | None] = {f"{prefix}non_finite": lost, **{f"{split}_{name}": v for name, v in figures.items()}}
        values |= {f"{prefix}{name}": v for name, v in told.items()}
        rows = batches.first_rows(inputs)
        hashes = batches.sample_hashes(rows)
        if split == "train":
            values["indices"] = 1.0 if batches.whole_numbers(inputs) else None
            values["constant_samples"] = batches.constant_share(rows)
            if rows is not None and self._related.add(rows, hashes, labels, indices=values["indices"] is not None):
                values |= self._related.figures()
        if hashes:
            if split == "train" and self._batches_in_step <= 1:
                values["duplicate_share"] = self._seen.duplicates(
                    hashes, self._at // self._stride, None if self._epoch is None else math.floor(self._epoch)
                )
                values["copies"] = batches.copies(hashes)
                values["fingerprint"] = batches.fingerprint(hashes)
            values["split_overlap"] = self._seen.overlap(split, hashes)
        return {"k": "data", "s": self._at, "split": split, "v": {k: v for k, v in values.items() if v is not None}, "labels": histogram}

    @quiet
    def step(self, /, loss: Any = None, *, lr: float | None = None, step: int | None = None, epoch: float | None = None, **values: Any) -> None:
        """One optimizer step is done. Losses may be tensors: on an accelerator they are fetched later, several at once.

        step : its number; counted from 0 where it is not given. values : whatever else is logged, under the job's own names.
        """
        now = time.time()
        if (step is None and self._stride > 1) or (step is not None and step != self._at):
            self._jump(step)
        if epoch is not None:
            self._epoch = epoch
        if not self._quiet_rank:
            if self._watch is not None:
                rate = self._watch.passed()
                lr = rate if lr is None else lr
            numbers = {"loss": unread(loss), "lr": unread(lr)}
            for name, value in values.items():
                numbers[name] = unread(value)
            self._waiting.add(Step(self._at, now, self._epoch, self._samples, numbers))
            if self._close or (self._watch is not None and self._watch.looking):
                self._look(numbers)
            elif (record := self._waiting.ready()) is not None:
                self._told(record)
        self._samples = self._batches_in_step = 0
        self._done, self._followed = self._at, self._close
        self._go(self._at + self._stride)
        if self._close and self._watch is not None:
            self._watch.look()

    def _jump(self, step: int | None) -> None:
        """The step that is done has another number than was expected: those to come are expected as far apart as this one and the last."""
        at = int(step) if step is not None else (self._at if self._done is None else self._done + 1)
        self._stride = max(1, at - self._done) if self._done is not None else 1
        self._go(at)

    def _look(self, numbers: dict[str, Any]) -> None:
        """Write what a looked-at step adds to the numbers that it was told."""
        layers: list[dict[str, Any]] = []
        numbers.setdefault("memory", surroundings.memory())
        if self._watch is not None:
            if self.norms:
                numbers.setdefault("grad_norm", self._watch.norm())
            layers = self._watch.taken()
        self._flush()
        for one in layers:
            self._write({"k": "layers", "s": self._at, **one})

    @quiet
    def log(self, /, step: int | None = None, **values: Any) -> None:
        """Numbers that belong to a step without ending one: an evaluation, what a framework logs."""
        self._flush()
        at = (self._at - 1 if self._at else 0) if step is None else int(step)
        kept = {k: [number(v)] for k, v in values.items() if number(v) is not None}
        if kept and not self._quiet_rank:
            self._write({"k": "steps", "s": [at], "t": [time.time()], "e": [self._epoch], "v": kept})

    @quiet
    def layers(self, *records: Mapping[str, Any]) -> None:
        """Records of the step under way about layers, as the file has them; for frameworks that `watch` cannot see into."""
        for one in () if self._quiet_rank else records:
            self._write({"k": "layers", "s": self._at, **one})

    @quiet
    def carefully(self, look: Callable[[], None]) -> None:
        """Call that, as everything here is called: what goes wrong ends the recording, not the training."""
        look()

    def _flush(self) -> None:
        """Fetch what waits, and write it."""
        for record in self._waiting.rest():
            self._told(record)

    def _told(self, record: dict[str, Any]) -> None:
        """Write what was told of steps; where the loss of one is not finite, the last batch as well."""
        self._write(record)
        losses = record["v"].get("loss", ())
        if self._bad < BAD_BATCHES and any(v is not None and not math.isfinite(v) for v in losses) and self._last_batch is not None:
            self._bad += 1
            if self._recorded.get("train") != self._at:
                self._recorded["train"] = self._at
                self._write(self._data(*self._last_batch))

    # --- the end ----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self.exception(error)
        self.close("finished" if error is None else "failed")

    @last_words
    def exception(self, error: BaseException) -> None:
        """Record an exception: its traceback, where it came from, and the last batch's statistics."""
        self._flush()
        frames = traceback.extract_tb(error.__traceback__)
        text = "".join(traceback.format_exception(error))
        told: dict[str, Any] = {}
        if self._last_batch is not None:
            try:
                told = self._data(*self._last_batch)["v"]
            except Exception:  # a device that died answers nothing any more
                told = {}
        last = next((f for f in reversed(frames) if "site-packages" not in f.filename), frames[-1] if frames else None)
        self._write({
            "k": "event", "kind": "interrupted" if isinstance(error, KeyboardInterrupt) else "exception", "type": type(error).__name__,
            "message": str(error)[:500], "text": text if len(text) <= MOST_TEXT else f"{TRACEBACK}\n{text[-MOST_TEXT:]}", "s": self._at,
            "time": time.time(), "batch": told, "frame": f"{Path(last.filename).name}:{last.lineno}" if last else "",
            "function": last.name if last else "",
        })  # fmt: skip

    def close(self, status: str = "finished") -> None:
        """The training is over. Hooks come off, the file is closed; what is recorded later is ignored."""
        self._end(status)
        if self._watch is not None:
            self._watch.remove()
            self._watch = None
        self._last_batch = None
        if self._forks == forks():
            self._file.close()
        self.failed = True

    @last_words
    def _end(self, status: str) -> None:
        self._flush()
        self._write({"k": "end", "status": status, "s": self._at - 1, "time": time.time()})

    def _write(self, record: Mapping[str, Any]) -> None:
        self._file.write(record)

    # --- other people's loops ---------------------------------------------------------------------------------------

    def for_transformers(self) -> Any:
        """A callback for `transformers.Trainer(callbacks=[…])`."""
        from postmortem.capture.for_transformers import callback

        return callback(self)

    def for_lightning(self) -> Any:
        """A callback for `lightning.Trainer(callbacks=[…])`."""
        from postmortem.capture.for_lightning import callback

        return callback(self)

    def for_keras(self) -> Any:
        """A callback for `model.fit(callbacks=[…])`."""
        from postmortem.capture.for_keras import callback

        return callback(self)

    def for_accelerate(self) -> Any:
        """A tracker for `Accelerator(log_with=…)`."""
        from postmortem.capture.for_accelerate import tracker

        return tracker(self)
