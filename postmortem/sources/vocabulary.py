"""The words that people log quantities under: tables that a person can read and extend. What is done with them is in `names.py`."""

import re

# The vocabulary of series: <split>/<quantity> for what is measured on data, a bare name for the rest. Of several evaluation
# sets each has a name of its own: `val.<set>/<quantity>`. `score` is any figure of merit of which more is better.
QUANTITIES = ("loss", "accuracy", "perplexity", "error", "mae", "mse", "rmse", "r2", "f1", "auc", "score", "reward")
SPLITS = ("train", "val", "test")
BARE = (
    "lr",
    "grad_norm",
    "loss_scale",
    "throughput",
    "step_time",
    "data_time",
    "epoch",
    "memory",
    "reward",
    "weight_norm",
    "update_ratio",
    "skipped_steps",
)


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _phrases(text: str) -> frozenset[str]:
    return frozenset(text.split(", "))


# Phrases of a quantity, plainest first: of several columns with one name the plainest is the one that is meant.
QUANTITY_PHRASES: dict[str, str] = {
    "loss": (
        "loss, total loss, loss total, losses total, tot loss, loss tot, all loss, overall loss, reference loss, joint loss, joint avg loss, "
        "loss value, trl, tel, lm loss, lm loss value, nll, nll loss, "
        "loss nll, "
        "cross entropy, crossentropy, cross entropy loss, ce, ce loss, loss ce, xent, xent loss, xentropy, softmax loss, loss fn, lossfn, bce, "
        "bce loss, logloss, log loss, negative log likelihood, neg log likelihood, mlm loss, clm loss, loss lm, lm nll, causal lm loss, "
        "ctc loss, ctc, mse loss, loss mse, l2 loss, mae loss, l1 loss, smooth l1 loss, huber loss, rmse loss, reconstruction mse, focal loss, "
        "learner default policy total loss, learner default policy learner total loss, learners default policy total loss, "
        "dice loss, triplet loss, contrastive loss, info "
        "nce, infonce, infonce loss, nt xent, sft loss, dpo loss, bpc, bpd, bpb, bits per char, bits per character, bits per dim, bits per byte, "
        "binary logloss, multi logloss, mlogloss, empirical risk, ce mean words, ce mean, language cross entropy, binary crossentropy, "
        "binary cross entropy, categorical crossentropy, sparse categorical crossentropy, smooth l1, objective, cost, l"
    ),
    "accuracy": (
        "accuracy, acc, accu, acc1, acc 1, acc@1, acc@top1, top1, top 1, top@1, top1 acc, top1 accuracy, acc top1, acc top 1, "
        "accuracy top1, accuracy "
        "top 1, accuracy top@1, top 1 acc, top 1 accuracy, prec@1, prec1, prec 1, precision@1, accuracy@1, accuracy 1, categorical accuracy, "
        "sparse categorical accuracy, binary accuracy, multiclass accuracy, classification accuracy, cls acc, token acc, token accuracy, mean "
        "token accuracy, mlm acc, lm acc, masked accuracy, word acc, char acc, pixel acc, pixel accuracy, acc seg, a acc, aacc, acc pose, oa, "
        "overall accuracy, balanced accuracy, balanced acc, acc score, accuracy score, exact accuracy, correct rate, "
        "instance accuracy, class accuracy, accuracy01, acc01, accuray, accy, source acc, source accuracy, target acc, target accuracy"
    ),
    "perplexity": "perplexity, ppl, lm loss ppl, loss ppl, ppl loss, lm ppl, pplx, word ppl, token ppl, perp, word perplexity, language perplexity",
    "error": (
        "error, err, err1, err@1, top1 err, top1 error, top 1 err, top 1 error, error rate, err rate, error top1, err top1, classification "
        "error, binary error, multi error, merror, wer, cer, per, ter, eer, word error rate, "
        "character error rate, char error rate, phoneme error rate"
    ),
    "mae": "mae, mean absolute error, l1, abs error",
    "mse": "mse, mean squared error, l2 error, squared error, mse scaled, scaled mse",
    "rmse": "rmse, root mean squared error",
    "r2": "r2, r 2, r2 score, r squared, rsquared, r2score",
    "f1": ("f1, f1 score, f1score, f 1, f1 macro, macro f1, f1 weighted, weighted f1, f1 micro, micro f1, fscore, f score, micro avg f1, span f1"),
    "auc": "auc, auroc, roc auc, auc roc, rocauc, auc score, binary auroc, roc auc score",
    "score": (
        "score, map, ap, map 50, map50, map@50, map@0 5, ap50, ap 50, map50 95, map 50 95, map 50 95 b, map 50 95 m, coco bbox map, map 0 5 0 95, "
        "bbox map, "
        "bbox m ap, bbox ap, coco bbox m ap, coco ap, segm ap, segm m ap, miou, m iou, mean iu, mean iou, iou, iou score, jaccard, dice, dice score, "
        "m dice, mdice, dice coef, dice coefficient, bleu, bleu4, bleu 4, sacrebleu, bleu detok, bleu score, rouge l, rougel, rouge1, rouge 1, "
        "meteor, cider, psnr, ssim, exact match, em, bertscore, fitness, mcc, matthews correlation, kappa, cohen kappa, pearson, spearman, "
        "spearmanr, cosine spearman, spearman cosine, cosine similarity, cos similarity, cos sim, cos, pseudo dice, "
        "average global foreground dice, global foreground dice, "
        "seq acc, sequence acc, sequence accuracy, sentence acc, sentence accuracy, exact, exact match acc, exact match accuracy, "
        "ndcg, ndcg@10, ndcg at 10, mrr, recall@1, recall at 1, recall@10, recall at 10, r@1, r at 1, hit@1, hits@1, hit at 1, hit@10, hits@10, "
        "hit at 10, "
        "hit rate, hr@10, hr at 10, map at r, pck, pass@1"
    ),
    "reward": (
        "reward, mean reward, average reward, episode reward, episode reward mean, mean episode reward, episode return, ep rew mean, ep reward "
        "mean, ep ret, average ep ret, episodic return, episode return mean, eval return, mean return, average return, return, returns, rewards, "
        "reward mean, mean episode return, mean ep ret, rollout ep rew mean, charts episodic return, env reward, environment cumulative reward, "
        "cumulative reward, rlhf reward, score reward, env runners episode return mean, env runners episode reward mean, critic score, "
        "mean total reward, mean total rewards, ep rewmean, undiscounted return per episode, critic rewards, critic reward, reward score, "
        "average reward score, rew, eprewmean, environment, total reward, episode total reward, total episode reward, episodic reward, ep reward, "
        "total return, ep return, accumulated reward"
    ),
}

SPLIT_WORDS: dict[str, str] = {
    **dict.fromkeys(("train", "training", "tr", "trn", "trl"), "train"),
    **dict.fromkeys(
        (
            "val",
            "vali",
            "valid",
            "validation",
            "crossval",
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
            "vld",
            "va",
        ),
        "val",
    ),
    **dict.fromkeys(("test", "testing", "tst", "te"), "test"),
}
# Words glued to their split: `trainloss`, `trloss`, `valacc`.
GLUED = re.compile(r"(train|training|tr|trn|valid|validation|val|eval|test|dev)(loss|acc|accuracy|acc1|ppl|error|err|perplexity|nll|lr|mse|mae)")

# Words that do not change what a quantity is.
NOISE = _listed(
    "epoch step steps avg mean average ave batch running moving smoothed smooth current cur curr global log logs logged losses scalar "
    "scalars metric metrics on main overall final net output model history the raw iter iteration interval stats perf performance system timing "
    "results result summary reduced ema sum per set rollout charts inner info fit phase minibatch clean finished finished! done complete completed"
)
# Words that make of a quantity another one: extremes, spreads, parts of a sum, masks.
OTHER = _listed("best min max std var variance median stderr count num vs diff delta ratio target prev previous last lowest highest")
# Parts of a loss. Never the whole, even if nothing else was logged.
PARTS = _listed(
    "g d gen disc generator discriminator netg netd gan adv adversarial policy value critic actor entropy pi vf pg q qf1 qf2 ent alpha fake "
    "real kl kld aux reg regularization regularize regularizer penalty gp commit codebook vq percep perceptual lpips style feat balance router z cls "
    "box obj dfl rpn mask bbox giou ciou cycle idt identity recon reconstruction distill kd duration mel nsp sop weight decay load v unsupervised "
    "unsup temp temperature surrogate"
)

LR = _phrases(
    "lr, learning rate, learningrate, learn rate, l r, rate, opt lr, optim lr, optimizer lr, optimizer learning rate, lr abs, lr 0, lr0, lr "
    "group 0, lr group0, lr pg0, lr pg 0, group 0 lr, pg0 lr, pg0, lr param group 0, x lr0, optim0 lr0, optim0 lr, optimizer0 lr, lr "
    "default, lr scheduler lr, scheduler lr, lr scheduler last lr, last lr, learning rate 0, effective lr, lr rate, schedule lr, lr "
    "schedule, optimization lr, optim learning rate group0, learning rate group0, "
    "actor lr, learner default policy lr, learner default policy learner lr, "
    "learners default policy default optimizer learning rate, hyper lr, param lr, hp lr, eta lr, vs lr, optimizer lr 0, learning rate group 0"
)
_OPTIMIZERS = (
    "adam|adam w|decoupled adam w|decoupled lion w|"
    "adamw|adamax|nadam|radam|sgd|rmsprop|rms prop|rm sprop|adagrad|adadelta|lion|lamb|lars|adafactor|adan|muon|sophia|"
    "sophia g|sparse adam|asgd|lbfgs|fused adam|deep speed cpu adam|adam8bit|adam w8bit|nesterov|novograd|ranger|adabelief|"
    "ada belief|shampoo|soap|schedule free"
)
LR_OF_OPTIMIZER = re.compile(
    rf"(?:lr|learning rate) (?:default )?(?:optimizer|{_OPTIMIZERS})(?: pg1| pg0| group0)?|(?:{_OPTIMIZERS}) (?:lr|learning rate)"
)
GRAD_NORM = re.compile(
    r"(?:optim |actor )?(?:total |overall |l2 |unclipped |pre clip |preclip |raw )*"
    r"(?:grad norm|gradnorm|grdn|gnorm|g norm|gradient norm|gradients norm|grads norm|gradients total norm|norm grad|norm gradient|grad l2 norm"
    r"|gradient l2 norm|grad l2|norm grads|grad total norm|grad global norm|gradient total norm|grad norm l2|grad 2 norm|grad 2 0 norm|global norm"
    r"|norm of grad|norm of gradients|total norm|l2 grad norm|norm)"
    r"(?: total| all| l2| unclipped| before clip| before clipping| pre clip| preclip| overall)*"
)
BARE_PHRASES: dict[str, str] = {
    "loss_scale": (
        "loss scale, lossscale, loss scaler, loss scaling, grad scale, grad scaler, gradscaler, amp scale, amp scaler, "
        "scaler scale, amp loss scale, scaler, "
        "scale, fp16 loss scale, fp16 grad scale, dynamic loss scale"
    ),
    "throughput": (
        "throughput, tokens per second, tokens per sec, tokens s, tokens sec, tok s, tok sec, toks s, tps, tgs, wps, words s, words per second, "
        "samples per second, samples per sec, samples s, samples sec, sample s, examples per second, examples s, images per second, images per "
        "sec, images sec, images s, img s, img sec, imgs s, imgs sec, it s, its, it sec, iter s, iters s, iters per sec, iter per sec, "
        "iterations per second, steps per second, steps per sec, steps s, steps sec, step s, step sec, batch s, batches s, batches sec, toks sec, "
        "word s, images second, tokens second, samples second, examples sec, image s, fps, time fps, ups, train speed iter s, speed iter s, "
        "speed, tokens per second per gpu, tokens sec gpu, throughput token per sec, frames per second, sps, charts sps, batches per second, "
        "throughput device tokens per second, throughput tokens per sec, throughput tokens per second, "
        "samples sec per device, tokens s device, tokens sec device, ips"
    ),
    "step_time": (
        "step time, time per step, time step, iter time, iteration time, batch time, time per iter, time per iteration, time per batch, sec per "
        "iter, secs per iter, seconds per step, sec per step, s it, s iter, s step, s batch, secs it, ms per step, ms step, step ms, step time ms, "
        "ms it, ms iter, ms batch, ms per iter, ms per batch, "
        "step avg, step time s, step timing in s, s b, time batch, time iteration, elapsed time per iteration s, iter time s, "
        "train step time, elapsed time per iteration ms, elapsed time per iteration, dt, dt ms, iter time ms, time per iteration ms, seconds per "
        "iteration, step duration, batch duration, batch cost, sec it, sec step, sec batch, iteration time s, training step time, updt s"
    ),
    "data_time": (  # what of a step waited for its batch
        "data time, data loading time, dataloading time, data load time, load data time, data wait time, time data, reader cost, dataloader time, "
        "reader time, data fetch time, batch load time, data s, data cost"
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
PLURALS = {"losses": "loss", "accuracies": "accuracy", "accs": "acc", "perplexities": "perplexity", "ppls": "ppl", "lrs": "lr", "rewards": "reward"}
