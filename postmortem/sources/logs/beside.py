"""Files that differ in the word for a split: `val.jsonl` beside `train.jsonl`, CatBoost's `test_error.tsv` beside `learn_error.tsv`."""

import re

from postmortem.sources.reader import Candidate
from postmortem.sources.vocabulary import SPLIT_WORDS

_TRAINED = ("train", "training", "learn", "tr", "trn")
_WORD = re.compile(r"[a-z]+")


def split_of_file(candidate: Candidate) -> str:
    """The split that a file's name says its records are of, where the same name with a word for training lies beside it; "" otherwise."""
    name = candidate.name.lower()
    others = {sibling.lower() for sibling in candidate.siblings}
    for word in _WORD.finditer(name):
        split = SPLIT_WORDS.get(word[0], "")
        if split in ("val", "test") and any(name[: word.start()] + other + name[word.end() :] in others for other in _TRAINED):
            return split
    return ""
