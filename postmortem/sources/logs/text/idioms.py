"""Turns of phrase that only one framework uses, put into words that every log uses. Numbers keep their number and their order.

`1epoch:train:101-200batch:` of ESPnet becomes `train epoch: 1, from 101, batch: 200,`: what counts, the grammar then sees.
"""

import re
from collections.abc import Callable

from postmortem.sources.logs.anyof import any_of
from postmortem.sources.logs.text.tokens import MOMENT, NUMBER

_N = NUMBER
_LOGGER = r"(?=[\w.-]{0,80}(?:train|val|test))[\w-]{1,40}(?:\.[\w-]{1,40}){1,6}"
_NAME = r"['\"]?[A-Za-z][\w.@ '\"-]{0,30}"  # one of a list


def _average_precisions(row: re.Match[str]) -> str:
    """A row of YOLACT's table: of all thresholds, and of each."""
    what = "bbox" if row[1] == "box" else "mask"
    return f"val {what} AP:{_N} via{_N}" + f" via{_N}" * row[2].count(_N)


def _each_its_own(row: re.Match[str]) -> str:
    """Names in one list and as many numbers in another, each beside its own; what has not as many stays."""
    names = [name.strip() for name in row[2].split(",")]
    return f"{row[1]}{', '.join(f'{name}: {_N}' for name in names)}" if len(names) == row[3].count(_N) else row[0]


def _place_of_dllogger(row: re.Match[str]) -> str:
    """NVIDIA's DLLogger: the epoch and the iteration, and perhaps the latter once more."""
    return f"{row[1]}epoch{_N}, iter{_N}, " + f"from{_N} via{_N} " * (row[0].count(_N) // 4)


def _minibatches(row: re.Match[str]) -> str:
    return f"from{_N}, batch{_N}" + f" of{_N}" * (row[0].count(_N) - 2) + ":"


# What each has in it, its pattern, and what it is put into.
_IDIOMS: tuple[tuple[str, re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (needle, re.compile(pattern, re.IGNORECASE if needle in ("/", "loss") else re.NOFLAG), into)
    for needle, pattern, into in (
        ("epoch:", rf": ?{_N}epoch:(train|valid):{_N}-{_N}batch:", rf": \1 epoch: {_N}, from {_N}, batch: {_N},"),  # ESPnet 2
        (".py:", rf"(\.py:{_N}\]) \({_N}/{_N}\) (?!Epoch)", rf"\1 from {_N} via {_N}, "),  # icefall: whose line it is
        (") Epoch", rf"\({_N}/{_N}\) Epoch{_N}, (?=batch|validation)", rf"from {_N} via {_N}, Epoch {_N}, "),  # icefall: (rank/ranks)
        # WeNet: epoch/batch
        (" Batch", rf"\b(TRAIN|CV) Batch{_N}/{_N} loss", rf"\1 epoch {_N}, batch {_N}, loss"),
        ("| Batch", rf"\b(TRAIN|CV) \| steps/sec{_N}\| Batch{_N}/{_N} loss", rf"\1 steps/sec: {_N}, epoch {_N}, batch {_N}, loss"),
        ("CV info", rf"\bCV info lr{_N} cv_loss", rf"CV from {_N}, loss"),
        ("INFO ", rf"\bINFO (?=(?:Train|Test|Val\w*): \[{_N}/{_N}\])", ""),  # Swin
        (": [", rf"\b(Train|Test|Val(?:idation)?): \[{_N}/{_N}\]\s?\[{_N}/{_N}\]", rf"\1 Epoch: [{_N}/{_N}] [{_N}/{_N}]"),
        (": [", rf"\b(Train|Test|Val(?:idation)?): \[{_N}\]\s?\[{_N}/{_N}\]", rf"\1 Epoch {_N} [{_N}/{_N}]"),  # SupContrast, from 1
        (")", r"(?<=[a-z]) \((?:batch|avg|average|weighted|total|(?:higher|lower) is better)\)(?=\s?[:=])", ""),  # `loss (batch)=0.5`: a remark
        ("Saving dict", rf"\bSaving dict for global step{_N}:", rf"eval global step {_N},"),  # TensorFlow's estimators, Tensor2Tensor
        ("cur metric,", r"\bcur metric,", "val metric,"),  # PaddleOCR
        ("Epoch loaded:", rf"^Epoch loaded:{_N} - ", rf"test epoch {_N} - "),  # SpeechBrain, once training is over
        ("-score (", r"-score \((?:micro(?: avg)?)\)", "-score"),  # Flair
        ("ing-", r"\b(training|testing)-(?:loss|metric), (?=\w+:)", r"\1 "),  # DeepfakeBench
        ("ing overall:", r"\b(training|testing) overall:", r"\1 loss:"),
        # open_clip counts epochs from 0 and, at an evaluation, those that are done
        ("Eval Epoch:", rf"\bEval Epoch:{_N} (?=.*(?:-val-top\d|clip_val_loss))", f"Eval from {_N}, "),
        ("-val-top", r"\b[\w-]{1,40}-val-(?=top\d)", "val "),
        ("Current_acc", r"^Current_accuracy\s*:", "val accuracy:"),  # deep-text-recognition-benchmark, EasyOCR
        ("current epoch:", rf"\bcurrent epoch:{_N},? current ", rf"val epoch: {_N}, "),  # MONAI
        ("loss in epoch", rf"\bloss in epoch{_N} iteration{_N}:(?={_N})", f"epoch{_N}, batch{_N}, loss:"),  # SASRec
        ("Eit", rf"\bEit{_N}\s+lr{_N}\s+Le(?={_N})", f"via{_N} lr{_N} loss"),  # VSE++, SCAN and their kin: the loss of embeddings
        ("| momentum:", rf"^(train|valid) \({_N}/{_N}\) ", rf"\1 epoch: {_N}/{_N}, "),  # Catalyst
        ('"step": [', rf'"step": \[{_N},{_N}\]', f'"epoch": {_N}, "iteration": {_N}'),  # NVIDIA's DLLogger
        ("]<std", rf"^\[{_N},{_N}\]<std(?:out|err)>:", f"from {_N}, rank: {_N}, "),  # mpirun --tag-output, Horovod
        ("Losses: [", r"\bLosses: \[", "parts: ["),  # VITS and its kin: nobody says which is which
        # Flower: (round, loss, metrics, seconds) of an evaluation on the server; what the clients said, weighted
        ("fit progress", rf"\bfit progress: \({_N},{_N}, \{{([^{{}}]{{0,2000}})\}},{_N}\)", rf"val | round: {_N}, loss: {_N}, \1, elapsed: {_N}"),
        ("initial param", rf"\binitial parameters \(loss, other metrics\):{_N}, \{{([^{{}}]{{0,2000}})\}}", rf"val untrained | loss: {_N}, \1"),
        ("(clients", r"(?<=loss) \(clients[\w ,-]{0,30}\)(?=:)", ""),
        (" after epoch", rf"\b((?:[Tt]rain|[Vv]al|[Tt]est|[Ee]val)\w* [\w ]{{1,40}}) after epoch{_N}:(?={_N})", rf"epoch {_N} | \1:"),
        ("* ", r"^ ?\* +(?=(?:Loss|Acc@1|Prec@1)\b)", "val | "),  # what the pass over the evaluation set ends with in PyTorch's example of ImageNet
        # ikostrikov's A2C, PPO and ACKTR; `via` and `from` pass a number over
        (
            "training episodes:",
            rf"^ ?Last{_N} training episodes: mean/median reward{_N}/{_N}, min/max reward{_N}/{_N}$",
            f"from {_N}, reward: {_N} via {_N} via {_N} via {_N}",
        ),
        ("value loss", rf"\bentropy{_N} value loss{_N} policy loss{_N}", f"entropy: {_N}, value loss: {_N}, policy loss: {_N}"),
        ("* LOSS -", r"^\* LOSS -", "val | Loss -"),  # sgrvinod, who writes Loss in the pass that this is the mean of
        ("__main__ -", rf"(?<=__main__ - )epoch{_N}: (?=\{{|perplexity:)", f"val | epoch {_N}: "),  # the no_trainer examples of transformers
        ("] Iteration", rf"\bEpoch\[{_N}\] Iteration\[", f"Epoch {_N} Iteration ["),  # Ignite counts from 1, MXNet, which prints as much, from 0
        ("Evaluation metric", r"\bEvaluation metric (?='?(?:validation_)?epoch_loss\b)", ""),  # GluonTS: of either set
        ("avg_epoch_loss", rf"\bepoch={_N}/{_N}, (?=(?:validation_)?avg_epoch_loss)", f"from {_N} via {_N}, "),  # from 1, below what counts from 0
        ("INFO", rf"^({MOMENT}\t[\w.-]{{1,80}}):{_N}\t[\w.-]{{1,80}}:{_N}\t(?=INFO\t)", rf"\1, rank: {_N}, from {_N}, "),  # OLMo: host and rank, line
        ("/", rf"\b(step|iter|iteration|batch|epoch)/(step|iter|iteration|batch|epoch) \[{_N}/{_N}\](?=\[)", rf"\1 {_N}, \2 {_N} "),
        # `epoch/iter: 3/799`, `[Epoch/iter]: [3/799]`
        ("/", rf"(?<![\w/])\[?(epoch)/(steps?|iter(?:ation)?|batch)\]?[ :=]{{0,2}}\[?{_N} */{_N} *\]?(?!/)", rf"\1: {_N}, \2: {_N} "),
        ("ain loss", rf"^(Train loss){_N}{_N} Grad Norm{_N}{_N}s/it", rf"step {_N}, \1 {_N}, Grad Norm {_N}, iter time {_N}"),  # Tacotron 2
        ("loss", rf"\b((?:train|training|val|validation|test) loss){_N}:{_N}(?!%\|\|)", rf"step {_N}, \1: {_N}"),
        ("]Accuracy-Flip", rf"^Training: {MOMENT}-\[(\w+)\]\[{_N}\]Accuracy-Flip:{_N}\+", rf"step {_N}, eval_\1_accuracy: {_N}, "),  # InsightFace
        ("/s, ", rf"(?<=[\w]) -(?={_N}[,\]])", ":"),  # what segmentation_models puts behind its bars
        (".py:", rf"(\.py:{_N}\]) \[{_N}\] (?=\|? ?[A-Za-z])", rf"\1 step: {_N}, "),  # absl, in big_vision, XLNet
        ("Progress on:train", rf"\bProgress on:train{_N}it/{_N}it rate:(?=.*postfix:)", f"step: {_N} of {_N}, rate: "),  # Levanter
        ("Progress on:train", rf"\bProgress on:train{_N}k?it/{_N}kit rate:(?=.*postfix:)", f"from {_N} via {_N}, rate: "),
        (" (", rf"^(TRAIN|EVAL) \({_N}\) \|", rf"\1 epoch {_N} |"),
        ("episode reward: [", rf"\bepisode reward: \[\({_N}, '{_N}'\)", f"from {_N}, episode reward: {_N}"),  # Sample Factory, by policy
        ("Fps is (", rf"\bFps is \({_N} sec:{_N}", f"from {_N}, fps: {_N}"),
        (
            "/",
            rf"(?<![\w/])([A-Za-z]\w{{1,20}})/([A-Za-z]\w{{1,20}})/([A-Za-z]\w{{1,20}})[ :=]{{0,2}}{_N}/{_N}/{_N}",
            rf"\1: {_N}, \2: {_N}, \3: {_N}",
        ),
        ("={'", rf"(?<=\s)(\w{{1,40}})=\{{'{_N}\w{{1,40}}':{_N}\}}", rf"from {_N}, \1={_N}"),  # InternLM, by group
        (" at ", rf"([A-Za-z][\w@ ]{{0,60}}) at (step|epoch|iteration|iter|update){_N}:{_N}$", rf"\2 {_N}, \1: {_N}"),  # RotatE's and its kin
        ("... (", rf"\bStep\.\.\. \({_N} \|(?=.* Learning Rate:)", f"step {_N}, "),  # the Flax examples of transformers
        ("... (", rf"\bStep\.\.\. \({_N} \|", f"val step {_N}, "),
        ("('", rf"\('([A-Za-z][\w.-]{{0,60}})',{_N}\)", rf"\1: {_N}"),  # pairs of a name and a number
        # `Training loss per 100 training steps: 0.27`: of how many steps; of an evaluation it is how far it came so far
        ("loss", rf"\b(?:valid\w*|eval\w*|test\w*) loss per{_N} [\w ]{{2,25}}(?=:?{_N})", f"from {_N} via "),
        ("loss", rf"\b(\w{{2,12}} loss) per{_N} (?:\w{{2,12}} )?(?:steps|iterations|iters|batches|updates)(?=:?{_N})", rf"from {_N}, \1"),
        # `Mean test loss of 100 batches: 3.25`
        (
            " of",
            rf"\b((?:[A-Za-z]{{2,12}} ){{0,3}}(?:loss|accuracy|acc|perplexity)) of{_N} (?:batches|samples|images|steps|examples)(?=\s?[:=]?{_N})",
            rf"from {_N}, \1",
        ),
        (" of", rf"\b(loss|accuracy|acc|perplexity) of(?={_N})", r"\1:"),
        ("@epoch", rf"@epoch(?={_N})", "epoch"),
        (" INFO ", rf"^({MOMENT}) P\d{{1,9}} INFO ", r"\1 INFO "),  # FuxiCTR
        ("Checkpoint [", rf"\bCheckpoint \[{_N}\]\s(?=Updates=|Train-|Val)", f"from {_N}, "),  # Sockeye
        ("| loss train:", rf"(?<=\| loss train:){_N}, val:{_N}(?= \| iter time)", f"{_N}, from {_N}"),  # litgpt, which says the last one again
        ("'s l", r"'s l(?:(1)|2)(?=:)", lambda m: " mae" if m[1] else " mse"),  # LightGBM
        ("'s ", rf"(?<=\w)'s (?=[\w@-]{{1,60}}:{_N})", " "),
        ("~", rf"\b((?i:train|valid|val|test|eval)\w*(?: \w{{2,10}})?) ?~ ?{_N}%(?= ?[:=]?{_N})", rf"from {_N}, \1:"),  # of a part of the set
        (f" -{_N}", rf"^{_N}{_N} (loss|sample_per_sec) -(?={_N}$)", rf"epoch {_N}, iter {_N}, \1:"),  # DALLE-pytorch
        (" lr -", rf"^{_N}{_N} lr -{_N} loss -(?={_N}$)", rf"epoch {_N}, iter {_N}, lr: {_N}, loss:"),
        ("Sync loss:", rf"^L1:{_N}, Sync loss:(?={_N}$)", rf"val | L1: {_N}, Sync loss:"),  # Wav2Lip, which writes Sync Loss while it trains
        ("timestep=", rf"(?<=, )timestep=(?={_N}\]$)", "from "),  # sd-scripts: at which noise level it evaluates
        ("pisode", rf"^(.*\b[Ee]pisode:{_N}(?:/{_N})?, .*), e:(?={_N}$)", r"\1, epsilon:"),  # a tutorial's agent, which explores so often
        (" in episode", rf"\b([Tt]otal [Rr]ewards? in) (episode){_N}(?::| is)(?={_N})", rf"\2: {_N}, total reward:"),
        ("D(G(z)):", rf"\bD\(G\(z\)\):{_N} /{_N}", rf"D(G(z)): {_N} from {_N}"),  # in the two steps of DCGAN's example
        (" -- ", rf"(?<={_N}) -- (?=[A-Za-z])", " | "),
        ("Global Accurancy", r"\bAverage Global Accurancy(?=:)", "test accuracy"),  # pFedMe and its kin, as the next three
        ("ccurancy", r"\b([Aa])ccurancy\b", r"\1ccuracy"),
        ("rainning", r"\b([Tt])rainning\b", r"\1raining"),
        ("Averaged ", r"\bAveraged (?=Train|Val|Test)", "Average "),
        ("train==[", rf"\btrain==\[{_N}=(?={_N})", f"train loss: {_N} from"),  # NGCF, KGAT: a sum and its parts
        ("Evaluation over", rf"\bEvaluation over{_N} episodes:(?={_N})", f"eval from {_N}, reward:"),  # TD3
        ("Total T:", rf"\bTotal T:{_N} Episode Num:{_N} Episode T:{_N}", f"total steps: {_N}, from {_N} via {_N}"),
        # darknet, of its validation set, at one threshold
        ("for conf_thresh", rf"^for conf_thresh ={_N}, precision", rf"val | from {_N}, precision"),
        # `训练次数：100, Loss：1.98`, `整体测试集上的Loss: 262.5` of a tutorial that everyone copies: steps, and a sum over test batches, of which
        # nobody says how many there are
        ("训练次数", rf"训练次数[:：]{_N}[,，] ?(?=[Ll]oss|损失)", f"train step: {_N}, "),
        ("整体", r"整体(测试|验证)集上的(?:[Ll]oss|损失)", "from"),
        ("整体", r"整体(测试|验证|训练)集上的", r"\1集"),
        (" ]", rf"\[ (?!INFO|DEBUG|WARN|ERROR)([A-Za-z]\w{{1,20}}) \](?={_N}(?:s|%)?(?: \[ | ?$))", r"\1:"),  # TreeGAN and its kin
        ("| [", rf"(?<=\| )\[([A-Za-z]\w{{1,20}})\](?={_N}(?: |$))", r"\1:"),  # `| [Loss] 2.5 | [step] 10 |` of LION
        ("] Batch [", rf"(?<=\]) Batch \[{_N}-{_N}\](?=\s+Speed:)", f" from {_N}, batch {_N},"),  # MXNet: the batches that its speed is of
        ("E=", rf"\bE={_N} B={_N}\s+(?=s/sec=)", f"epoch {_N}, batch {_N}, "),  # Sockeye 3
        # DeepSpeed's timer, whose epochs and steps within them only its own data loader counts
        ("/micro_step=", rf"\bepoch={_N}/micro_step={_N}/global_step=", f"from {_N}, from {_N}, global_step="),
        ("> avg_", rf"^\| > avg_(\w+):{_N} \({_N}\)$", rf"| > \1: {_N} from {_N}"),  # Coqui, of a whole evaluation: how far from the last one
        ("Training cost:", rf"\bTraining cost:(?={_N},)", "took"),  # GluonCV: seconds
        (" sent/s -", rf" -{_N} -(?={_N} sent/s -)", rf" - step {_N} -"),  # XLM
        (
            "_E",
            rf"\b(?:head: [\w-]{{1,40}}, )?Epoch{_N}: (?:head: [\w-]{{1,40}}, )?(?=loss={_N}, (?:RMSE|MAE)_E)",
            f"val epoch {_N}: ",
        ),  # MACE, of its validation set
        ("* Finished epoch #", rf"\* Finished epoch #{_N} ", f"val epoch {_N} "),  # fb.resnet.torch
        ('"update":', rf'"epoch":{_N}, "update":(?={_N},.*"num_updates":)', f'"from":{_N}, "epoch":'),  # fairseq: how many epochs are done
        ("_logger -", rf"\b\w+_logger - (\w+)\s+\|{_N}\s+\|{_N}$", rf"| train \1: {_N} | val \1: {_N}"),  # AllenNLP, once an epoch is over
        ("_writer -", rf"\b\w+_writer - (\w+)\s+\|{_N}\s+\|{_N}$", rf"| train \1: {_N} | val \1: {_N}"),
        ("cv_agg", r"\bcv_agg(?:'s)? (?!valid|train)", "valid "),  # LightGBM's cross-validation, `auc: 0.8 + 0.01`
        ("cv_agg", r"\bcv_agg(?:'s)? ", ""),
        ("/", rf"\b([a-z]{{3,8}})/([a-z]{{3,8}}) (rewards?|returns?|scores?) ?{_N}/{_N}", rf"\1 \3: {_N}, \2 \3: {_N}"),  # mean/median reward
        (
            "/",
            rf"\b(train\w*) ?/ ?((?:val|test|dev|eval)\w*) (\w{{2,20}})[ :=]{{0,3}}{_N} ?/ ?{_N}",
            rf"\1 \3: {_N}, \2 \3: {_N}",
        ),  # `train/val loss: 0.5 / 0.6`
        (
            "/",
            rf"\b(\w{{2,20}}) ?\((train\w*|tr) ?/ ?((?:val|test|dev|eval)\w*)\)[ :=]{{0,3}}{_N} ?/ ?{_N}",
            rf"\2 \1: {_N}, \3 \1: {_N}",
        ),
        ("CV info", r"\bCV info cv_(?=\w)", "CV "),
        ("Train time/", r"\bTrain time/(?=\w+:)", "Train progress/"),  # Composer: how far it is
        ("| F:", rf"\| F:{_N} \| S:{_N} \| E:{_N} \| L:{_N} \| R:", rf"| step: {_N} | from {_N} | from {_N} | length: {_N} | reward:"),  # DrQ-v2
        (" / ", rf"^\[{_N}\] (?=[a-z]\w* ?{_N} / )", f"step {_N}: "),  # Dreamer
        (" / ", rf"(?<={_N}) / (?=[A-Za-z]\w* ?{_N})", " | "),
        ("val. ", r"\bval\. (?=\w)", "val_"),
        ("[valid]", r"(\[valid\] .{0,80}: )cross-entropy(?= :)", r"\1cross-entropy per sentence"),  # Marian, whose Cost is one per word
        ("completed step:", rf"\bcompleted step:{_N}, seconds:", f"completed step:{_N}, step time:"),  # MaxText
        ("||", rf"^\[{_N}\]{_N} \|\| (?=\w: ?{_N})", f"epoch {_N}, iter {_N} || "),  # YOLACT: its parts by their first letters, and their total
        # `speed: 2.94(0.63s r2.27)s/itr`: of a step, of its computation, of reading its batch
        # `reid_baseline.train INFO: mAP: 25.5%`, `INFO - joeynmt.training - `: the name of a logger is no set
        ("INFO", rf"(^|[\s\]|:-]){_LOGGER}(?=\s?(?:[|:-]\s?)?INFO\b)", r"\1"),
        ("INFO", rf"\bINFO(\s?[|:-]\s?){_LOGGER}(?=\s?[|:-])", r"INFO\1"),
        ("loss [", rf"\b((?:[a-z.]{{2,10}} ){{0,3}}loss) \[{_N}-{_N}\]:", rf"from{_N} via{_N}, \1:"),  # NumPyro: over which steps
        (" for epoch", rf"^(?i:time taken) for epoch{_N} is{_N} ?s", f"epoch{_N}, took{_N} s"),
        ("s r", rf"\bspeed:{_N}\({_N}s r{_N}\)s/itr", f"step time:{_N} via{_N}, data time:{_N}"),
        ("DLL ", rf"^(DLL {MOMENT} - )\({_N},{_N}\) (?:glob_iter/iters_per_epoch :{_N}/{_N} )?", _place_of_dllogger),
        (",) ", rf"^(DLL {MOMENT} - )\({_N},\) ", rf"\1epoch{_N}, "),
        ("[#", rf"\[#{_N}\](?= Loss [A-Z]:)", f"step{_N},"),  # faceswap
        (" PARAMETER ", rf"^DLL {MOMENT} - PARAMETER (?=loss_scale :)", ""),
        (":::MLLOG ", rf'"time_ms":{_N}(,.{{0,200}})"key": "([\w/.-]{{1,60}})", "value":{_N}(?=[,}}])', rf'"from":{_N}\1"\2":{_N}'),
        (":::MLLOG ", rf'"lineno":{_N}', f'"from":{_N}'),
        ("Minibatch[", rf"\bMinibatch\[{_N}-{_N}(?: of{_N})?\]:", _minibatches),  # CNTK: of which to which
        ("ep:", rf"\bep:{_N}(?= epch:{_N})", f"from {_N}"),  # LeRobot: episodes
        (" loss:", rf"\b(Content|Style){_N} loss:", rf"from {_N}, \1 loss:"),  # neural-style: of which layer
        ("| T:", rf"(?<=\| )T:(?={_N} \|\|)", "loss:"),
        (" |", rf"^(box|mask) \|{_N} \|{_N}((?: \|{_N}){{5,12}}) \|$", _average_precisions),
        # `(loss, acc) = (0.5, 0.4)`, `[loss, acc]: [0.5, 0.4]`, `loss, acc: 0.5, 0.4`: names, then numbers
        (
            f",{_N}",
            rf"([\[(]|^|[|,;:>-] ?)({_NAME}(?:, ?{_NAME}){{1,5}})(?:[\])] ?[:=]|[:=]) ?[\[(]?({_N}(?:,{_N}){{1,5}})(?:[\])]|(?=$|[ ;|]))",
            _each_its_own,
        ),
        # PECOS: of all epochs, of all steps, of the epoch's batches
        ("batches", rf"\[{_N}/{_N}\]\s?\[{_N}/{_N}\] \|{_N}/{_N} batches", f"| epoch: {_N}/{_N}, step: {_N}/{_N}, batch: {_N}/{_N}"),
    )
)
# Tables of results by class, counts of detections, scores of the best so far, how fast a training or an evaluation was on the whole: numbers,
# and none of them a curve.
_ASIDES = tuple(
    re.compile(pattern)
    for pattern in (
        r"\baggregate_(?:fit|train|evaluate): ",
        r"\bconfigure_(?:fit|train|evaluate): ",
        rf"\btp:{_N} - fp:{_N} - ",
        r"^MACRO_AVG:",
        r"-score \(macro\)",
        r"\bbest metric,",
        r"^\s*Class +Images +(?:Instances|Labels) ",
        r"^\s*classes +top1_acc +top5_acc\b",
        rf"\bRegion{_N} Avg ",
        r"^Region Avg IOU:",
        r"^LR_STEPS?\s?[:=]",  # of a configuration: when the rate falls
        rf"\bEval Epoch:{_N} \[{_N} /{_N}\]",  # open_clip, of a part of the validation set
        rf"^for conf_thresh ={_N}, TP =",
        rf"^{_N}/{_N}: loss={_N} (?:map={_N} best={_N} )?hours left={_N}$",  # darknet once more, for the title of its window
        rf"\bOverall training speed:{_N} iterations in ",
        rf"^Speed:{_N}ms preprocess",
        rf"^Total timesteps:{_N}$",  # RSL-RL counts its records by iterations
        rf"^(?!.*(?i:loss))[^\W\d][^{_N}:=|,\[(]{{0,60}}{_N}{{4}}$",
    )
)
_OF_ASIDES = re.compile(
    any_of(
        (
            "te_",
            "re_",
            "fp:",
            "MACRO_AVG:",
            "-score (macro)",
            "best metric,",
            "Class",
            "top1_acc",
            "Region",
            "for conf_thresh",
            "LR_STEP",
            "Eval Epoch:",
            " hours left=",
            "training speed:",
            "Speed:",
            "Total timesteps:",
            _N * 4,
        )
    )
)


# `Epoch 3: 0.52 loss, 81.0% accuracy`: what it is behind how much it is. Not in what is said of the best epoch.
_BEHIND = re.compile(rf"(?<=[:,]){_N}(%?) ((?:[A-Za-z.]{{1,12}} ){{0,2}}(?:loss|accuracy|acc))(?=,|$)", re.IGNORECASE)
_EPOCH = re.compile(rf"^\W*epoch{_N}[^:,=]{{0,30}}:", re.IGNORECASE)
# `loss - 0.5, acc - 0.4`, with at most a counter in front: where nothing else stands between keys and their numbers, the dash does.
_DASH = re.compile(rf" -(?={_N})")
_DASHED = re.compile(rf"^[^=:{_N}]{{0,20}}(?:{_N}(?:/{_N})?[\s:|,-]{{1,4}})?(?:[A-Za-z|][^=:,{_N}]{{0,40}} -{_N}%?(?:[ ,;|\t]{{1,4}}|$)){{1,40}}$")


def in_plain_words(shape: str) -> str:
    """The shape without idioms; "" for a line of results that are no curve."""
    if _OF_ASIDES.search(shape) and any(pattern.search(shape) for pattern in _ASIDES):
        return ""
    for needle, pattern, into in _IDIOMS:
        if needle in shape:
            shape = pattern.sub(into, shape)
    if f" -{_N}" in shape and _DASHED.search(shape):
        shape = _DASH.sub(":", shape)
    if _EPOCH.match(shape):
        shape = _BEHIND.sub(rf" \2: {_N}\1", shape)
    return shape
