"""Turns of phrase of single frameworks: which series a log of theirs gives, on the axis of the run, with first and last value.

The lines are written here as those frameworks print them; the numbers are invented.
"""

from pathlib import Path

import pytest

from postmortem.model.run import Run, Series
from postmortem.sources import read_run

Expected = tuple[str, list[float], list[float]]  # name, steps, values


def read(folder: Path, text: str, name: str = "train.log") -> Run:
    (folder / name).write_text(text)
    return read_run([folder / name])


def by_name(run: Run) -> dict[str, Series]:
    return {s.name: s for s in run.series}


ESPNET = "".join(
    f"[gpu01] 2022-01-11 1{e}:0{k}:31,123 (trainer:678) INFO: {e}epoch:train:{k * 100 + 1}-{k * 100 + 100}batch: iter_time=1.2e-04, loss_ctc=9.{k}, "
    f"acc=0.{e}{k}, loss={8 - e}.{k}, backward_time=0.06, optim0_lr0={e}.000e-05, train_time=0.62\n"
    + (
        f"[gpu01] 2022-01-11 1{e}:55:01,123 (trainer:328) INFO: {e}epoch results: [train] iter_time=1.2e-04, acc=0.{e}5, loss={8 - e}.9, "
        f"optim0_lr0=1.000e-05, time=5 minutes and 3.12 seconds, total_count={e * 200}, [valid] acc=0.{e}7, cer=0.4, loss={8 - e}.5, "
        f"time=10.25 seconds, total_count={e * 40}, [att_plot] time=15.5 seconds, total_count=0\n" * (k == 1)
    )
    for e in (1, 2)
    for k in (0, 1)
)
ICEFALL = (
    "2022-10-01 10:01:00,123 INFO [train.py:895] (0/8) Epoch 1, batch 0, loss[loss=7.5, simple_loss=0.5, over 5678.00 frames. ], "
    "tot_loss[loss=7.4, simple_loss=0.5, over 1234567.89 frames. ], batch size: 25, lr: 3.00e-03, grad_scale: 16.0\n"
    "2022-10-01 10:02:00,123 INFO [train.py:895] (0/8) Epoch 1, batch 50, loss[loss=6.5, simple_loss=0.5, over 5578.00 frames. ], "
    "tot_loss[loss=6.4, simple_loss=0.5, over 1234567.89 frames. ], batch size: 25, lr: 2.90e-03, grad_scale: 8.0\n"
    "2022-10-01 10:03:30,123 INFO [train.py:929] (0/8) Epoch 1, validation: loss=0.75, simple_loss=0.6, over 944034.00 frames. \n"
)
WENET = (
    "2022-10-01 10:01:00,123 DEBUG TRAIN Batch 0/0 loss 9.5 loss_att 9.0 loss_ctc 12.0 lr 0.00001000 rank 0\n"
    "2022-10-01 10:02:00,123 DEBUG TRAIN Batch 0/100 loss 8.5 loss_att 8.0 loss_ctc 11.0 lr 0.00002000 rank 0\n"
)
SWIN = "".join(
    f"[2021-04-01 10:0{e}:00 swin_tiny](main.py 226): INFO Train: [{e}/300][{k}/200]\teta 0:03:00 lr 0.0001{e}0\ttime 0.4 (0.5)\tloss {6 - e}.{k // 100} (6.5)"
    f"\tgrad_norm 1.2 (1.3)\tmem 4000MB\n"
    + f"[2021-04-01 10:0{e}:40 swin_tiny](main.py 270): INFO Test: [0/40]\tTime 1.2 (1.2)\tLoss {5 - e}.5 ({5 - e}.25)\tAcc@1 50.1 (50.1)\tMem 4000MB\n"
    * (k > 0)
    + f"[2021-04-01 10:0{e}:41 swin_tiny](main.py 276): INFO  * Acc@1 5{e}.5 Acc@5 75.1\n" * (k > 0)
    for e in (0, 1)
    for k in (0, 100)
)
ESTIMATOR = (
    "INFO:tensorflow:loss = 2.5, step = 0\nINFO:tensorflow:global_step/sec: 4.26\nINFO:tensorflow:loss = 1.5, step = 100 (23.451 sec)\n"
    "INFO:tensorflow:Saving dict for global step 100: accuracy = 0.5, global_step = 100, loss = 1.75\n"
)
PADDLE_OCR = (
    "[2022/05/05 20:01:41] ppocr INFO: epoch: [1/500], global_step: 10, lr: 0.000001, acc: 0.1, loss: 2.5, avg_reader_cost: 0.1 s\n"
    "[2022/05/05 20:02:41] ppocr INFO: epoch: [2/500], global_step: 20, lr: 0.000002, acc: 0.2, loss: 2.0, avg_reader_cost: 0.1 s\n"
    "[2022/05/05 20:03:50] ppocr INFO: cur metric, acc: 0.5, norm_edit_dis: 0.72, fps: 800.1\n"
    "[2022/05/05 20:03:50] ppocr INFO: best metric, acc: 0.6, start_epoch: 1, norm_edit_dis: 0.72, fps: 800.1, best_epoch: 1\n"
)
PADDLE_SEG = "".join(
    f"2022-05-05 20:0{n}:41 [INFO]\t[TRAIN] epoch: {1 + n // 3}, iter: {10 * (n + 1)}/100, loss: {9 - n}.5, lr: 0.0099, batch_cost: 0.2, ips: 20 samples/sec\n"
    + "2022-05-05 20:09:50 [INFO]\t[EVAL] #Images: 76 mIoU: 0.6 Acc: 0.9 Kappa: 0.8\n" * (n == 4)
    for n in range(9)
)
COCO = (
    "Epoch: [0] [ 0/100] lr: 0.001 loss: 2.5\nEpoch: [0] [99/100] lr: 0.001 loss: 2.0\n"
    " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 0.25\n"
    " Average Precision  (AP) @[ IoU=0.50      | area=   all | maxDets=100 ] = 0.5\n"
    " Average Precision  (AP) @[ IoU=0.50:0.95 | area= small | maxDets=100 ] = 0.125\n"
    " Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 0.75\n"
)
D2 = (
    "[05/12 10:00:01 d2.utils.events]:  eta: 0:10:00  iter: 19  total_loss: 2.5  loss_cls: 0.5  time: 0.3  lr: 1e-05  max_mem: 3000M\n"
    "[05/12 10:00:02 d2.utils.events]:  eta: 0:10:00  iter: 39  total_loss: 2.0  loss_cls: 0.5  time: 0.3  lr: 2e-05  max_mem: 3000M\n"
    "[05/12 10:01:00 d2.evaluation.testing]: copypaste: Task: bbox\n[05/12 10:01:00 d2.evaluation.testing]: copypaste: AP,AP50,AP75,APs,APm,APl\n"
    "[05/12 10:01:00 d2.evaluation.testing]: copypaste: 38.25,58.1,41.2,21.3,41.1,50.2\n"
)
DARKNET = (
    " 1: 1300.5, 1400.5 avg loss, 0.000100 rate, 5.1 seconds, 64 images\nLoaded: 0.000040 seconds\n"
    "Region 82 Avg IOU: -nan, Class: -nan, Obj: -nan, No Obj: 0.48, .5R: -nan, .75R: -nan,  count: 0\n"
    " 2: 1200.5, 1380.5 avg loss, 0.000200 rate, 5.1 seconds, 128 images\n"
)
KALDI = "".join(
    f"LOG (nnet3-train[5.5]:PrintStatsForThisPhase():nnet-training.cc:296) Average objective function for 'output' for minibatches "
    f"{e * 10}-{e * 10 + 9} is -{3 - e}.5 over 5120 frames.\n"
    for e in range(3)
)
FLAIR = (
    "2023-01-01 10:01:10,123 epoch 1 - iter 10/20 - loss 2.5 - time (sec): 3.12 - samples/sec: 500.12 - lr: 0.050010\n"
    "2023-01-01 10:01:20,123 epoch 1 - iter 20/20 - loss 2.0 - time (sec): 3.12 - samples/sec: 500.12 - lr: 0.050010\n"
    "2023-01-01 10:01:55,123 DEV : loss 2.25 - f1-score (micro avg)  0.5\n"
    "2023-01-01 10:05:00,123 Testing using last state of model ...\n2023-01-01 10:05:10,123 \nResults:\n- F-score (micro) 0.625\n- F-score (macro) 0.75\n"
    "- Accuracy 0.5\n\nBy class:\n              precision    recall  f1-score   support\n\n         LOC     0.8012    0.8512    0.8254      1668\n"
    "         PER     0.8512    0.8212    0.8359      1617\n"
)
OLD_FLAIR = (
    "2019-06-11 14:44:24,156 epoch 1 - iter 1/2 - loss 0.75\n2019-06-11 14:44:28,156 epoch 1 - iter 2/2 - loss 0.5\n"
    "2019-06-11 14:44:31,795 Testing using best model ...\n2019-06-11 14:44:31,796 loading file best-model.pt\n"
    "MICRO_AVG: acc 0.25 - f1-score 0.5\nMACRO_AVG: acc 0.75 - f1-score 0.75\n"
    "Cloud      tp: 73 - fp: 7 - fn: 31 - tn: 472 - precision: 0.9 - recall: 0.7 - accuracy: 0.6 - f1-score: 0.8\n"
)
SPEECHBRAIN = (
    "epoch: 1, lr: 1.00e+00 - train loss: 2.5 - valid loss: 2.75, valid WER: 60.5\nepoch: 2, lr: 8.00e-01 - train loss: 2.0 - valid loss: 2.25, valid WER: 50.5\n"
    "Epoch loaded: 2 - test loss: 2.5, test WER: 51.5\n"
)
NNUNET = "".join(
    f"2023-10-11 14:2{i}:04.422222: Epoch {i} \n2023-10-11 14:2{i}:04.433333: Current learning rate: 0.0{9 - i} \n2023-10-11 14:2{i}:50.044444: "
    f"train_loss -0.{i}5 \n2023-10-11 14:2{i}:50.055555: val_loss -0.{i}25 \n2023-10-11 14:2{i}:50.066666: Pseudo dice [0.{i}5, 0.{i}1] \n"
    for i in range(3)
)
COQUI = "".join(
    f"\x1b[1m   --> STEP: 10/20 -- GLOBAL_STEP: {10 + 20 * e}\x1b[0m\n     | > loss_gen: {3 - e}.5  ({3 - e}.75)\n     | > current_lr_0: 0.00020 \n\n\n"
    f"\x1b[1m > EVALUATION \x1b[0m\n\n\n  \x1b[1m--> EVAL PERFORMANCE\x1b[0m\n     | > avg_loss_gen:\x1b[92m {2 - e}.25 \x1b[0m(+0.00000)\n\n"
    f"\x1b[4m\x1b[1m > EPOCH: {e + 1}/1000\x1b[0m\n --> /content/vits\n\n\x1b[1m > TRAINING (2022-11-03 10:52:23) \x1b[0m\n\n"
    for e in (0, 1)
)
SPACY = (
    "E    #       LOSS TOK2VEC  LOSS NER  ENTS_F  ENTS_P  ENTS_R  SCORE \n---  ------  ------------  --------  ------  ------  ------  ------\n"
    "  0       0          0.00     40.50    0.50    0.25    5.00    0.25\n  0     200         32.50    450.50   62.50   60.00   65.00    0.50\n"
    "  1     400         22.50    350.50   72.50   70.00   75.00    0.75\n"
)
OLMO = "".join(
    f"2024-02-01 10:00:0{i}.123\thost:0\tolmo.train:951\tINFO\t[step={i * 10}/7393,epoch=0]\n    optim/total_grad_norm=0.{i}5\n"
    f"    train/CrossEntropyLoss={9 - i}.5\n    train/Perplexity=1,024.5\n"
    for i in (1, 2)
)
VERL = "".join(f"step:{i} - actor/entropy:0.5 - actor/grad_norm:0.{i}5 - actor/lr:1e-06 - critic/score/mean:0.{i}25\n" for i in (1, 2))
PROMPT = "".join(
    f"Epoch: [{e}][ 0/10]\tTime 0.5 ( 0.5)\tLoss 2.{e}e+00 (2.5e+00)\tAcc@1  75.00 ( 75.00)\n"
    f"Validate: [0/3]\tTime 8.9 ( 8.9)\tLoss 1.8796e+00 (1.{e}5)\tOriginal Acc@1  87.50 ( 87.50)\tPrompt Acc@1  80.50 ( 80.50)\n"
    f"FINAL * Prompt Acc@1 7{e}.5 Original Acc@1 81.25\n"
    for e in (0, 1)
)
GUIDED = "".join(f"| grad_norm | {9 - n}.5 |\n| loss      | {8 - n}.5 |\n| step      | {1 + n // 2}e+04    |\n--------------\n" for n in range(4))

DEEPFAKE = "".join(
    f"2025-05-31 04:4{n}:50,098 - INFO - Iter: {n}00    training-loss, overall: 0.{7 - n}5    \n"
    f"2025-05-31 04:4{n}:50,099 - INFO - Iter: {n}00    training-metric, acc: 0.{n}5    training-metric, auc: 0.{n}25    training-metric, eer: 0.125    \n"
    f"2025-05-31 05:0{n}:22,221 - INFO - dataset: DFDC    step: {n}00    testing-metric, acc: 0.{n}0    testing-metric, auc: 0.{n}75    \n"
    for n in (1, 2, 3)
)
BRACKETS = "".join(f"2021-08-08 15:2{n}:33,421 - INFO - Epoch {n}0    [Avg. Loss, Accuracy]: [{8 - n}.5, 0.{n}5], 0\n" for n in (1, 2, 3))
BEHIND = "".join(f"Epoch {n} @ 10:2{n} PM : 0.{8 - n}5 C.E. Loss, {n}5.5% Accuracy\n" for n in (1, 2, 3)) + "best epoch 3: 0.01 val loss\n"
BEHIND_TOO = "".join(f"Epoch {n}: 0.{8 - n}5 loss, 0.{9 - n}5 val loss, {n}5.5% accuracy\n" for n in (1, 2, 3))
AFTER = "".join(f"Loss after {n} epochs: 0.{8 - n}5\t\n" for n in (1, 2, 3))
TENSORS = "".join(f"Lasso 10 Step: {n}00 MLL: tf.Tensor(-{n}.5, shape=(), dtype=float64)\n" for n in (1, 2, 3))
OPEN_CLIP = "".join(
    f"2022-01-01,00:00:0{n} | INFO | Train Epoch: {n // 2} [ {n % 2 * 25600 + 25600:>7}/51200 ({n % 2 * 50 + 50}%)] Data (t): 0.500 Batch (t): 1.200, 200.3/s, 100.1/s/gpu "
    f"LR: 0.00{n}000 Logit Scale: 14.286 Contrastive_loss: {8 - n}.5 ({8 - n}.6) Loss: {8 - n}.5 ({8 - n}.6)\n"
    + f"2022-01-01,00:01:0{n} | INFO | Eval Epoch: {n // 2 + 1} imagenet-zeroshot-val-top1: 0.{n}5\timagenet-zeroshot-val-top5: 0.{n}75\n"
    * (n % 2)
    for n in range(4)
)
YOLOX = "".join(
    f"2021-08-01 12:00:0{n} | INFO     | yolox.core.trainer:253 - epoch: 1/300, iter: {n}0/1848, mem: 7062Mb, iter_time: 0.443s, data_time: 0.001s, "
    f"total_loss: {9 - n}.5, iou_loss: 4.2, l1_loss: 0.0, conf_loss: 11.4, cls_loss: 2.2, lr: 1.171e-0{n}, size: 640, ETA: 2 days, 20:12:13\n"
    for n in (1, 2, 3)
)
DEEP_TEXT = "".join(
    f"[{n}00/300000] Train loss: 0.{8 - n}5, Valid loss: 0.{9 - n}5, Elapsed_time: {n}0.25\nCurrent_accuracy : {n}0.500, Current_norm_ED  : 0.{n}5\n"
    f"Best_accuracy    : {n}0.500, Best_norm_ED     : 0.{n}5\n"
    for n in (1, 2, 3)
)
MONAI = "".join(
    f"epoch {n}/10\n1/2, train_loss: 0.{8 - n}5\n2/2, train_loss: 0.{8 - n}0\nepoch {n} average loss: 0.{8 - n}25\n"
    f"current epoch: {n} current mean dice: 0.{n}125\nbest mean dice: 0.{n}125 at epoch: {n}\n"
    for n in (1, 2, 3)
)
RVC = "".join(
    f"INFO:exp:Train Epoch: {n} [10%]\nINFO:exp:loss_disc=4.2, loss_gen=3.1, loss_fm=1{n}.1,loss_mel=31.1, loss_kl=5.1\n" for n in (1, 2, 3)
)
SO_VITS = "".join(
    f"INFO:44k:Train Epoch: {n} [45%]\nINFO:44k:Losses: [2.3, 2.1, 10.2, 20.1, 1.2], step: {n}00, lr: 0.0001, reference_loss: {9 - n}.5\n"
    for n in (1, 2, 3)
)
TESSERACT = "".join(
    f"At iteration {n}0/{n}00/{n}00, mean rms=5.1%, delta=30.123%, BCER train={80 - n}.5%, BWER train=100.0%, skip ratio=0.000%, New worst BCER = 99.9 wrote checkpoint.\n"
    for n in (1, 2, 3)
)
DS_CHAT = "".join(
    f"Epoch: 0 | Step: {n} | PPO Epoch: 1 | Actor Loss: 0.1{n} | Critic Loss: 0.2{n} | Unsupervised Loss: 0.0\naverage reward score: 0.{n}5\n"
    for n in (1, 2, 3)
)
CATALYST = "".join(
    f"{split} ({n}/3) accuracy01: 0.{n}5 | loss: 0.{high - n}5 | lr: 0.001 | momentum: 0.9\n"
    for n in (1, 2, 3)
    for split, high in (("train", 8), ("valid", 9))
)
DL_LOGGER = "".join(
    f'DLLL {{"timestamp": "1700000000.0", "elapsedtime": "1.0", "type": "LOG", "step": [0, {n}0], "data": {{"loss": 0.{8 - n}5, "learning_rate": 0.001}}}}\n'
    for n in (1, 2, 3)
)
TAGGED = "".join(f"[1,{rank}]<stdout>:Epoch: {n} loss: 0.{8 - n}{rank} lr: 0.001\n" for n in (1, 2, 3) for rank in (0, 4))
FROM_ONE = "".join(f"Epoch: [{e}][{k}/20]\tTime 0.1 (0.1)\tLoss {9 - e}.{k // 10} (8.5)\n" for e in (1, 2) for k in (0, 10))
TIMM = "".join(
    f"Train: {e} [   {k}/2 ( {50 * k + 50}%)]  Loss: {6 - e}.{k} (6.5)  Time: 0.096s,   41.85/s  (0.096s,   41.85/s)  LR: 1.{e}00e-05  Data: 0.010 (0.010)\n"
    + f"Test: [   1/1]  Time: 0.013 (0.013)  Loss:   0.598 ( 0.{7 - e}25)  Acc@1: 100.000 ( 5{e}.000)  Acc@5: 100.000 (100.000)\n" * k
    for e in (0, 1)
    for k in (0, 1)
)
TIMM_RESULT = TIMM + "*** Best metric: 51.0 (epoch 1)\n--result\n[\n" + "".join(
    f'    {{\n        "epoch": {e},\n        "train": {{\n            "loss": {6 - e}.25\n        }},\n        "validation": {{\n'
    f'            "loss": 0.{7 - e}25,\n            "top1": 5{e}.0,\n            "top5": 100.0\n        }}\n    }}{"," * (e == 0)}\n'
    for e in (0, 1)
) + "]\n"  # fmt: skip

LOGS: dict[str, tuple[str, list[Expected]]] = {
    "deepfakebench": (
        DEEPFAKE,
        [
            ("train/loss", [100, 200, 300], [0.65, 0.55, 0.45]),
            ("train/accuracy", [100, 200, 300], [0.15, 0.25, 0.35]),
            ("val/auc", [100, 200, 300], [0.175, 0.275, 0.375]),
        ],
    ),
    "names in brackets": (BRACKETS, [("train/loss", [10, 20, 30], [7.5, 6.5, 5.5]), ("train/accuracy", [10, 20, 30], [0.15, 0.25, 0.35])]),
    "behind": (BEHIND, [("train/loss", [1, 2, 3], [0.75, 0.65, 0.55]), ("train/accuracy", [1, 2, 3], [0.155, 0.255, 0.355])]),
    "behind, two sets": (BEHIND_TOO, [("train/loss", [1, 2, 3], [0.75, 0.65, 0.55]), ("val/loss", [1, 2, 3], [0.85, 0.75, 0.65])]),
    "after": (AFTER, [("train/loss", [1, 2, 3], [0.75, 0.65, 0.55])]),
    "open_clip": (
        OPEN_CLIP,
        [
            ("train/loss", [0.5, 1.0, 1.5, 2.0], [8.5, 7.5, 6.5, 5.5]),
            ("lr", [0.5, 1.0, 1.5, 2.0], [0, 0.001, 0.002, 0.003]),
            ("val/accuracy", [1, 2], [0.15, 0.35]),
        ],
    ),
    "yolox": (YOLOX, [("train/loss", [10, 20, 30], [8.5, 7.5, 6.5]), ("step_time", [10, 20, 30], [0.443] * 3)]),
    "deep text recognition": (
        DEEP_TEXT,
        [
            ("train/loss", [100, 200, 300], [0.75, 0.65, 0.55]),
            ("val/loss", [100, 200, 300], [0.85, 0.75, 0.65]),
            ("val/accuracy", [100, 200, 300], [10.5, 20.5, 30.5]),
        ],
    ),
    "monai": (
        MONAI,
        [("train/loss", [1, 2, 3, 4, 5, 6], [0.75, 0.7, 0.65, 0.6, 0.55, 0.5]), ("val/score", [2, 4, 6], [0.1125, 0.2125, 0.3125])],
    ),
    "rvc": (RVC, [("other/loss_fm", [1, 2, 3], [11.1, 12.1, 13.1])]),
    "so-vits": (SO_VITS, [("train/loss", [100, 200, 300], [8.5, 7.5, 6.5])]),
    "tesseract": (TESSERACT, [("train/error", [100, 200, 300], [0.795, 0.785, 0.775])]),
    "deepspeed chat": (DS_CHAT, [("reward", [1, 2, 3], [0.15, 0.25, 0.35]), ("other/Unsupervised Loss", [1, 2, 3], [0, 0, 0])]),
    "catalyst": (CATALYST, [("train/loss", [1, 2, 3], [0.75, 0.65, 0.55]), ("val/loss", [1, 2, 3], [0.85, 0.75, 0.65])]),
    "dllogger": (DL_LOGGER, [("train/loss", [10, 20, 30], [0.75, 0.65, 0.55]), ("lr", [10, 20, 30], [0.001] * 3)]),
    "tagged output": (TAGGED, [("train/loss", [1, 2, 3], [0.72, 0.62, 0.52])]),
    "brackets from one": (FROM_ONE, [("train/loss", [0, 10, 20, 30], [8.0, 8.1, 7.0, 7.1])]),
    "tensors of TensorFlow": (TENSORS, [("other/MLL", [100, 200, 300], [-1.5, -2.5, -3.5])]),
    "timm": (
        TIMM,
        [
            ("train/loss", [0, 1, 2, 3], [6.0, 6.1, 5.0, 5.1]),
            ("val/loss", [2, 4], [0.725, 0.625]),
            ("val/accuracy", [2, 4], [50, 51]),
        ],
    ),
    "timm, with its result": (
        TIMM_RESULT,
        [("train/loss.epoch", [2, 4], [6.25, 5.25]), ("val/loss", [2, 4], [0.725, 0.625]), ("val/accuracy", [2, 4], [50, 51])],
    ),
    "espnet": (
        ESPNET,
        [
            ("train/loss", [100, 200, 300, 400], [7.0, 7.1, 6.0, 6.1]),
            ("train/loss.epoch", [200, 400], [7.9, 6.9]),
            ("val/loss", [200, 400], [7.5, 6.5]),
            ("val/accuracy", [200, 400], [0.17, 0.27]),
        ],
    ),
    "icefall": (ICEFALL, [("train/loss", [0, 50], [7.5, 6.5]), ("loss_scale", [0, 50], [16, 8]), ("val/loss", [50], [0.75])]),
    "wenet": (WENET, [("train/loss", [0, 100], [9.5, 8.5])]),
    "swin": (
        SWIN,
        [
            ("train/loss", [0, 100, 200, 300], [6.0, 6.1, 5.0, 5.1]),
            ("val/loss", [200, 400], [5.25, 4.25]),
            ("val/accuracy", [200, 400], [50.5, 51.5]),
        ],
    ),
    "estimator": (ESTIMATOR, [("train/loss", [0, 100], [2.5, 1.5]), ("val/loss", [100], [1.75]), ("val/accuracy", [100], [0.5])]),
    "paddleocr": (PADDLE_OCR, [("train/accuracy", [10, 20], [0.1, 0.2]), ("val/accuracy", [20], [0.5])]),
    "paddleseg": (PADDLE_SEG, [("train/loss", [10.0 * n for n in range(1, 10)], [n + 0.5 for n in range(9, 0, -1)]), ("val/score", [60], [0.6])]),
    "coco": (COCO, [("train/loss", [0, 99], [2.5, 2.0]), ("val/score", [100], [0.25])]),
    "detectron2": (D2, [("train/loss", [19, 39], [2.5, 2.0]), ("val/score", [39], [38.25])]),
    "darknet": (DARKNET, [("train/loss", [1, 2], [1300.5, 1200.5])]),
    "kaldi": (KALDI, [("train/loss", [9, 19, 29], [3.5, 2.5, 1.5])]),
    "flair": (FLAIR, [("val/f1", [20], [0.5]), ("test/f1", [20], [0.625]), ("test/accuracy", [20], [0.5])]),
    "flair, old": (OLD_FLAIR, [("train/loss", [1, 2], [0.75, 0.5]), ("test/f1", [2], [0.5]), ("test/accuracy", [2], [0.25])]),
    "speechbrain": (SPEECHBRAIN, [("val/loss", [1, 2], [2.75, 2.25]), ("test/loss", [2], [2.5])]),
    "nnunet": (NNUNET, [("train/loss", [1, 2, 3], [-0.05, -0.15, -0.25]), ("val/score", [1, 2, 3], [0.05, 0.15, 0.25])]),
    "coqui": (COQUI, [("other/loss_gen", [10, 30], [3.5, 2.5]), ("other/val loss_gen", [10, 30], [2.25, 1.25])]),
    "spacy": (SPACY, [("val/score", [0, 200, 400], [0.25, 0.5, 0.75])]),
    "olmo": (OLMO, [("train/loss", [10, 20], [8.5, 7.5]), ("grad_norm", [10, 20], [0.15, 0.25])]),
    "verl": (VERL, [("grad_norm", [1, 2], [0.15, 0.25]), ("lr", [1, 2], [1e-6, 1e-6]), ("reward", [1, 2], [0.125, 0.225])]),
    "visual prompting": (PROMPT, [("val/accuracy", [10, 20], [70.5, 71.5]), ("val/loss", [10, 20], [1.05, 1.15])]),
    "guided diffusion": (GUIDED, [("train/loss", [10_000, 15_000, 20_000], [8.5, 7.5, 5.5])]),
}


@pytest.mark.parametrize("habit", LOGS)
def test_the_series_of_an_idiom(tmp_path: Path, habit: str) -> None:
    text, expected = LOGS[habit]
    found = by_name(read(tmp_path, text))
    for name, steps, values in expected:
        assert name in found, sorted(found)
        assert found[name].steps.tolist() == pytest.approx(steps), name
        assert found[name].values.tolist() == pytest.approx(values), name


@pytest.mark.parametrize("habit", ["flair", "flair, old", "darknet", "coco", "paddleocr"])
def test_what_is_no_curve_of_training_stays_out_of_it(tmp_path: Path, habit: str) -> None:
    found = by_name(read(tmp_path, LOGS[habit][0]))
    assert not {"train/error", "train/f1", "train/score"} & found.keys()
    if "flair" in habit:
        assert "train/accuracy" not in found


@pytest.mark.parametrize("habit", ["rvc", "deepspeed chat"])
def test_one_part_among_many_is_no_loss(tmp_path: Path, habit: str) -> None:
    assert "train/loss" not in by_name(read(tmp_path, LOGS[habit][0]))


@pytest.mark.parametrize("habit", ["behind", "timm, with its result"])
def test_what_belongs_to_no_record_is_no_metric_of_validation_or_training(tmp_path: Path, habit: str) -> None:
    found = by_name(read(tmp_path, LOGS[habit][0]))
    assert ("val/loss" in found) == habit.startswith("timm")
    assert ("train/accuracy" in found) == (habit == "behind")


@pytest.mark.parametrize(
    "line",
    [
        "[11/27 04:52:55 d2.engine.hooks]: Overall training speed: 198 iterations in 0:00:07 (0.0386 s / it)",
        "Speed: 0.2ms preprocess, 1.2ms inference, 0.0ms loss, 0.3ms postprocess per image",
        "               classes   top1_acc   top5_acc: 100% ━━━━━━━━━━━━ 1/1 64.0it/s 0.0s",
    ],
)
def test_how_fast_it_all_went_is_no_record(tmp_path: Path, line: str) -> None:
    found = read(tmp_path, "".join(f"iter: {n} total_loss: {2 / n}\n" for n in range(1, 5)) + line + "\n")
    assert [s.name for s in found.series] == ["train/loss"]
