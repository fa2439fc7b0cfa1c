"""Habits that name nothing: their shapes are known by heart. Tried before the grammar."""

import re

from postmortem.sources.logs.text.keys import split_in
from postmortem.sources.logs.text.plans import NO, Plan, Slot
from postmortem.sources.logs.text.tokens import MOMENT, NUMBER
from postmortem.sources.logs.text.unnamed import NAMELESS
from postmortem.sources.names import series_name
from postmortem.sources.vocabulary import PARTS

_N = NUMBER
# ` 100: 1200.1, 1300.2 avg loss, 0.0001 rate, 2.1 seconds, 6400 images`; newer forks print the epoch after the step.
_DARKNET = re.compile(rf"^\(?(?:next mAP [^)]*\)\s*)?{_N}(,{_N})?:{_N},{_N} avg(?: loss)?,{_N} rate\b")
# `0/299 11.8G 0.069 0.031 0 0.10 30 640 P R mAP50 mAP val_box val_obj val_cls`: results.txt of YOLOv5 to v7, no header.
_YOLO_LINE = re.compile(rf"^{_N}/{_N}\s*{_N}G{_N}{{6,16}}$")
# `all 7866 9060 0.694 0.879 0.731 0.555` below `Class Images Instances Box(P R mAP50 mAP50-95)`; of a segmenter, the masks' four behind.
_YOLO_ALL = re.compile(rf"^all{_N}{{6}}(?:{_N}{{4}})?$")
# `mean_average_precision (mAP@0.50) = 0.45`, before it `mean average precision (mAP@0.50) = 0.45, or 45.00 %` of darknet.
_MEAN_AP = re.compile(rf"^mean[_ ]average[_ ]precision \(mAP@[\d.]+\) ={_N}(?:, or{_N} %)?$")
# `***** Evaluating perplexity, Epoch 0/16 *****` of DeepSpeed-Chat: how many epochs are done.
_EVALUATING = re.compile(rf"^\*{{3,8}} Evaluating [\w ]{{1,40}}, Epoch{_N}/{_N} \*{{3,8}}$")
# `Iteration 20 (1.02 iter/s, 19.4s/20 iters), loss = 6.9`
_CAFFE_SCORE = re.compile(rf"\bTest score #{_N}:{_N}$")
_CAFFE_NET = re.compile(rf"(Train|Test) net output #\d+: (\w+) ={_N}")
# `all 0.625 0.9375` below `classes top1_acc top5_acc`.
_YOLO_CLASSES = re.compile(rf"^all{_N}{_N}$")
# What pycocotools prints of an evaluation; the first line's AP, over all thresholds and sizes, is the score.
_COCO = re.compile(rf"Average (Precision|Recall) +\((?:AP|AR)\) @\[ ?IoU={_N}(:{_N})? +\| area= *(\w+) +\| maxDets= *{_N} ?\] ?={_N}$")
# `copypaste: 38.1,58.1,…` of detectron2, for pasting into a spreadsheet.
_COPYPASTE = re.compile(rf"copypaste:{_N}((?:,{_N}){{2,5}})$")
_COPIED = ("AP", "AP50", "AP75", "APs", "APm", "APl")
# `Average objective function for 'output' for minibatches 10-19 is -2.1 over 5120 frames.`
_KALDI = re.compile(rf"(Overall average|Average) objective function for '([\w-]+)'(?: for minibatches{_N}-{_N})? is{_N} over{_N} frames")
# `After 2000 sequences (2.5Hr): Obj(log[Pzx]) = -34.1   TokenAcc = 65.5%` of Eesen, of the last so many sequences or at the end of a pass
_EESEN = re.compile(rf"After{_N} sequences \({_N}Hr\): Obj\(log\[Pzx\]\) ={_N}\s+TokenAcc ={_N}%$")
# `Score at iteration 900 is 1.156`: DL4J calls the loss so.
_SCORE_AT = re.compile(rf"(?:^|[\s\]:-])(score|loss|cost) (?:at|after|in) (iteration|iter|step|epoch){_N}(?: is|:| =)?{_N}$", re.IGNORECASE)
# `Loss after 3 epochs: 0.024`
_LOSS_AFTER = re.compile(rf"(?:^|[\s\]:-])(loss|cost) after{_N} (iteration|iter|step|epoch)s?(?: is|:| =)?{_N}$", re.IGNORECASE)
# `At iteration 640/900/900, mean rms=5.1%, delta=30.1%, BCER train=99.9%, …`: Tesseract, by improvements, steps and samples.
_TESSERACT = re.compile(rf"^At iteration{_N}/{_N}/{_N}, (?:Mean|mean) rms={_N}%, delta={_N}%, (?:BCER|char) train={_N}%")
# `[10:00:00][#000100][0500ms][2.5000][3.5000]` of DeepFaceLab: the iteration, what it took, the losses of the source and of the destination.
_FACES = re.compile(rf"^\[{MOMENT}\]\[#{_N}\]\[{_N}(m?s)\]((?:\[{_N}\]){{2,4}})$")
# `0m 25s (- 6m 23s) (5000 6%) 2.8500`, `[0m 6s (50 8%) 2.7559]` of char-rnn, `5000 5% (0m 5s) 2.2208 Ivanov / Russian ✓`:
# PyTorch's tutorials on translation and on names, and what was made of them.
_CLOCKED = re.compile(rf"^\[?{_N}[ms]?(?:{_N}s)?(?: \(- ?{_N}[ms](?:{_N}s)?\))? \({_N}{_N}%\){_N}\]?$|^{_N}{_N}% \({_N}m{_N}s\){_N} .{{1,80}}[✓✗]")
# `250 val 3.2755`: the steps, sets and losses of build-nanogpt and llm.c.
_STEP_SET_LOSS = re.compile(rf"^{_N} (train|val|test){_N}$")
# `0:\t2.512345` of WaveGlow and Flowtron, `iter 25: 7.15` of NeuralTalk2: a step and what nobody names.
_NAMELESS = re.compile(rf"^(?:iter(?:ation)? ?)?{_N}:{_N}$", re.IGNORECASE)
# `INFO :      \t\tround 3: 1.95`: Flower's history at the end; round 0 is before training.
_HISTORY = re.compile(rf"(?:^|\s)round{_N}:{_N}$")
# `logging_writer.py:35] [10] train_loss=0.668, steps_per_sec=0.4`: the writer of clu, which JAX trainings log with.
_CLU = re.compile(rf"\blogging_writer\.py:{_N}\] \[{_N}\] ((?:[\w/.@-]{{1,80}}={_N}(?:, |$)){{1,60}})$")
_CLU_PAIR = re.compile(rf"([\w/.@-]{{1,80}})={_N}")
# `[2.9, 2.4, 2.1, 31.2, 1.1, 3.5, 600, 0.0002]` of VITS, `[600, 0.0001]` of RVC: losses, the step and the learning rate, in a logger's line.
_VITS = re.compile(rf"(?:^INFO:[\w.-]{{1,80}}:|^{MOMENT}[\s|][^\[]{{0,120}}\bINFO[\s|:-]{{1,4}})\[((?:{_N}, ?){{1,9}})?{_N}, ?{_N}\]$")
_VITS_LOSSES = ("loss_disc", "loss_gen", "loss_fm", "loss_mel", "loss_dur", "loss_kl")

# `Epoch 0, global step 352: 'val/accuracy' reached 0.162 (best 0.162), saving model to '…' as top 1`: Lightning's ModelCheckpoint.
_REACHED = re.compile(rf"^(?:\W*)Epoch{_N}, (?:global )?step{_N}:\s?'?([\w/.@-]{{1,80}})'? reached{_N} \(best{_N}\)")
# `Metric val_loss improved by 0.008 >= min_delta = 0.0. New best score: 0.046`: its EarlyStopping, which tells no step.
_IMPROVED = re.compile(rf"^Metric ([\w/.@-]{{1,80}}) improved(?: by{_N} >= min_delta ={_N})?\. New best score:{_N}$")
# `Updating learning rate to 0.0001`, `Epoch 00023: reducing learning rate of group 0 to 1.0000e-04.`, `lr decreased from 1e-4 to 1e-5`,
# `The new learning rate is 0.0003`: what it is from there on. The number of the epoch is left alone: it counts calls of the scheduler.
_LR = r"(?P<key>learning[ _-]rate|lr)"
_CHANGED = "set|updat|adjust|reduc|decreas|decay|lower|dropp|chang|increas|anneal|halv"
_RATE_SET = re.compile(
    rf"\b(?:(?:{_CHANGED})(?:t?ing|e?d) (?:the )?(?:current )?{_LR}(?P<group> of (?:parameter |param )?group{_N})?|"
    rf"{_LR.replace('key', 'key2')} (?:is |was |has been |is now )?(?:(?:re)?set|(?:{_CHANGED})e?d))(?: from{_N})?(?: to| ->| =>|:| at){_N}\W*$|"
    rf"\b(?:new|updated|adjusted|reduced|decayed) {_LR.replace('key', 'key3')}(?: is|:| =| ->){_N}\W*$|"
    rf"^\W*{_LR.replace('key', 'key4')}{_N} ->{_N}\W*$",
    re.IGNORECASE,
)


def special(shape: str) -> Plan | None:
    """The plan of a shape known by heart, None for any other."""
    match = _DARKNET.match(shape) if " rate" in shape else None
    if match:
        k = 1 if match[1] else 0
        values = (Slot(k + 1, "train/loss", "loss"), Slot(k + 2, "other/avg loss", "avg loss"), Slot(k + 3, "lr", "rate"))
        return Plan(values=values, step=0)
    if shape.count(_N) == 16 and _YOLO_LINE.match(shape):
        names = (
            (3, "other/train/box_loss", "train/box_loss"), (4, "other/train/obj_loss", "train/obj_loss"),
            (5, "other/train/cls_loss", "train/cls_loss"),
            (6, "train/loss", "train/total_loss"), (9, "other/metrics/precision", "metrics/precision"),
            (10, "other/metrics/recall", "metrics/recall"),
            (11, "val/score", "metrics/mAP_0.5"), (12, "other/metrics/mAP_0.5:0.95", "metrics/mAP_0.5:0.95"),
            (13, "other/val/box_loss", "val/box_loss"), (14, "other/val/obj_loss", "val/obj_loss"), (15, "other/val/cls_loss", "val/cls_loss"),
        )  # fmt: skip
        return Plan(values=tuple(Slot(*n) for n in names), epoch=0, epoch_total=1)
    return (
        _written(shape)
        or _listed(shape)
        or _evaluation(shape)
        or _net_output(shape)
        or _objective(shape)
        or _sequences(shape)
        or _watched(shape)
        or _rate(shape)
        or _unnamed(shape)
    )


def _written(shape: str) -> Plan | None:
    """Step and values as clu writes them."""
    match = _CLU.search(shape) if "logging_writer" in shape else None
    if match is None:
        return None
    at = shape[: match.start(1)].count(_N)
    keys = _CLU_PAIR.findall(match[1])
    return Plan(values=tuple(Slot(at + n, series_name(key, split_in(key)), key) for n, key in enumerate(keys)), step=at - 1)


def _listed(shape: str) -> Plan | None:
    """A list without names whose last two numbers are the step and the learning rate."""
    match = _VITS.search(shape) if shape.endswith(f"{_N}]") else None
    if match is None:
        return None
    losses = (match[1] or "").count(_N)
    known = {0: (), 1: ("loss",), len(_VITS_LOSSES): _VITS_LOSSES}.get(losses)  # of other lengths nobody says what is what
    keys = (*(tuple(f"losses[{n}]" for n in range(losses)) if known is None else known), "", "lr")
    first = shape.count(_N) - len(keys)
    values = (Slot(first + n, series_name(key) if known is not None or key == "lr" else f"other/{key}", key) for n, key in enumerate(keys) if key)
    return Plan(values=tuple(values), step=first + losses)


def _watched(shape: str) -> Plan | None:
    """The metric that Lightning's callbacks go by, at the epochs in which it got better."""
    reached = _REACHED.match(shape)
    if reached:
        return Plan(values=(Slot(2, series_name(reached[1], "val"), reached[1]),), epoch=0, step=1, split="val")
    improved = _IMPROVED.match(shape)
    if improved:
        return Plan(values=(Slot(shape.count(_N) - 1, series_name(improved[1], "val"), improved[1]),), split="val", spare=True)
    return None


def _rate(shape: str) -> Plan | None:
    """The learning rate from a line on that says to what it was changed."""
    low = shape.lower()
    changed = _RATE_SET.search(shape) if "lr" in low or "learning" in low else None
    if changed is None:
        return None
    key = changed["key"] or changed["key2"] or changed["key3"] or changed["key4"]
    group = shape[: changed.end("group")].count(_N) - 1 if changed["group"] else NO
    return Plan(values=(Slot(shape.count(_N) - 1, "lr", key),), group=group)


def _unnamed(shape: str) -> Plan | None:
    """A loss that has no key of its own."""
    low = shape.lower()
    score = _SCORE_AT.search(shape) or _LOSS_AFTER.search(shape) if "score" in low or "loss" in low or "cost" in low else None
    if score and not _is_part(shape[: score.start(1)].rstrip()):
        at = shape.count(_N) - 2
        split = split_in(shape[: score.start(1)])
        value = (Slot(at + 1, f"{split or 'train'}/loss", f"{split} {score[1]}".strip()),)
        split = "" if split == "train" else split
        return Plan(values=value, epoch=at, split=split) if score[2].lower() == "epoch" else Plan(values=value, step=at, split=split)
    if _TESSERACT.match(shape):
        return Plan(values=(Slot(5, "train/error", "BCER train", percent=True),), step=1)
    clocked = _CLOCKED.match(shape)
    if clocked:
        last = clocked[0].count(_N) - 1
        return Plan(values=(Slot(last, "train/loss", "loss"),), step=last - 2 if clocked[0].removesuffix("]").endswith(_N) else 0)
    faces = _FACES.match(shape)
    if faces:
        keys = ("src_loss", "dst_loss", "src_gan_loss", "dst_gan_loss")[: faces[2].count(_N)]
        pace = Slot(1, "step_time", "iter time", times=1e-3 if faces[1] == "ms" else 1.0)
        return Plan(values=(pace, *(Slot(2 + n, f"other/{key}", key) for n, key in enumerate(keys))), step=0)
    history = _HISTORY.search(shape) if "round" in shape else None
    if history:
        at = shape.count(_N) - 2
        return Plan(values=(Slot(at + 1, "val/loss", "loss"),), epoch=at, split="val", spare=True, done=True)
    if _NAMELESS.match(shape):
        return Plan(values=(Slot(1, "train/loss", NAMELESS),), step=0, spare=True)
    of_set = _STEP_SET_LOSS.match(shape)
    if of_set:
        return Plan(values=(Slot(1, f"{of_set[1]}/loss", of_set[1]),), step=0, split="" if of_set[1] == "train" else of_set[1])
    return None


def _is_part(before: str) -> bool:
    """The words before a loss make it a part of one, or that of one player: `discriminator loss at step 100: 0.7`."""
    return before.lower().rpartition(" ")[2] in PARTS


def _evaluation(shape: str) -> Plan | None:
    """What detection prints of an evaluation."""
    coco = _COCO.search(shape) if "Average " in shape else None
    if coco:
        what = "AP" if coco[1] == "Precision" else "AR"
        whole = what == "AP" and coco[2] and coco[3] == "all"
        index = shape[: coco.end() - 1].count(_N)
        logged = what if whole else f"{what} {coco[3]}"
        return Plan(values=(Slot(index, "val/score" if whole else f"other/{logged}", logged),), split="val")
    if _YOLO_ALL.match(shape):
        keys = ("metrics/precision", "metrics/recall", "metrics/mAP50", "metrics/mAP50-95")
        values = tuple(Slot(2 + n, "val/score" if n == 3 else f"other/{key}", key) for n, key in enumerate(keys))
        return Plan(values=values, split="val")
    if _YOLO_CLASSES.match(shape):
        return Plan(values=(Slot(0, "val/accuracy", "top1_acc"), Slot(1, "other/top5_acc", "top5_acc")), split="val")
    if "average" in shape and _MEAN_AP.match(shape):
        return Plan(values=(Slot(0, "val/score", "mAP"),), split="val")
    if shape.startswith("***") and _EVALUATING.match(shape):
        return Plan(epoch=0, epoch_total=1, split="val", heads=True, done=True)
    copied = _COPYPASTE.search(shape) if "copypaste" in shape else None
    if copied:
        first = shape[: copied.start()].count(_N)
        count = 1 + copied[1].count(_N)
        values = tuple(Slot(first + n, "val/score" if key == "AP" else f"other/{key}", key) for n, key in enumerate(_COPIED[:count]))
        return Plan(values=values, split="val")
    return None


def _objective(shape: str) -> Plan | None:
    """Kaldi's nnet3: a log-likelihood per frame, of which more is better, so that the loss is what it is below 0. A pass over minibatches has a
    counter; what it came to overall is said at its end."""
    kaldi = _KALDI.search(shape) if "objective function" in shape else None
    if kaldi is None:
        return None
    index = shape[: kaldi.end()].count(_N) - 2
    key, counted = f"objective function {kaldi[2]}", "minibatches" in kaldi[0]
    value = Slot(index, "train/loss" if kaldi[2] == "output" else f"other/{key}", key, times=-1.0)
    return Plan(values=(value,), step=index - 1 if counted else NO, spare=kaldi[1] != "Average")


def _sequences(shape: str) -> Plan | None:
    """Eesen counts the sequences that it has seen; what it maximises is a log-likelihood, so that the loss is what it is below 0."""
    eesen = _EESEN.search(shape) if "TokenAcc" in shape else None
    if eesen is None:
        return None
    at = shape[: eesen.start()].count(_N)
    values = (Slot(at + 2, "train/loss", "Obj(log[Pzx])", times=-1.0), Slot(at + 3, "train/accuracy", "TokenAcc", percent=True))
    return Plan(values=values, step=at)


def _net_output(shape: str) -> Plan | None:
    net = _CAFFE_NET.search(shape) if " net output #" in shape else None
    if net:
        index = shape[: net.end() - 1].count(_N)
        split = "train" if net[1] == "Train" else "test"
        known = {"loss": "loss", "accuracy": "accuracy"}.get(net[2].lower())
        name = f"{split}/{known}" if known else f"other/{net[1]} net {net[2]}"
        return Plan(values=(Slot(index, name, f"{net[1]} net {net[2]}"),), split="test" if split == "test" else "")
    if _CAFFE_SCORE.search(shape):  # of its accuracy layer the first is the share, the second a loss
        numbers = shape.count(_N)
        return Plan(values=(Slot(numbers - 1, "test/accuracy", "Test score"),), split="test", group=numbers - 2)
    return None
