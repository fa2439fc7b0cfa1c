"""Files that say in their names of which split they are: `val.jsonl` beside `train.jsonl`, CatBoost's `test_error.tsv` beside `learn_error.tsv`,
a `valid.log`."""

import re

from postmortem.sources.reader import Candidate
from postmortem.sources.vocabulary import SPLIT_WORDS

_TRAINED = ("train", "training", "learn", "tr", "trn")
_WORD = re.compile(r"[a-z]+")
_VALIDATION = frozenset({"val", "valid", "validation", "eval", "evaluation", "dev"})
_FILLER = frozenset({"log", "logs", "loss", "losses", "history", "metrics", "results", "txt", "out", "csv", "tsv", "json", "jsonl"})


def split_of_file(candidate: Candidate) -> str:
    """The split that a file's name says its records are of: where the same name with a word for training lies beside it, or where it says nothing
    but that it is of validation. "" otherwise: `test.log` may be of a test that somebody made of training."""
    name = candidate.name.lower()
    others = {sibling.lower() for sibling in candidate.siblings}
    for word in _WORD.finditer(name):
        split = SPLIT_WORDS.get(word[0], "")
        if split in ("val", "test") and any(name[: word.start()] + other + name[word.end() :] in others for other in _TRAINED):
            return split
    words = set(_WORD.findall(name))
    return "val" if len(words & _VALIDATION) == 1 and words <= _VALIDATION | _FILLER else ""
