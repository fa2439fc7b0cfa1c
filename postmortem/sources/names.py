"""What people call the quantities that they log, mapped to one vocabulary.

Tables that a person can read and extend, and pure functions over them. A key is cut into words; words that say which split
it is and words that say nothing are taken out; what is left must be, as a whole, a phrase of the table. So `loss_scale` is
no loss, `norm1.weight` no gradient norm and `train_loss_mask` no training loss. `setting_names.py` does settings.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from postmortem.model.run import Reduction
from postmortem.sources.setting_names import SETTINGS, setting_name

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
    "validation_twins",
    "words",
]

# The vocabulary of series: <split>/<quantity> for what is measured on data, a bare name for the rest. Of several evaluation
# sets each has a name of its own: `val.<set>/<quantity>`. `score` is any figure of merit of which more is better.
QUANTITIES = ("loss", "accuracy", "perplexity", "error", "mae", "mse", "rmse", "r2", "f1", "auc", "score", "reward")
SPLITS = ("train", "val", "test")
BARE = ("lr", "grad_norm", "loss_scale", "throughput", "step_time", "epoch", "memory", "reward", "weight_norm", "update_ratio", "skipped_steps")
_SERIES_NAME = re.compile(rf"(?:(?:{'|'.join(SPLITS)})(?:\.[^/]+)?/(?:{'|'.join(QUANTITIES)})|{'|'.join(BARE)})(?:\.epoch)?|other/.+")


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _phrases(text: str) -> frozenset[str]:
    return frozenset(text.split(", "))


# Phrases of a quantity, plainest first: of several columns with one name the plainest is the one that is meant.
_QUANTITY_PHRASES: dict[str, str] = {
    "loss": (
        "loss, total loss, loss total, losses total, all loss, overall loss, "
        "loss value, trl, tel, lm loss, lm loss value, objective, cost, nll, nll loss, "
        "loss nll, "
        "cross entropy, crossentropy, cross entropy loss, ce, ce loss, loss ce, xent, xent loss, xentropy, softmax loss, loss fn, lossfn, bce, "
        "bce loss, logloss, log loss, negative log likelihood, neg log likelihood, mlm loss, clm loss, loss lm, lm nll, causal lm loss, "
        "ctc loss, ctc, mse loss, loss mse, l2 loss, mae loss, l1 loss, smooth l1 loss, huber loss, rmse loss, reconstruction mse, focal loss, "
        "learner default policy total loss, learner default policy learner total loss, learners default policy total loss, "
        "dice loss, triplet loss, contrastive loss, info "
        "nce, infonce, infonce loss, nt xent, sft loss, dpo loss, bpc, bpd, bpb, bits per char, bits per character, bits per dim, bits per byte, "
        "empirical risk, ce mean words, ce mean"
    ),
    "accuracy": (
        "accuracy, acc, acc1, acc 1, acc@1, acc@top1, top1, top 1, top@1, top1 acc, top1 accuracy, acc top1, acc top 1, accuracy top1, accuracy "
        "top 1, accuracy top@1, top 1 acc, top 1 accuracy, prec@1, prec1, prec 1, precision@1, accuracy@1, accuracy 1, categorical accuracy, "
        "sparse categorical accuracy, binary accuracy, multiclass accuracy, classification accuracy, cls acc, token acc, token accuracy, mean "
        "token accuracy, mlm acc, lm acc, masked accuracy, word acc, char acc, pixel acc, pixel accuracy, acc seg, a acc, aacc, acc pose, oa, "
        "overall accuracy, balanced accuracy, balanced acc, acc score, accuracy score, exact accuracy, correct rate, "
        "class accuracy"
    ),
    "perplexity": "perplexity, ppl, lm loss ppl, loss ppl, ppl loss, lm ppl, word ppl, token ppl, perp, word perplexity",
    "error": (
        "error, err, err1, err@1, top1 err, top1 error, top 1 err, top 1 error, error rate, err rate, error top1, err top1, classification "
        "error, wer, cer, per, ter, eer, word error rate"
    ),
    "mae": "mae, mean absolute error, l1, abs error",
    "mse": "mse, mean squared error, l2 error, squared error, mse scaled, scaled mse",
    "rmse": "rmse, root mean squared error",
    "r2": "r2, r 2, r2 score, r squared, rsquared, r2score",
    "f1": ("f1, f1 score, f1score, f 1, f1 macro, macro f1, f1 weighted, weighted f1, f1 micro, micro f1, fscore, f score, micro avg f1, span f1"),
    "auc": "auc, auroc, roc auc, auc roc, rocauc, auc score, binary auroc, roc auc score",
    "score": (
        "score, map, ap, map50 95, map 50 95, map 50 95 b, map 50 95 m, coco bbox map, map 0 5 0 95, bbox map, "
        "bbox m ap, bbox ap, coco bbox m ap, coco ap, segm ap, segm m ap, miou, m iou, mean iu, mean iou, iou, iou score, jaccard, dice, dice score, "
        "m dice, mdice, dice coef, dice coefficient, bleu, bleu4, bleu 4, sacrebleu, bleu detok, bleu score, rouge l, rougel, rouge1, rouge 1, "
        "meteor, cider, psnr, ssim, exact match, em, bertscore, fitness, mcc, matthews correlation, kappa, cohen kappa, pearson, spearman, "
        "spearmanr, cosine spearman, spearman cosine, cosine similarity, cos similarity, cos sim, cos, pseudo dice, "
        "average global foreground dice, global foreground dice, "
        "ndcg, ndcg@10, ndcg at 10, mrr, recall@1, recall at 1, recall@10, recall at 10, r@1, r at 1, hit@1, hits@1, hit at 1, hit@10, hits@10, "
        "hit at 10, "
        "hit rate, hr@10, hr at 10, map at r, pck, pass@1"
    ),
    "reward": (
        "reward, mean reward, average reward, episode reward, episode reward mean, mean episode reward, episode return, ep rew mean, ep reward "
        "mean, ep ret, average ep ret, episodic return, episode return mean, eval return, mean return, average return, return, returns, rewards, "
        "reward mean, mean episode return, mean ep ret, rollout ep rew mean, charts episodic return, env reward, environment cumulative reward, "
        "cumulative reward, rlhf reward, score reward, env runners episode return mean, env runners episode reward mean, critic score, "
        "critic rewards, critic reward"
    ),
}

_SPLIT_WORDS: dict[str, str] = {
    **dict.fromkeys(("train", "training", "tr", "trn", "trl"), "train"),
    **dict.fromkeys(
        (
            "val",
            "vali",
            "valid",
            "validation",
            "validate",
            "validating",
            "eval",
            "evaluation",
            "evaluate",
            "dev",
            "tel",
            "holdout",
            "heldout",
            "vl",
            "va",
        ),
        "val",
    ),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
# Words glued to their split: `trainloss`, `valacc`.
_GLUED = re.compile(r"(train|training|valid|validation|val|eval|test|dev)(loss|acc|accuracy|acc1|ppl|error|err|perplexity|nll|lr|mse|mae)")

# Words that do not change what a quantity is.
_NOISE = _listed(
    "epoch step steps avg mean average ave batch running moving smoothed smooth current cur curr global log logs logged losses scalar "
    "scalars metric metrics on main overall final net output model history the raw iter iteration interval stats perf performance system timing "
    "results result summary reduced ema sum per set rollout charts inner info fit minibatch"
)
# Words that make of a quantity another one: extremes, spreads, parts of a sum, masks.
_OTHER = _listed("best min max std var variance median stderr count num vs diff delta ratio target prev previous last lowest highest")
# Parts of a loss. Never the whole, even if nothing else was logged.
_PARTS = _listed(
    "g d gen disc generator discriminator netg netd gan adv adversarial policy value critic actor entropy pi vf pg q qf1 qf2 ent alpha fake "
    "real kl kld aux reg regularization penalty gp commit codebook vq percep perceptual lpips style feat balance router z cls box obj dfl "
    "rpn mask bbox giou ciou cycle idt identity recon reconstruction distill kd duration mel nsp sop weight decay load"
)

_LR = _phrases(
    "lr, learning rate, learningrate, learn rate, l r, rate, opt lr, optim lr, optimizer lr, optimizer learning rate, lr abs, lr 0, lr0, lr "
    "group 0, lr group0, lr pg0, lr pg 0, group 0 lr, pg0 lr, pg0, lr param group 0, x lr0, optim0 lr0, optim0 lr, optimizer0 lr, lr "
    "default, lr scheduler lr, scheduler lr, lr scheduler last lr, last lr, learning rate 0, effective lr, lr rate, schedule lr, lr "
    "schedule, optimization lr, actor lr, learner default policy lr, learner default policy learner lr, "
    "learners default policy default optimizer learning rate, hyper lr, param lr, hp lr, eta lr, vs lr, optimizer lr 0, learning rate group 0"
)
_OPTIMIZERS = (
    "adam|adam w|adamw|adamax|nadam|radam|sgd|rmsprop|rms prop|rm sprop|adagrad|adadelta|lion|lamb|lars|adafactor|adan|muon|sophia|"
    "sophia g|sparse adam|asgd|lbfgs|fused adam|deep speed cpu adam|adam8bit|adam w8bit|nesterov|novograd|ranger|adabelief|"
    "ada belief|shampoo|soap|schedule free"
)
_LR_OF_OPTIMIZER = re.compile(rf"(?:lr|learning rate) (?:default )?(?:optimizer|{_OPTIMIZERS})(?: pg1| pg0)?|(?:{_OPTIMIZERS}) (?:lr|learning rate)")
_GRAD_NORM = re.compile(
    r"(?:optim |actor )?(?:total |overall |l2 |unclipped |pre clip |preclip |raw )*"
    r"(?:grad norm|gradnorm|gnorm|g norm|gradient norm|gradients norm|grads norm|gradients total norm|norm grad|norm gradient|grad l2 norm"
    r"|gradient l2 norm|grad l2|norm grads|grad total norm|grad global norm|gradient total norm|grad norm l2|grad 2 norm|grad 2 0 norm|global norm"
    r"|norm of grad|norm of gradients|total norm|l2 grad norm|norm)"
    r"(?: total| all| l2| unclipped| before clip| before clipping| pre clip| preclip| overall)*"
)
_BARE_PHRASES: dict[str, str] = {
    "loss_scale": (
        "loss scale, lossscale, loss scaler, loss scaling, grad scale, grad scaler, gradscaler, amp scale, amp scaler, "
        "scaler scale, amp loss scale, scaler, "
        "scale, fp16 loss scale, fp16 grad scale, dynamic loss scale"
    ),
    "throughput": (
        "throughput, tokens per second, tokens per sec, tokens s, tokens sec, tok s, tok sec, toks s, tps, tgs, wps, words s, words per second, "
        "samples per second, samples per sec, samples s, samples sec, sample s, examples per second, examples s, images per second, images per "
        "sec, images sec, images s, img s, img sec, imgs s, imgs sec, it s, its, it sec, iter s, iters s, iters per sec, iter per sec, "
        "iterations per second, steps per second, steps per sec, steps s, steps sec, fps, time fps, ups, train speed iter s, speed iter s, "
        "speed, tokens per second per gpu, tokens sec gpu, throughput token per sec, frames per second, sps, charts sps, batches per second, "
        "samples sec per device"
    ),
    "step_time": (
        "step time, time per step, time step, iter time, iteration time, batch time, time per iter, time per iteration, time per batch, sec per "
        "iter, secs per iter, seconds per step, sec per step, s it, s iter, ms per step, ms step, step ms, step time ms, step avg, step time s, "
        "train step time, elapsed time per iteration ms, elapsed time per iteration, dt, dt ms, iter time ms, time per iteration ms, seconds per "
        "iteration, step duration, batch duration, sec it, sec step, sec batch, iteration time s, training step time"
    ),
    "memory": (
        "memory, mem, max mem, max memory, gpu mem, gpu memory, memory gib, memory gb, memory mb, gpu mem gb, gpu memory gb, cuda memory, cuda "
        "mem, peak memory, peak mem, mem reserved, mem allocated, memory allocated, max memory allocated, gpu memory mb, gpu mem mb, max cuda "
        "memory, gpu ram, memory usage, gpu memory usage, max mem gb, peak memory gb, memory max reserved gib"
    ),
    "epoch": "epoch, epochs",
    "weight_norm": ("weight norm, params norm, param norm, parameter norm, weights norm, pnorm, total weight norm, params norm l2, model norm"),
    "update_ratio": "update ratio, update to weight ratio, update weight ratio, update to data ratio",
    "skipped_steps": ("skipped steps, skipped iterations, number of skipped iterations, skipped, num skipped, overflow count, num skipped steps"),
}

# Lists are called after all that is in them, `train_losses`; `losses/…` is a group of quantities.
_PLURALS = {"losses": "loss", "accuracies": "accuracy", "accs": "acc", "perplexities": "perplexity", "ppls": "ppl", "lrs": "lr", "rewards": "reward"}
_SEPARATORS = re.compile(r"[\s_\-./:|()\[\]{},;=+]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z][a-z]|[A-Z]+$|[A-Z]+[^A-Za-z])")
_BARE_OF = {phrase: name for name, phrases in _BARE_PHRASES.items() for phrase in phrases.split(", ")}
_QUANTITY_OF = {phrase: (name, rank) for name, phrases in _QUANTITY_PHRASES.items() for rank, phrase in enumerate(phrases.split(", "))}
_MIXED_CASE = re.compile(r"mIoU|IoU|mAP|GiB|MiB|mDice|NLL|aAcc|gNorm")  # one word, whatever its capitals say
# Measured at evaluations only: without a word for the split they are of the validation set.
_EVALUATION = frozenset({"map", "ap", "map50", "miou", "iu", "bleu", "sacrebleu", "pck", "pseudo", "foreground", "spearman"})
_ALONE = frozenset({"epoch", "scale", "scaler", "speed", "skipped"})  # too common to mean this beside other words
_OVER_WINDOW = re.compile(r"(?:avg|ave|average|mean)\d{1,5}")  # of so many episodes
_LONGEST_KEY = 200  # characters; longer keys are no names that a person gave
_UNKNOWN_RANK = 1000
_FEWEST_TWINS = 3


def words(key: str) -> tuple[str, ...]:
    """A key's words, lower case: `trainLoss_epoch` → ("train", "loss", "epoch"). `acc@1` stays one word."""
    spaced = _CAMEL.sub(" ", _MIXED_CASE.sub(lambda m: f" {m[0].lower()} ", key[:_LONGEST_KEY]))
    return tuple(w for w in _SEPARATORS.split(spaced.lower().replace("#", " ")) if w)


def _split_and_rest(parts: tuple[str, ...]) -> tuple[str, list[str]]:
    """The split that the words name ("" for none) and the other words, once each."""
    split = ""
    rest: list[str] = []
    for word in parts:
        glued = _GLUED.fullmatch(word)
        for piece in glued.groups() if glued else (word,):
            found = _SPLIT_WORDS.get(piece, "")
            if found:
                # `train/val_loss`, `eval/test_loss`: the most specific word wins
                split = found if not split or found != "train" else split
                if piece in ("trl", "tel"):
                    rest.append("loss")
            else:
                rest.append(_PLURALS.get(piece, piece) if word is parts[-1] else piece)
    return split, rest


def _quantity(rest: list[str]) -> tuple[str, int]:
    """Quantity and plainness of words without split words; ("", …) when they are no phrase of the table."""
    phrase = " ".join(rest)
    if phrase in _QUANTITY_OF:
        return _QUANTITY_OF[phrase]
    once = list(dict.fromkeys(rest))
    kept = [w for w in once if w not in _NOISE]
    noise = len(rest) - len(kept)
    kept = [w for w in kept if not _OVER_WINDOW.fullmatch(w)]
    for candidate in (" ".join(w for w in rest if w not in _NOISE), " ".join(once), " ".join(kept)):
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
    kept = " ".join(w for w in rest if w not in _NOISE)
    for candidate in dict.fromkeys((whole, phrase, kept)):
        if candidate in _LR or _LR_OF_OPTIMIZER.fullmatch(candidate):
            return "lr"
        if split in ("", "train") and candidate:
            if _GRAD_NORM.fullmatch(candidate) and (candidate != "norm" or len(parts) == 1):
                return "grad_norm"
            if candidate in _BARE_OF and (len(parts) == 1 or candidate not in _ALONE):
                return _BARE_OF[candidate]
    return ""


def _named_set(key: str, rest: list[str]) -> tuple[str, str]:
    """(`name`, quantity) of `eval_<name>_loss`, how transformers logs several evaluation sets; ("", "") for anything else."""
    if not key.startswith(("eval_", "eval/")) or len(rest) < 2 or any(w in _PARTS or w in _OTHER for w in rest):
        return "", ""
    for start in range(1, len(rest)):
        quantity = _QUANTITY_OF.get(" ".join(rest[start:]))
        if quantity:
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
    if not _OTHER.isdisjoint(parts):
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


def validation_twins(keys: Iterable[str]) -> frozenset[str]:
    """Keys such as `v_loss` that have a twin without the prefix, where enough do: the same of the validation set. One alone is a value loss."""
    known = set(keys)
    twins = frozenset(key for key in known if key.startswith(("v_", "v/")) and key[2:] in known)
    return twins if len(twins) >= _FEWEST_TWINS else frozenset()


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
    twins = validation_twins(keys)
    names = {key: series_name(key[2:], "val") if key in twins and key not in (aliases or ()) else series_name(key, split, aliases) for key in keys}
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
    for key, name in names.items():
        parts = words(key)
        said, rest = _split_and_rest(parts)
        if name.startswith("other/") and "loss" in rest and _PARTS.isdisjoint(parts) and _OTHER.isdisjoint(parts) and "scale" not in parts:
            lonely.setdefault(said or split or "train", []).append(key)
    if not any(name.endswith("/loss") for name in names.values()):  # `epoch,train,val`: what a table of nothing but splits holds
        alone = {key: words(key)[0] for key in keys if len(words(key)) == 1 and key not in (aliases or ())}
        bare = {key: _SPLIT_WORDS[word] for key, word in alone.items() if word in _SPLIT_WORDS}
        bare.update({key: "train" for key, word in alone.items() if word == "fit" and set(bare.values()) == {"val"}})
        names.update({key: f"{where}/loss" for key, where in bare.items()} if len(set(bare.values())) == len(bare) > 1 else {})
    known = Counter(names.values())
    for where, group in lonely.items():
        if len(group) == 1 and not known[f"{where}/loss"]:
            names[group[0]] = f"{where}/loss"
    if not split:
        names.update(of_validation(names))
    names.update(of_episodes(names))
    if "step_time" not in names.values():
        names.update({key: "step_time" for key in keys if key not in (aliases or ()) and _beside_data_time(key, names)})
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
    """Beside a `train_loss` and a `val_loss` a figure of merit of neither (`accuracy`, `AUC`) is the validation set's: the new names of such keys.

    names : canonical name by key.
    """
    said = {name for key, name in names.items() if _split_and_rest(words(key))[0]}
    if not {"train/loss", "val/loss"} <= said:
        return {}
    merits = {key: f"val/{name.removeprefix('train/')}" for key, name in names.items() if name.startswith("train/") and name not in said}
    return {key: name for key, name in merits.items() if name not in said and not name.endswith("/loss")}
