"""What people call the quantities that they log, mapped to one vocabulary.

Pure functions over the tables of `vocabulary.py`. A key is cut into words; words that say which split
it is and words that say nothing are taken out; what is left must be, as a whole, a phrase of the table. So `loss_scale` is
no loss, `norm1.weight` no gradient norm and `train_loss_mask` no training loss. `setting_names.py` does settings.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache

from postmortem.model.run import Reduction
from postmortem.sources.languages import to_english
from postmortem.sources.setting_names import SETTINGS, setting_name
from postmortem.sources.vocabulary import (
    BARE,
    BARE_PHRASES,
    GLUED,
    GRAD_NORM,
    LR,
    LR_OF_OPTIMIZER,
    NOISE,
    OTHER,
    PARTS,
    PLURALS,
    QUANTITIES,
    QUANTITY_PHRASES,
    SPLIT_WORDS,
    SPLITS,
)

__all__ = [
    "BARE",
    "QUANTITIES",
    "SETTINGS",
    "SPLITS",
    "is_series_name",
    "names_a_loss",
    "plainness",
    "reduction_of",
    "series_name",
    "series_names",
    "setting_name",
    "twins",
    "words",
]

_SERIES_NAME = re.compile(rf"(?:(?:{'|'.join(SPLITS)})(?:\.[^/]+)?/(?:{'|'.join(QUANTITIES)})|{'|'.join(BARE)})(?:\.epoch)?|other/.+")
_SEPARATORS = re.compile(r"[\s_\-./:|()\[\]{},;=+]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z][a-z]|[A-Z]+$|[A-Z]+[^A-Za-z])")
_BARE_OF = {phrase: name for name, phrases in BARE_PHRASES.items() for phrase in phrases.split(", ")}
_QUANTITY_OF = {phrase: (name, rank) for name, phrases in QUANTITY_PHRASES.items() for rank, phrase in enumerate(phrases.split(", "))}
_MIXED_CASE = re.compile(r"mIoU|IoU|mAP|GiB|MiB|mDice|NLL|aAcc|gNorm")  # one word, whatever its capitals say
# Measured at evaluations only: without a word for the split they are of the validation set.
_EVALUATION = frozenset(
    {
        "map",
        "ap",
        "map50",
        "miou",
        "iu",
        "bleu",
        "sacrebleu",
        "pck",
        "pseudo",
        "foreground",
        "spearman",
        "ndcg",
        "ndcg@10",
        "hr@10",
        "hit@10",
        "hits@10",
    }
)
_ALONE = frozenset({"epoch", "scale", "scaler", "speed", "skipped"})  # too common to mean this beside other words
_OVER_WINDOW = re.compile(r"(?:avg|ave|average|mean)\d{1,5}")  # of so many episodes
_LONGEST_KEY = 200  # characters; longer keys are no names that a person gave
_UNKNOWN_RANK = 1000
_OF_VALUES = re.compile(r"(?:^|/)loss/value(?:_|$)")  # the loss of the value function, beside `loss/policy`; not `lm loss value`
_FEWEST_TWINS = 3
_LETTER_BEHIND = re.compile(r"(?P<stem>\w{2,40})_(?P<letter>[A-Za-z])")
_LETTER_BEFORE = re.compile(r"(?P<letter>[A-Za-z])_(?P<stem>\w{2,40})")
_MANY_PARTS = 3  # of a loss, beside which one more is another part and not the whole


@lru_cache(maxsize=4096)
def words(key: str) -> tuple[str, ...]:
    """A key's words, lower case: `trainLoss_epoch` → ("train", "loss", "epoch"). `acc@1` stays one word."""
    key = to_english(key[:_LONGEST_KEY])
    low = key.lower()
    if low != key:
        low = _CAMEL.sub(" ", _MIXED_CASE.sub(lambda m: f" {m[0].lower()} ", key)).lower()
    return tuple(w for w in _SEPARATORS.split(low.replace("#", " ")) if w)


def _split_and_rest(parts: tuple[str, ...]) -> tuple[str, list[str]]:
    """The split that the words name ("" for none) and the other words, once each."""
    split = ""
    rest: list[str] = []
    for word in parts:
        glued = GLUED.fullmatch(word)
        for piece in glued.groups() if glued else (word,):
            found = SPLIT_WORDS.get(piece, "")
            if found:
                # `train/val_loss`, `eval/test_loss`: the most specific word wins
                split = found if not split or found != "train" else split
                if piece in ("trl", "tel"):
                    rest.append("loss")
            else:
                rest.append(PLURALS.get(piece, piece) if word is parts[-1] else piece)
    return split, rest


def _quantity(rest: list[str]) -> tuple[str, int]:
    """Quantity and plainness of words without split words; ("", …) when they are no phrase of the table."""
    phrase = " ".join(rest)
    if phrase in _QUANTITY_OF:
        return _QUANTITY_OF[phrase]
    once = list(dict.fromkeys(rest))
    kept = [w for w in once if w not in NOISE]
    noise = len(rest) - len(kept)
    kept = [w for w in kept if not _OVER_WINDOW.fullmatch(w)]
    for candidate in (" ".join(w for w in rest if w not in NOISE), " ".join(once), " ".join(kept)):
        if candidate in _QUANTITY_OF:
            name, rank = _QUANTITY_OF[candidate]
            return name, 2 * rank + noise
    while kept and kept[0].isdigit():  # "#0: loss"
        kept = kept[1:]
    name, rank = _QUANTITY_OF.get(" ".join(kept), ("", _UNKNOWN_RANK))
    return name, 2 * rank + noise + 1


def _bare(parts: tuple[str, ...], split: str, rest: list[str]) -> str:
    """The bare name of a key, "" for none. What was measured at an evaluation is not about training."""
    whole = " ".join(parts)
    if whole in _BARE_OF:
        return _BARE_OF[whole]
    phrase = " ".join(rest)
    kept = " ".join(w for w in rest if w not in NOISE)
    for candidate in dict.fromkeys((whole, phrase, kept)):
        if candidate in LR or LR_OF_OPTIMIZER.fullmatch(candidate):
            return "lr"
        if split in ("", "train") and candidate:
            if GRAD_NORM.fullmatch(candidate) and (candidate != "norm" or len(parts) == 1):
                return "grad_norm"
            if candidate in _BARE_OF and (len(parts) == 1 or candidate not in _ALONE):
                return _BARE_OF[candidate]
    return ""


def _named_set(key: str, rest: list[str]) -> tuple[str, str]:
    """(`name`, quantity) of `eval_<name>_loss`, how transformers logs several evaluation sets; ("", "") for anything else."""
    if not key.startswith(("eval_", "eval/")) or len(rest) < 2 or not OTHER.isdisjoint(rest):
        return "", ""
    for start in range(1, len(rest)):
        quantity = _QUANTITY_OF.get(" ".join(rest[start:]))
        if quantity and PARTS.isdisjoint(rest[:start]):
            return "_".join(rest[:start]), quantity[0]
    return "", ""


def series_name(key: str, split: str = "", aliases: Mapping[str, str] | None = None) -> str:
    """The canonical name of a logged key, such as "train/loss", "val/accuracy" or "lr"; "other/<key>" when unknown.

    `split` is what the context says ("train", "val", "test"), used when the key itself does not say; "" means train.
    `aliases` are the user's own: key → canonical name.
    """
    if aliases and key in aliases:
        return aliases[key]
    parts = words(key)
    said, rest = _split_and_rest(parts)
    if len(key) > _LONGEST_KEY or not rest:
        return f"other/{key}"
    bare = _bare(parts, said or split, rest)
    if bare:
        return bare
    unlike = OTHER - {"target"} if said in ("val", "test") else OTHER  # a domain adapted to is evaluated on: `target_val_acc`
    if not unlike.isdisjoint(parts) or _OF_VALUES.search(key):
        return f"other/{key}"
    found = said or split or ("train" if _EVALUATION.isdisjoint(rest) else "val")
    quantity, _ = _quantity(rest)
    if quantity == "reward" and found == "train":
        return "reward"
    if quantity:
        return f"{found}/{quantity}"
    name, quantity = _named_set(key, rest)
    return f"val.{name}/{quantity}" if name else f"other/{key}"


def is_series_name(name: str) -> bool:
    """Whether a name is one of the vocabulary, or one that nothing is known of: "other/<anything>"."""
    return _SERIES_NAME.fullmatch(name) is not None


def twins(keys: Iterable[str]) -> dict[str, tuple[str, str]]:
    """(key without its mark, split) of keys that a letter tells apart: `loss_t` and `loss_v`, `v_loss` beside `loss`. One alone says nothing.

    `v_loss` may be a value loss: it needs enough others that have a twin, or `t_loss`.
    """
    known = set(keys)
    bare = {key: (key[2:], "val") for key in known if key.startswith(("v_", "v/")) and key[2:] in known}
    found = bare if len(bare) >= _FEWEST_TWINS else {}
    for mark in (_LETTER_BEHIND, _LETTER_BEFORE):
        letters: dict[str, dict[str, str]] = {}  # stem → letter → key
        for key in known:
            marked = mark.fullmatch(key)
            if marked:
                letters.setdefault(marked["stem"], {})[marked["letter"].lower()] = key
        pairs = {stem: of for stem, of in letters.items() if of.keys() == {"t", "v"} and stem not in known}  # more are parts of a loss
        if any(series_name(stem) == "train/loss" for stem in pairs):
            found |= {of[letter]: (stem, split) for stem, of in pairs.items() for letter, split in (("t", "train"), ("v", "val"))}
    return found


def names_a_loss(key: str) -> bool:
    """Whether a key speaks of a loss, whole or in part: `train_losses`, `G_loss`, `d_adv_loss`."""
    return not {"loss", "losses"}.isdisjoint(words(key))


def plainness(key: str) -> int:
    """How directly a key says its quantity, less is plainer: `loss` before `nll_loss`, `lr-Adam` before `lr-Adam/pg1`."""
    parts = words(key)
    _, rest = _split_and_rest(parts)
    quantity, rank = _quantity(rest)
    return rank if quantity else len(parts)


def reduction_of(key: str) -> Reduction:
    """What a key says about its values: `train_loss_step`, `epoch_loss`, `running_loss`; an evaluation is a mean over a set."""
    parts = words(key)
    said, _ = _split_and_rest(parts)
    if said in ("val", "test") or "epoch" in parts[:1] + parts[-1:]:
        return Reduction.EPOCH
    if not {"running", "moving", "smoothed", "smooth", "ema", "ave"}.isdisjoint(parts):
        return Reduction.RUNNING
    if len(parts) > 1 and ("step" in parts[-1:] or "batch" in parts[:1]):
        return Reduction.STEP
    return Reduction.UNKNOWN


def series_names(keys: Iterable[str], split: str = "", aliases: Mapping[str, str] | None = None) -> dict[str, str]:
    """Canonical names of all keys of one source, where one may decide another.

    Of several keys with one name and one reduction the plainest keeps it and the rest become "other/<key>"; a split with a
    single loss-like key and no total takes that key for its loss; a single named evaluation set is the validation set; what
    neither split claims is measured on the validation set; `time` beside `data_time` is that of a step.
    """
    keys = list(dict.fromkeys(keys))
    told = {key: twin for key, twin in twins(keys).items() if key not in (aliases or ())}
    names = {key: series_name(*told[key]) if key in told else series_name(key, split, aliases) for key in keys}
    groups: dict[tuple[str, Reduction], list[str]] = {}
    aliased = {name for key, name in names.items() if aliases and key in aliases}
    names.update({key: f"other/{key}" for key, name in names.items() if name in aliased and not (aliases and key in aliases)})
    for key, name in names.items():
        if not name.startswith("other/"):
            groups.setdefault((name, reduction_of(key)), []).append(key)
    for group in groups.values():
        if len(group) > 1:
            plainest = min(group, key=plainness)
            names.update({key: f"other/{key}" for key in group if key != plainest})
    sets: dict[str, list[str]] = {}
    for key, name in names.items():
        if name.startswith("val."):
            sets.setdefault(name.partition("/")[2], []).append(key)
    for quantity, group in sets.items():
        if len(group) == 1 and f"val/{quantity}" not in names.values():
            names[group[0]] = f"val/{quantity}"
    lonely: dict[str, list[str]] = {}
    known_parts: Counter[str] = Counter()
    for key, name in names.items():
        parts = words(key)
        said, rest = _split_and_rest(parts)
        if name.startswith("other/") and "loss" in rest and OTHER.isdisjoint(parts) and ("scale" not in parts or parts[-1] == "loss"):
            where = said or split or "train"
            if PARTS.isdisjoint(parts):
                lonely.setdefault(where, []).append(key)
            else:
                known_parts[where] += 1
    if not any(name.endswith("/loss") for name in names.values()):  # `epoch,train,val`: what a table of nothing but splits holds
        alone = {key: words(key)[0] for key in keys if len(words(key)) == 1 and key not in (aliases or ())}
        bare = {key: SPLIT_WORDS[word] for key, word in alone.items() if word in SPLIT_WORDS}
        bare.update({key: "train" for key, word in alone.items() if word == "fit" and set(bare.values()) == {"val"}})
        names.update({key: f"{where}/loss" for key, where in bare.items()} if len(set(bare.values())) == len(bare) > 1 else {})
    known = Counter(names.values())
    for where, group in lonely.items():
        if len(group) == 1 and not known[f"{where}/loss"] and known_parts[where] < _MANY_PARTS:
            names[group[0]] = f"{where}/loss"
    if not split:
        names.update(of_validation(names))
    names.update(of_episodes(names))
    if "step_time" not in names.values():
        names.update({key: "step_time" for key in keys if key not in (aliases or ()) and _beside_data_time(key, names)})
    if "step_time" in names.values() and "data_time" not in names.values():  # `Time 0.31 Data 0.02`
        names.update({key: "data_time" for key in keys if key not in (aliases or ()) and key.rpartition("/")[2].lower() == "data"})
    return names


def of_episodes(names: Mapping[str, str]) -> dict[str, str]:
    """What counts episodes calls their return a score: the new names of such keys.

    names : canonical name by key.
    """
    counted = any(words(key) in (("episode",), ("episodes",)) for key in names)
    return {key: "reward" for key, name in names.items() if name == "train/score"} if counted and "reward" not in names.values() else {}


def _beside_data_time(key: str, keys: Iterable[str]) -> bool:
    """`time` beside `data_time`, as mmengine, detectron2 and torchvision's references print: what a step took, and what of it waited for data."""
    before, _, last = key.rpartition("/")
    return last.lower() == "time" and any(k.rpartition("/")[0] == before and k.rpartition("/")[2].lower() in ("data_time", "data") for k in keys)


def of_validation(names: Mapping[str, str]) -> dict[str, str]:
    """Beside a `train_loss` and a `val_loss`, or a `test_loss` alone, a figure of merit of neither (`accuracy`, `AUC`) is that set's: the new
    names of such keys.

    names : canonical name by key.
    """
    said = {name for key, name in names.items() if _split_and_rest(words(key))[0]}
    of = next((of for of in ("val", "test") if f"{of}/loss" in said), "")
    if not of or "train/loss" not in said:
        return {}
    merits = {key: f"{of}/{name.removeprefix('train/')}" for key, name in names.items() if name.startswith("train/") and name not in said}
    return {key: name for key, name in merits.items() if name not in said and not name.endswith("/loss")}
