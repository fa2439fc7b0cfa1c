"""The shapes of a log's lines, each understood once: its plan, whether it heads a table, whether it may tell an event."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from zlib import crc32

from postmortem.sources.languages import to_english
from postmortem.sources.logs.anyof import any_of
from postmortem.sources.logs.crash import is_suspicious
from postmortem.sources.logs.effort import Effort
from postmortem.sources.logs.text.dialects import special
from postmortem.sources.logs.text.dumps import Lone, lone_of
from postmortem.sources.logs.text.grammar import plan_of
from postmortem.sources.logs.text.histories import holds_rounds
from postmortem.sources.logs.text.idioms import in_plain_words
from postmortem.sources.logs.text.keys import split_in
from postmortem.sources.logs.text.plans import EMPTY, Plan
from postmortem.sources.logs.text.ranks import rank_of, unranked
from postmortem.sources.logs.text.settings import Wanted, wanted
from postmortem.sources.logs.text.tables import Header, header_of, is_rule, wide_pair_of
from postmortem.sources.logs.text.tokens import MOMENT, NUMBER, mask, shape_of

MAX_SHAPES = 50_000
MAX_LINE = 8_192  # bytes of a line that are looked at
_LOGGED = r"INFO\s+-\s+[\w.]{1,80}\s+-\s+\*{3,}\s*"  # `- INFO - __main__ - ***** Eval results *****`: what a logger puts before a heading
_HEADING = re.compile(rf"^[\s>#*=\-\[\](){{|!+.{MOMENT}]*(?:INFO: |{_LOGGED})?([A-Za-z][A-Za-z ]{{2,40}}?\d{{0,3}})[\s>#*=\-\])}}|!+.:…]*$")
_MONITOR = re.compile(rf"^\[[^\]]{{1,40}}@monitor\.py:{NUMBER}\] \S+:{NUMBER}$")  # Tensorpack, once an epoch is over
_TESTING = re.compile(r"^[^A-Za-z]*Testing using \w")  # Flair, once training is over
_ARGUMENTS = re.compile(rb"[ \t]{2,}[A-Z][\w /]{0,30}:\s{1,30}\S{1,80}\s{4,60}[A-Z][\w /]{0,30}:\s{2,30}\S{1,80}\s*$")  # two of them, in columns
_TOLD_AFTER = frozenset({"train/loss", "val/loss", "test/loss", "train/accuracy", "val/accuracy", "test/accuracy", "grad_norm"})
_SUMMARY_BLOCK = re.compile(r"\*{3,5} ?(?:train|eval|test|predict)\w* metrics ?\*{3,5}")
BRACES = frozenset({"{", "}", "},", "{,", "[", "]", "}]", "[{"})
HINTS = (
    "loss", "acc", "epoch", "step", "iter", "lr", "error", "ppl", "nll", "score", "reward", "val", "train", "eval", "norm", "perplexity",
    "psnr", "ssim", "iou", "bleu", "rouge", "recall", "precision", "auc", "mse", "kimg",
)  # fmt: skip
_IN_BYTES = re.compile(rb"\blr\b|" + any_of(word for word in HINTS if len(word) > 2).encode())
_ALSO_KNOWN = re.compile(
    any_of((
        "f1", "map", "dice", "cost", "wer", "cer", "fps", "entropy", "nll", "batch", "update", "rate", "mae", "rmse", "kl", "auc",
        "fid", "return", "round",
    )).encode()
)  # fmt: skip
_DIGITS = b"0123456789"
# Of a masked line what names one thing of many, a hash or an address; its first digits may have been taken for a number.
_NAME = re.compile(rb"(?<=\x00)x?[0-9a-f]{3,}+\b|\b(?=[A-Fa-f]{0,40}[0-9])[0-9A-Fa-f]{6,}+\b")
MANY_SHAPES = 4_000  # then only shapes with a word of training are looked into
NEW_SHAPES = 1_000  # then too, where more than every second line had one of its own
NEW_IDLE = 200  # then too, once training is under way, where three of four lines had one of their own that says nothing
MOST_UNDERSTOOD = 20_000  # shapes; then only those that come a second time
FEW_VAIN = 200  # shapes; then, where nine of ten were such, numbers without a known word wait until they come again, before training begins
MOST_VAIN = 4_000  # shapes with nothing in them that one knows by name; then too, where nine of ten were such
# What is paid for (see `effort`): a shape that is understood, its bytes, numbers and values, and a look at one that came once
A_SHAPE, A_SHAPE_BYTE, A_SHAPE_NUMBER, A_SHAPE_VALUE, A_LOOK, A_LOOK_BYTE = 120.0, 0.5, 5.0, 25.0, 35.0, 0.1
_MOST_ONCE = 500_000  # shapes that came once, of which a checksum is kept
_FINAL = re.compile(r"\btrain_runtime\b|\btrain_samples_per_second\b")
_HABITS = (
    ("lightning", re.compile(rb"GPU available: (?:True|False)|`Trainer\.fit` stopped|pytorch_lightning|lightning\.pytorch|lightning/pytorch/")),
    ("transformers", re.compile(rb"\*\*\*\*\* Running training \*\*\*\*\*|'train_runtime':|transformers/trainer\.py")),
    ("transformers", re.compile(rb"\{'loss': [^,{}]{1,24},(?: 'grad_norm': [^,{}]{1,24},)? 'learning_rate':")),
    ("keras", re.compile(rb"ms/step - |\ds/step - |^\d+/\d+ (?:\[=|\xe2\x94\x81)")),
    ("megatron", re.compile(rb"elapsed time per iteration \((?:ms|s)\): .{0,400}global batch size:")),
    ("fairseq", re.compile(rb"\| (?:train_inner|fairseq\.\w+) \||num_updates.{0,200}gnorm")),
    ("mmengine", re.compile(rb"- mmengine - ")),
    ("detectron2", re.compile(rb"d2\.utils\.events|detectron2/")),
    ("caffe", re.compile(rb"solver\.cpp:\d+\] Iteration")),
    ("darknet", re.compile(rb"\d avg(?: loss)?, [\d.]+ rate, ")),
    ("marian", re.compile(rb"Up\. \d+ : Sen\. ")),
)

_OF_HABITS = re.compile(
    any_of((
        "GPU available: ", "Trainer.fit", "{'loss': ", "lightning", "***** Running training", "train_runtime", "transformers/trainer.py", "s/step - ",
        " [=", "━",
        "elapsed time per iteration", "train_inner", "fairseq.", "num_updates", "- mmengine - ", "d2.utils.events", "detectron2/", "solver.cpp:",
        " rate, ", "Up. ",
    )).encode()
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a shape."""

    plan: Plan
    shape: str
    header: Header | None = None
    heading: str = ""  # split that a heading announces
    rule: bool = False
    pair: bool = False  # may be a row of a two-column block
    final: bool = False  # a closing summary, no row
    suspicious: bool = False  # may tell an event
    settings: Wanted = Wanted.NEVER
    lone: Lone | None = None  # one key and one value
    history: bool = False  # values by round of a federated training
    braces: int = 0  # dicts that it leaves open, less those that it closes: printed over several lines
    wide: bool = False  # may be a row of a two-column block without lines drawn between its columns
    ranked: bool = False  # the name of a rank stands before it


NOISE = Entry(EMPTY, "")


def hints(raw: bytes) -> bool:
    """Whether a line has a word of training in it."""
    return _IN_BYTES.search(raw.lower()) is not None


def _known_word(raw: bytes) -> bool:
    """Whether a line has a word in it that stands beside a number that one knows."""
    low = raw.lower()
    return _IN_BYTES.search(low) is not None or _ALSO_KNOWN.search(low) is not None


def _numbered(entry: Entry) -> bool:
    """Digits that are parts of words may tell one such shape from another."""
    asked = entry.suspicious or entry.settings == Wanted.ALWAYS
    if asked or entry.header or entry.heading or entry.final or entry.pair or entry.lone or entry.history:
        return True
    return any(c.isdigit() for slot in entry.plan.values for c in slot.logged_as)


def _says_nothing(entry: Entry) -> bool:
    """Prose, or numbers of which nothing is known, whatever is around it."""
    plan = entry.plan
    told = entry.header or entry.heading or entry.rule or entry.pair or entry.lone or entry.final or entry.history or entry.suspicious
    return (plan is EMPTY or plan.weak) and not told


class Shapes:
    """All shapes that were seen."""

    def __init__(self, effort: Effort) -> None:
        self.effort = effort
        self.understood = self.asked = self.vain = self.idle = 0
        self.unlike = 0  # shapes that were seen
        self.tells: Callable[[bytes], bool] | None = None  # whether a line may tell an event, where that was asked before
        self._once: set[int] = set()
        self.known: dict[bytes, Entry] = {}
        self._but_for_digits: dict[bytes, Entry] = {}  # shapes by their text without the digits that are parts of words
        self._but_for_names: dict[tuple[bytes, bool], Entry] = {}  # shapes by their text without names of one thing of many; dull ones apart
        self.saw: set[str] = set()  # frameworks whose habits were seen

    @property
    def many(self) -> bool:
        """So many that the log is mostly noise."""
        return self.unlike > MANY_SHAPES or (self.unlike > NEW_SHAPES and 2 * self.unlike > self.asked)

    @property
    def idlers(self) -> bool:
        """Three of four lines had a shape of their own that says nothing: amid a training, the rest of what is so is not worth understanding."""
        return self.idle > NEW_IDLE and 4 * self.idle > 3 * self.asked

    def entry(self, masked: bytes, raw: bytes, *, amid: bool) -> Entry:
        """What is known of a masked line; understood when it is new. `amid`: training is under way."""
        self.asked += 1
        found = self.known.get(masked)
        if found is None:
            if self._enough and self._first_time(masked):
                self.effort.spent += A_LOOK + A_LOOK_BYTE * len(raw)
                suspicious = self.tells(raw) if self.tells else is_suspicious(raw.decode("utf-8", "replace"))
                return Entry(EMPTY, "", suspicious=True) if suspicious else NOISE
            if len(raw) < 2_000 and _OF_HABITS.search(raw):
                self.saw |= {name for name, habit in _HABITS if name not in self.saw and habit.search(raw)}
            bare = masked.translate(None, _DIGITS)
            if bare in self._but_for_digits:
                return self._but_for_digits[bare]
            waits = not amid and self._mostly_vain and b"\0" in masked and not _known_word(raw)
            first = not waits or self._first_time(masked)
            self.unlike += first
            if waits and first:
                self.effort.spent += A_SHAPE
                found = self._understood(masked, raw, dull=True)
                self.idle += _says_nothing(found)
                return found
            self.understood += 1
            if len(self.known) >= MAX_SHAPES:
                self.known.clear()
            found = self.known[masked] = self._understood(masked, raw, dull=self.many and not hints(raw))
            if bare != masked and not _numbered(found) and len(self._but_for_digits) < MAX_SHAPES:
                self._but_for_digits[bare] = found
            numbers, values = masked.count(b"\0"), len(found.plan.values)
            self.vain += all(slot.name.startswith("other/") for slot in found.plan.values)
            self.idle += _says_nothing(found)
            self.effort.spent += A_SHAPE + A_SHAPE_BYTE * len(masked) + A_SHAPE_NUMBER * numbers + A_SHAPE_VALUE * values
        return found

    @property
    def _enough(self) -> bool:
        """Shapes that come once are not worth understanding."""
        return self.understood >= MOST_UNDERSTOOD or (self.vain >= MOST_VAIN and 10 * self.vain >= 9 * self.understood)

    @property
    def _mostly_vain(self) -> bool:
        """Numbers in shapes that come once, without a word that one knows, are not worth understanding."""
        return self.understood >= FEW_VAIN and 10 * self.vain >= 9 * self.understood

    def _first_time(self, masked: bytes) -> bool:
        mark = crc32(masked)
        if mark in self._once:
            return False
        if len(self._once) >= _MOST_ONCE:
            self._once.clear()
        self._once.add(mark)
        return True

    def _understood(self, masked: bytes, raw: bytes, *, dull: bool) -> Entry:
        """Understand a shape, unless one was that differs in names of one thing of many alone."""
        nameless = _NAME.sub(b"\3", masked)
        if nameless == masked:
            return self._understand(masked, raw, dull=dull)
        key = nameless.translate(None, _DIGITS), dull
        found = self._but_for_names.get(key)
        if found is None:
            found = self._understand(masked, raw, dull=dull)
            if len(self._but_for_names) < MAX_SHAPES and not (_numbered(found) or any(_NAME.search(s.logged_as.encode()) for s in found.plan.values)):
                self._but_for_names[key] = replace(found, settings=Wanted.NEVER)  # this one is asked
        return found

    @staticmethod
    def _understand(masked: bytes, raw: bytes, *, dull: bool) -> Entry:
        shape = shape_of(masked)
        whose = rank_of(shape)
        if whose:
            rest = Shapes._understand(shape[whose.end() :].encode(), unranked(raw.lstrip()), dull=dull)
            return replace(rest, plan=rest.plan.behind_rank(), shape=shape, lone=None, ranked=True)
        text = raw.decode("utf-8", "replace")
        suspicious, settings = is_suspicious(text), wanted(text)
        pair = shape.startswith(("|", "│", "┃", '"')) or shape in BRACES
        if NUMBER in shape:
            plan = EMPTY if dull or settings == Wanted.ALWAYS else special(shape) or plan_of(in_plain_words(shape))
            if settings == Wanted.EARLY and plan is not EMPTY and _ARGUMENTS.match(masked) and not any(s.name in _TOLD_AFTER for s in plan.values):
                plan = EMPTY
            if settings == Wanted.EARLY and plan.counts and (plan.values or plan.progress):
                settings = Wanted.NEVER
            if plan.weak and _MONITOR.match(shape):
                plan = replace(plan, weak=False)
            final, history = bool(_FINAL.search(shape)), holds_rounds(shape)
            braces = shape.count("{") - shape.count("}") if shape[-1] in ",}" and ("{'" in shape or shape[0] == "'") else 0
            wide, lone = wide_pair_of(text) is not None, lone_of(shape)
            return Entry(
                plan, shape, pair=pair or wide, final=final, suspicious=suspicious, settings=settings, lone=lone, history=history, braces=braces,
                wide=wide,
            )  # fmt: skip
        text = to_english(shape)
        header = header_of(raw.decode("utf-8", "replace").strip()) if any(c in text for c in "eE") and len(text) < 500 else None
        heading = _HEADING.match(text)
        split = split_in(heading[1]) if heading and len(text) < 120 and not header and len(heading[1].split()) <= 4 else ""
        if _TESTING.match(text):
            split = "test"
        final, history = bool(_SUMMARY_BLOCK.search(text)), holds_rounds(text)
        return Entry(EMPTY, shape, header, split, is_rule(text), pair, final, suspicious, settings, lone_of(text), history)

    def ends_early(self, raw: bytes) -> bool:
        """A last line without a line end was cut off: it begins like a longer record, or a record's brace stays open. Not one that ends in a
        space: `print(…, end=" ")` wrote it, and what was to follow did not come about."""
        if raw.endswith(b" "):
            return False
        masked, tokens = mask(raw[:MAX_LINE])
        if masked in self.known:
            return False
        shape = shape_of(masked)
        if tokens and shape.startswith("{") and "}" not in shape:
            return True
        begin = shape.rstrip(NUMBER + " .:=,-")
        return len(begin) >= 3 and any(e.plan.values and len(e.shape) > len(shape) and e.shape.startswith(begin) for e in self.known.values())
