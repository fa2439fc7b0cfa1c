"""What the numbers of a line mean, told from its shape alone: step, epoch, counter and total, or the value of a key.

A shape is cut at its numbers. The text before a number, cut at separators, ends in the number's key; earlier pieces and
words of the key may name a split ("train", "val") that governs what follows. What comes out is a `Plan`, made once a shape.
"""

import re
from dataclasses import replace

from postmortem.sources.logs.text.counters import Counters
from postmortem.sources.logs.text.keys import Role, is_noise, role_of, split_in
from postmortem.sources.logs.text.leads import (
    CODE,
    COUNTER_KEY,
    EPOCH_AFTER,
    MAX_KEY,
    MILLI,
    MULTIPLE,
    PER,
    SECONDS,
    SPEED,
    key_of,
    plain_end,
    plain_key,
)
from postmortem.sources.logs.text.naming import Keyed, name_of
from postmortem.sources.logs.text.plans import EMPTY, NO, Plan
from postmortem.sources.logs.text.tidy import is_aside, tidied, unquoted
from postmortem.sources.logs.text.tokens import MOMENT, NUMBER
from postmortem.sources.names import series_name, words

# `Saved model at epoch 3 with loss: 3.67`: where, and what it says of the loss.
_SAVED = re.compile(
    rf"^[^{NUMBER}]{{0,60}}\bsav(?:ed|ing)\b[^{NUMBER}]{{0,60}}?\b((?:epoch|step|iter(?:ation)?)[ :=#]{{0,2}}{NUMBER})[ ,;]{{1,2}}(?:with|at) "
    rf"((?:\w+ ){{0,2}}loss[ :=]{{0,3}}{NUMBER})\W*$",
    re.IGNORECASE,
)
_SEPARATOR = re.compile(r"(\||;|\t|,|\(|\)|\[|\]|\{|\}| - | -$| -- |--> |  | > |=> |>> |\. |\* |\x02)")
_STRONG = {"|", ";", "\t", " - ", " -", " -- ", ")", "]", "}", "  "}
_HEADING = re.compile(
    rf"^[^A-Za-z{NUMBER}]*(?:[A-Z][a-z]{{2}} [A-Z][a-z]{{2}} {{1,2}}{MOMENT} ?\]?\s*)?"
    rf"[A-Za-z]{{3,12}}(?: [a-z]{{3,12}},)?(?: at| of| for)? epoch ?[:#=]? ?[\[(]?{NUMBER}(?:/{NUMBER})?[^A-Za-z{NUMBER}]*$",
    re.IGNORECASE,
)
_UNTRAINED = re.compile(r"\b(?:untrained|before training)\b", re.IGNORECASE)
_MARKED = re.compile(r"(?:[:=]|->)\s*[\[(]?\s*$")
# `| INFO     | yolox.core.trainer:after_iter:246 - `: the module, the function and the line of the program that loguru prints.
_LOGURU = re.compile(r"\| (?:TRACE|DEBUG|INFO|SUCCESS|WARNING|ERROR|CRITICAL) {0,8}\| [\w.<>]{1,100}(?::[\w<>]{1,80})?:$")
# `step  10/614 - loss: 0.1637 - acc: 0.52`: Paddle's Model.fit, below a line `Epoch 1/10`, and its evaluation below another. With
# `verbose=1` a bar stands behind the total.
_HAPI = re.compile(rf"^\s*step\s*{NUMBER}\s?/\s?{NUMBER} (?:\[====\] )?- [a-z]")
_OF = re.compile(r"^\s*(?:/|of|out of)\s*$")
_STATEMENT = re.compile(r"^\s*return\s*$")  # of a program that a warning quotes
_KERAS = re.compile(f"^{NUMBER}/(?:{NUMBER}|Unknown) (?:\\[[^\\]]{{0,80}}\\]|====|-)? ?(?:- )?")
_KERAS_SIGN = re.compile(
    rf"====|\[[^\]]{{0,80}}\]|- ETA|- ?{NUMBER}[mµu]?s\b|{NUMBER}[mµu]?s/(?:step|epoch|sample)"
)  # and not `100/1000 loss: 2.5`, a record of its own
_UNIT = re.compile(r"^(?:[A-Za-zµ%][\w/%]*|/s(?:/[a-z]{1,8})?(?![\w/]))")
_ENDS = re.compile(
    r"%?\s{0,8}(?:[,;|\])]|$)|%?\s{1,8}(?:tr|train|va|val|valid|dev|test|acc|accuracy|loss|lr|f1|auc|mae|time|total|best)\b", re.IGNORECASE
)
_DURATION = re.compile(r"^(?:[mµu]?s|m|min|h)(?![A-Za-z])")  # `Step: 50ms`, `Step: 1s500ms`: how long, not which
_MEAN = re.compile(r"^ ?\(\)")
# `0: loss 2.5`, `[10]<tab>train-logloss:0.4` of XGBoost, `100 [D loss: 0.5] [G loss: 0.6]`, `1 train loss: 2.5 test acc: 50%`
_AFTER_LEAD = re.compile(r"^(?:\s?[:|]\s*\D|\]\t[A-Za-z]| \[[A-Za-z]| (?:train|valid|val|test)\w* (?:loss|acc))")
_AFTER_HASH = re.compile(r"^ [a-z]")  # `#385 loss 2.5`
_SPEED_OF = re.compile(r"^\s?(m?)s(?:ec)?/(?:it|itr|iter|step|batch)\b")  # a speed in that unit is a time
_NEXT_EPOCH = re.compile(r"^\s*(?:[|-]\s*)?epoch\s*[:=#]?\s*[\[(]?$", re.IGNORECASE)  # names the number behind it, not the one before
_COUNTED = re.compile(r"^ ?(steps?|iters?|iterations?|batches)(?=\s?[|,;)\]])")
_KEY_GOES_ON = re.compile(r"^ ?[:=]$")
_TIMES = {"k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
_SPACED_UNIT = re.compile(r"^ (?:[A-Za-z]{1,20}/s(?:ec(?:ond)?)?|m?s(?:ec)?/(?:it|iter|step|batch))(?=[\s,)\]]|$)")
# What is said of the pace of training, the unit behind the number: `0.2 s/it, 12k tok/s`.
_PACE = re.compile(
    r"^(?:[kKM](?= ?[a-z]))?\s?((?:(?:it|iter|step|sample|word|image|img|sent|sequence)s?|tok(?:en)?s?|batch(?:es)?)/s(?:ec(?:ond)?)?|"
    r"m?s(?:ec)?/(?:it|iter|step|batch))(?=[\s,|;)\]]|$)"
)
_OWN_UNIT = re.compile(
    r"^(?:%[^|]{0,20}| ?(?:[mµu]?s|sec|min|h|[KMG]i?B|[kKM]? ?[A-Za-z]{1,12}/s(?:ec)?) ?)\|"
)  # `| 345.67 ms | 45.6% MFU | `: of the number before it
_AFTER = re.compile(rf"^[^A-Za-z{NUMBER}]{{0,20}}after{NUMBER} ?epochs[^A-Za-z{NUMBER}]{{0,20}}$", re.IGNORECASE)  # a heading: how many are done
_EPOCHS = re.compile(r"^\s*(?:train(?:ing)?\s)?epochs?(?: on \w{2,10})?\s*:?\s*$", re.IGNORECASE)
_OF_EPOCHS = re.compile(rf"(?:{NUMBER}(?:s/|\s?)|\?)epochs?(?:/s)?(?=[,\]])")  # the unit of a bar
_OF_PERCENT = re.compile(r"^%,?\s{0,3}[(\[]\s?$")  # `54.4% (5445 / 10000)`


# `group 1 [n = 200]: loss 0.5`, `class cat: loss 0.5`, `y = landbird, place = land  [n = 3498]: acc = 0.9`: of some samples of a set. With a
# place in training such a line is one of its own; without, it stands among others about the whole.
_MEASURED = ("train/", "val/", "test/")
_GROUPS = "class|(?:sub)?group|category|domain|subject|label|attribute|slice|bucket|cluster"
_OF_A_GROUP = re.compile(
    rf"^(?:[^A-Za-z{NUMBER}]{{0,80}}|.{{1,80}}(?: - |\]:? ?|INFO:? ?))(?:{_GROUPS})(?:[ _](?:id|idx|name))?[ _]?[:=#]? ?"
    rf"(?:{NUMBER}|[\w-]{{1,40}}(?:{NUMBER}|(?=\s?[:|,\[(-])))\s?(?:[\[(][^\])]{{0,40}}[\])])?\s?[:|,-]?\s{{0,4}}[A-Za-z]|"
    rf"\[ ?n ?={NUMBER} ?\]:?\s{{0,4}}[A-Za-z]",
    re.IGNORECASE,
)
_PAIRS = re.compile(
    rf"^\[{NUMBER}/{NUMBER}\]\s?\[{NUMBER}/{NUMBER}\]|^\[{NUMBER},\s*{NUMBER}\]|^\[{NUMBER}:{NUMBER}/{NUMBER}\]|^\[{NUMBER} :{NUMBER}\]"
)


def plan_of(shape: str) -> Plan:
    """Understand a shape. `EMPTY` when none of its numbers has a role."""
    if NUMBER not in shape:
        return EMPTY
    saved = _SAVED.search(shape) if "sav" in shape.lower() else None
    if saved:
        return replace(plan_of(f"{saved[1]} {saved[2]}"), spare=True)
    text = unquoted(shape)
    if is_aside(shape) or (not shape.isascii() and is_aside(text)):
        return EMPTY
    keras = _KERAS.match(text) and _KERAS_SIGN.search(text)
    mapping = "{" in text
    text = tidied(text)
    return _Reading(text, mapping=mapping, bar=keras is not None).plan()


class _Reading(Counters):
    """One pass over a shape, number by number."""

    def __init__(self, text: str, *, mapping: bool, bar: bool) -> None:
        super().__init__(text.split(NUMBER), mapping=mapping, bar=bar and not mapping)
        self.parts_text = text
        self.piece_split = ""
        self.paces: list[Keyed] = []  # values named by their unit
        self.beside = NO  # a number whose key has another number in it
        self.brackets = False
        self.quantity, self.quantity_at = "", NO  # that stands before numbers which only their split names, and the last of these
        self.endless = f"{NUMBER}it [{MOMENT}" in text  # a bar that knows no end
        self.tqdm = "%||" in text or self.endless
        self.hapi = bool(_HAPI.match(text))
        self.drawn = self.tqdm or self.hapi or self.bar or "====" in text or f"<{MOMENT}" in text
        self.epoch_bar = self.tqdm and bool(_EPOCHS.match(self.parts[0]) or _OF_EPOCHS.search(text))

    def plan(self) -> Plan:
        for index in range(len(self.parts) - 1):
            lead, trail = self.parts[index], self.parts[index + 1]
            key, splits = plain_key(lead) if index and index != self.beside and plain_end(trail) else ("", False)
            if key:
                self.pending.append((index, key, "" if splits else self.piece_split or self.line_split, True, False))
                self.last = ("value", index)
            else:
                self._number(index, lead, trail)
        slot = self.slots
        self.epoch_bar = self.epoch_bar and "epoch" not in slot and "batch" in slot
        if self.epoch_bar:
            slot["epoch"], slot["epoch_total"] = slot.pop("batch"), slot.pop("batch_total", NO)
        if _PAIRS.match(self.parts_text) and not {"epoch", "step", "iteration"} & slot.keys():
            slot["epoch"], slot["batch"] = 0, 1
            if self.parts_text[2] == "/":
                slot.update(epoch_total=1, batch=2, batch_total=3)
            elif self.parts_text[2] == ":":
                slot.update(batch_total=2)
        self.promote()
        if self.hapi and "step" in slot and "batch" not in slot:
            slot["batch"], slot["batch_total"] = slot.pop("step"), slot.pop("step_total", NO)
        if slot.keys() - {"rank"}:
            self.pending += self.paces
        values = self.named()
        paired = self.keyless and not self.bar and not self.tqdm and {"train", "val"} <= {v.name.partition("/")[0] for v in values}
        split = self.line_split or split_in(self.parts[-1].split("|")[0]) if self.mapping else self.line_split
        if not slot.keys() - {"rank"} and (not values or (_OF_A_GROUP.search(self.parts_text) and any(v.name.startswith(_MEASURED) for v in values))):
            return EMPTY
        return Plan(
            values=values,
            step=slot.get("step", NO), step_total=slot.get("step_total", NO), epoch=slot.get("epoch", NO), epoch_total=slot.get("epoch_total", NO),
            batch=slot.get("batch", NO), batch_total=slot.get("batch_total", NO), rank=slot.get("rank", NO), split=split,
            bar=self.bar, samples=self.samples, mapping=self.mapping, brackets=self.brackets, progress=self.tqdm or self.hapi, weak=self.weak,
            keyless=self.keyless, overall=self.overall, paired=paired, heads=bool(_HEADING.match(self.parts_text)),
            untrained=bool(_UNTRAINED.search(self.parts_text)),
            done=self.epoch_bar, announces=split in ("val", "test") and self.parts_text.rstrip().endswith("output:" if values else ":"),
            drawn=self.tqdm or self.hapi or (self.keyless and "====" in self.parts_text),
        )  # fmt: skip

    def _govern(self, piece: str) -> None:
        split = split_in(piece)
        if split:
            self.line_split = split
            self.piece_split = ""

    def _number(self, index: int, lead: str, trail: str) -> None:
        if index == self.beside:
            self.last = ("", index)
            return
        percent = trail.startswith("%")
        if self.endless and trail.startswith("it ["):
            self.take(Role.BATCH.value, index)
            return
        if not index and _AFTER.match(self.parts_text):
            self.take("epoch", index)
            return
        if not index and _LOGURU.search(lead):
            self.last = ("", index)
            return
        spaced = _SPACED_UNIT.match(lead) if index else None
        if spaced:  # `500.4 samples/sec 12345.6 tokens/sec`
            lead = lead[spaced.end() :]
        counted = _COUNTED.match(lead) if index and self.slots.get("batch_total", NO) == index - 1 else None
        if counted:  # `100/ 1000 steps| loss 5.1`
            lead = lead[counted.end() :]
            if counted[1].startswith("step"):
                self.slots["step"], self.slots["step_total"] = self.slots.pop("batch"), self.slots.pop("batch_total")
        if index and _UNIT.match(lead):
            lead = _UNIT.sub("", lead, count=1)
            if _OF.match(lead):
                self.last = ("", index)
                return
        if _OF.match(lead) and self.last[1] == index - 1 and index:
            self.total(index)
            return
        pieces = _SEPARATOR.split(lead)
        if any(s in _STRONG for s in pieces[1::2]):
            self.piece_split = ""
        for piece in pieces[:-1:2]:
            self._govern(piece)
        key = pieces[-1]
        bracketed = False
        if not key.strip(" :=") and len(pieces) > 2 and pieces[-2] in "([":
            bracketed = True
            key = pieces[-3]
            if index and len(pieces) == 3 and not key.strip():
                key = ""
        marked = bool(_MARKED.search(lead)) or bracketed
        if len(pieces) == 3 and pieces[1] == "|" and not key.strip() and pieces[0].strip() and not _OWN_UNIT.match(self.parts[index]):
            key = pieces[0]
        if len(pieces) >= 3 and pieces[-2] == "|" and not key.strip() and (not index or (index == 1 and not trail)):  # "| loss | 8.8 |"
            key, marked = pieces[-3], True
        key, before = key_of(key)
        if before:
            self._govern(before)
        key = self._of_quantity(index, key, before)
        self._assign(index, key, lead, trail, marked=marked, percent=percent, bracketed=bracketed)

    def _of_quantity(self, index: int, key: str, before: str) -> str:
        """`loss: train 4.2, val 3.9; acc: train 0.4`: the key of a number that only its split names, behind the name of the quantity."""
        if not key or not split_in(key) or len(words(key)) != 1:
            return key
        if before and not split_in(before) and not self.mapping and not name_of(before.strip(), "")[0].startswith("other/"):
            self.quantity = before.strip()
        elif before or index - 1 != self.quantity_at:
            self.quantity = ""
        if not self.quantity:
            return key
        self.quantity_at = index
        return f"{key} {self.quantity}"

    def _assign(self, index: int, key: str, lead: str, trail: str, *, marked: bool, percent: bool, bracketed: bool) -> None:
        pace = None if key or self.drawn or self.mapping else _PACE.match(trail)
        if pace:
            self.paces.append((index, pace[1], "", False, False))
            self.multiples[index] = _TIMES.get(trail[0], 1.0)
            self.last = ("value", index)
            return
        if not key:
            first = index == 0 and not lead.strip(f" {MOMENT}[]-|,#")
            if EPOCH_AFTER.match(trail) and "epoch" not in self.slots and not (index + 2 < len(self.parts) and _NEXT_EPOCH.match(trail)):
                self.take("epoch", index)  # "1epoch results: …"
            elif first and (_AFTER_LEAD.match(trail) or (lead == "#" and _AFTER_HASH.match(trail))) and not percent and "|" + trail[:1] != "||":
                self.take("lead", index)
            else:
                counted = percent or _OF_PERCENT.match(self.parts[index])
                self.last = ("free" if not counted else "", index)
            return
        if trail.startswith("%||"):  # how much of a bar is drawn
            self._govern(key)
            self.last = ("", index)
            return
        role = role_of(key)
        if (
            len(key) > MAX_KEY
            or CODE.search(key)
            or (not index and _STATEMENT.match(lead))
            or (role is None and lead.endswith(":") and trail.startswith(")") and "(" in lead[-40:] and name_of(key, "")[0].startswith("other/"))
        ):
            self.last = ("", index)
            return
        if role is None and not PER.search(key) and len(key.split()) <= 5:
            counter = COUNTER_KEY.search(key)
            role = role_of(counter[1]) if counter else None
        if role is None and not bracketed and split_in(key) and len(words(key)) == 1 and _ENDS.match(trail):  # "Train: 0.82, Val: 0.51"
            self.bare.append((index, key, percent, self._continued(index, split_in(key))))
            self.last = ("value", index)
            return
        if role is None and split_in(key) and all(split_in(w) for w in words(key)):  # "Test: [ 48/48]", "Train: 12 [ 100/1251]"
            self._govern(key)
            following = re.match(r"^\s?\[", trail)
            self.take("epoch" if following and not bracketed else "free", index)
            return
        if (
            role is None
            and EPOCH_AFTER.match(trail)
            and "epoch" not in self.slots
            and (trail.startswith("epoch") or re.match(r"(?i)finish|complet|end of|after", key))
        ):
            role = Role.EPOCH
        if role is not None:
            evaluating = role in (Role.ITERATION, Role.BATCH) and split_in(key) in ("val", "test") and not trail and index + 2 == len(self.parts)
            if percent or _DURATION.match(trail) or evaluating:  # `Eval iter: 100`
                self.last = ("", index)
                return
            if role == Role.EPOCH and bracketed and "/" not in trail[:2] and re.search(r"(?::\s?|\w)\[$", lead):
                self.brackets = True
            self._govern(key)
            self.take(role.value if role == Role.EPOCH or split_in(key) not in ("val", "test") or "/" not in trail[:2] else "", index)
            return
        if (SPEED.match(trail) and series_name(key) == "lr") or (SECONDS.match(trail) and words(key) == ("cost",)):  # `rate:1.4s/it`, `Cost: 9 sec`
            self.last = ("", index)
            return
        slow = _SPEED_OF.match(trail) if series_name(key) == "throughput" else None
        key = f"{slow[1]}s/it" if slow else key  # `speed: 0.05s/iter`
        goes_on = not marked and not percent and _KEY_GOES_ON.match(trail) and index + 2 < len(self.parts)
        if goes_on and not self.parts[index + 2].startswith("%||"):  # `AP .5: 0.9`: the number is of the key; not `loss 0.5: 40%|███`
            self.beside = index + 1
            self.last = ("", index)
            return
        split = split_in(key)
        if split and len(words(key)) > 1 and " " in key:
            self.piece_split = split
        self.of_best = self.of_best or (not self.pending and words(key)[:1] == ("best",))
        if is_noise(key) or (not trail and _MEAN.match("".join(self.parts[index + 2 : index + 4]))):  # "Prec@1 05 4.2 (4.1)": which, not how much
            self.last = ("", index)
            return
        if key.lower() == "episode" and self.episode == NO:
            self.episode = index
        if multiple := MULTIPLE.match(trail):
            self.multiples[index] = _TIMES[multiple[0]]
        elif MILLI.match(trail) and "ms" not in words(key) and name_of(key, "")[0] in ("step_time", "data_time"):
            self.multiples[index] = 1e-3
        self.pending.append((index, key, "" if split else self.piece_split or self.line_split, marked, percent))
        self.last = ("value", index)

    def _continued(self, index: int, split: str) -> str:
        """`loss train: 4.2, val: 3.9`: the quantity of the key right before, if that names another split; "" for none."""
        before, key, *_ = self.pending[-1] if self.pending else (NO, "")
        said = split_in(key)
        name = name_of(key, "")[0] if before == index - 1 and not self.bare and said and said != split else ""
        return "" if name.startswith("other/") else name.partition("/")[2]
