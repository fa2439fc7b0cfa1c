"""One small log in each habit: which series come out, where they are, and their values."""

import math
from pathlib import Path

import pytest

from postmortem.model.run import Series
from postmortem.sources.logs.text import READER
from postmortem.sources.reader import Candidate, Found


def read(folder: Path, text: str | bytes, name: str = "train.log") -> Found:
    data = text.encode() if isinstance(text, str) else text
    (folder / name).write_bytes(data)
    candidate = Candidate(folder, name, len(data), data[:4096], frozenset({name}))
    assert READER.claims(candidate)
    return READER.read(candidate)


def one(found: Found, name: str, logged_as: str | None = None) -> Series:
    matches = [s for s in found.series if s.name == name and logged_as in (None, s.logged_as)]
    assert len(matches) == 1, [(s.name, s.logged_as) for s in found.series]
    return matches[0]


N = None  # not known

# text, then per series: name, steps, epochs, values
DIALECTS: dict[str, tuple[str, list[tuple[str, list[float | None], list[float | None], list[float]]]]] = {
    "colon": ("step: 5 loss: 0.81 lr: 1e-3\nstep: 6 loss: 0.75 lr: 1e-3\n", [("train/loss", [5, 6], [N, N], [0.81, 0.75]), ("lr", [5, 6], [N, N], [1e-3, 1e-3])]),
    "equals": ("epoch=1 step=3 train_loss=0.3\nepoch=1 step=4 train_loss=0.2\n", [("train/loss", [3, 4], [N, N], [0.3, 0.2])]),
    "bare words": ("iter 0: loss 2.51, time 7.0ms\niter 10: loss 2.25, time 7.1ms\n", [("train/loss", [0, 10], [N, N], [2.51, 2.25])]),
    "split governs": (
        "Epoch   1/7 | train loss 2.5 acc 0.4 | val loss 1.5 acc 0.7 | lr 1.00e-03 | 0.0s\nEpoch   2/7 | train loss 1.5 acc 0.5 | val loss 1.25 acc 0.75 | lr 1.00e-03 | 0.0s\n",
        [("train/loss", [N, N], [1, 2], [2.5, 1.5]), ("train/accuracy", [N, N], [1, 2], [0.4, 0.5]), ("val/loss", [N, N], [1, 2], [1.5, 1.25]), ("val/accuracy", [N, N], [1, 2], [0.7, 0.75])],
    ),
    "commas do not end a split": (
        "Epoch 3: train loss 0.5, acc 0.8, val loss 0.6, acc 0.7\n",
        [("train/accuracy", [N], [3], [0.8]), ("val/accuracy", [N], [3], [0.7])],
    ),
    "mnist example": (
        "Train Epoch: 1 [0/800 (0%)]\tLoss: 2.31\nTrain Epoch: 1 [400/800 (50%)]\tLoss: 2.11\n\nTest set: Average loss: 1.9, Accuracy: 27/360 (8%)\n\nTrain Epoch: 2 [200/800 (25%)]\tLoss: 1.95\n",
        [("train/loss", [N, N, N], [0, 0.5, 1.25], [2.31, 2.11, 1.95]), ("test/loss", [N], [1], [1.9]), ("test/accuracy", [N], [1], [0.075])],
    ),
    "keras": (
        "Epoch 1/4\n45/45 - 0s - 2ms/step - accuracy: 0.10 - loss: 2.5 - val_accuracy: 0.2 - val_loss: 2.25\nEpoch 2/4\n45/45 - 0s - 2ms/step - accuracy: 0.30 - loss: 2.0 - val_accuracy: 0.4 - val_loss: 1.75\n",
        [("train/loss", [N, N], [1, 2], [2.5, 2.0]), ("val/accuracy", [N, N], [1, 2], [0.2, 0.4])],
    ),
    "keras bar": (
        "Epoch 1/3\n 10/20 [=====>......] - ETA: 1s - loss: 9.5\r 20/20 [==============] - 2s 9ms/step - loss: 4.6988e-01 - val_loss: nan\nEpoch 2/3\n 20/20 [==============] - 2s 9ms/step - loss: 0.25 - val_loss: 0.5\nEpoch 3/3\n 20/20 [==============] - 2s 9ms/step - loss: 0.125 - val_loss: 0.5\n",
        [("train/loss", [N, N, N], [1, 2, 3], [0.46988, 0.25, 0.125]), ("val/loss", [N, N, N], [1, 2, 3], [math.nan, 0.5, 0.5])],
    ),
    "keras, no steps": ("Epoch 8/99\n - 0s - loss: 0.25 - val_loss: 0.3\nEpoch 9/99\n - 0s - loss: 0.2 - val_loss: 0.31\n", [("val/loss", [N, N], [8, 9], [0.3, 0.31])]),
    "transformers": (
        "{'loss': 2.5, 'grad_norm': 1.25, 'learning_rate': 5e-05, 'epoch': 0.5}\n{'eval_loss': 2.25, 'epoch': 1.0}\n{'loss': '2.0', 'grad_norm': 'nan', 'learning_rate': '2e-05', 'epoch': '1.5'}\n{'train_runtime': 9.0, 'train_loss': 2.2, 'epoch': 1.5}\n",
        [("train/loss", [N, N], [0.5, 1.5], [2.5, 2.0]), ("grad_norm", [N, N], [0.5, 1.5], [1.25, math.nan]), ("val/loss", [N], [1.0], [2.25])],
    ),
    "transformers with bar": (
        " 10%|█         | 10/100 [00:05<00:45,  2.00it/s]{'loss': 2.5, 'learning_rate': 5e-05, 'epoch': 0.1}\n 20%|██        | 20/100 [00:10<00:40,  2.00it/s]{'loss': 2.0, 'learning_rate': 4e-05, 'epoch': 0.2}\n",
        [("train/loss", [10, 20], [0.1, 0.2], [2.5, 2.0])],
    ),
    "metric logger": (
        "Epoch: [0]  [ 0/200]  eta: 0:03:06  lr: 0.000100  loss: 0.5 (0.7)  time: 0.89  data: 0.23  max mem: 6450\nEpoch: [0]  [100/200]  eta: 0:01:06  lr: 0.000100  loss: 0.4 (0.6)  time: 0.67  data: 0.03  max mem: 6450\nEpoch: [1]  [ 50/200]  eta: 0:01:06  lr: 0.000100  loss: 0.3 (0.5)  time: 0.67  data: 0.03  max mem: 6450\n",
        [("train/loss", [0, 100, 250], [0, 0.5, 1.25], [0.5, 0.4, 0.3])],
    ),
    "megatron": (
        " iteration       61/    1000 | consumed samples:        62464 | elapsed time per iteration (ms): 128838.5 | learning rate: 1.5E-04 | global batch size:  1024 | lm loss: 2.0E+01 | loss scale: 12.0 | grad norm: 7.5 | number of skipped iterations:   0 | number of nan iterations:   0 |\ntime (ms) | forward-compute: 28125.05 | optimizer: 15.59\n",
        [("train/loss", [61], [N], [20.0]), ("grad_norm", [61], [N], [7.5]), ("loss_scale", [61], [N], [12.0]), ("lr", [61], [N], [1.5e-4])],
    ),
    "megatron validation": ("-----\n validation loss at iteration 100 | lm loss value: 8.5E+00 | lm loss PPL: 4.9E+03 | \n-----\n", [("val/loss", [100], [N], [8.5]), ("val/perplexity", [100], [N], [4900])]),
    "fairseq": (
        "2020-03-23 11:39:44 | INFO | train_inner | epoch 001:     50 / 200 loss=9.5, nll_loss=8.4, ppl=347.2, num_updates=50, lr=0.000175, gnorm=1.5\n2020-03-23 11:49:44 | INFO | valid | epoch 001 | valid on 'valid' subset | loss 9.25 | ppl 321.2 | num_updates 200 | best_loss 9.25\n",
        [("train/loss", [50], [0.25], [9.5]), ("grad_norm", [50], [0.25], [1.5]), ("val/loss", [200], [1], [9.25])],
    ),
    "fairseq json": ('[2021-05-01 10:00:00,000][train_inner][INFO] - {"epoch": 1, "update": 0.02, "loss": "14.1", "num_updates": "100", "lr": "0.001", "gnorm": "1.5"}\n', [("train/loss", [100], [N], [14.1])]),
    "marian": (
        "[2022-12-02 11:18:25] Ep. 2 : Up. 1100 : Sen. 27,644 : Cost 0.5 : Time 113.95s : 4826.34 words/s : gNorm 0.75\n[2022-12-02 11:19:25] [valid] Ep. 2 : Up. 1200 : perplexity : 5.5 : stalled 3 times (last best: 4.7)\n",
        [("train/loss", [1100], [N], [0.5]), ("grad_norm", [1100], [N], [0.75]), ("val/perplexity", [1200], [N], [5.5])],
    ),
    "llm.c": ("s:0 tel:10.5\ns:0 trl:10.25\ns:1 trl:10.0 lr:6e-4 norm:1.25\n", [("val/loss", [0], [N], [10.5]), ("train/loss", [0, 1], [N, N], [10.25, 10.0])]),
    "modded nanogpt": ("step:125/3040 val_loss:4.5 train_time:100ms step_avg:1.5ms\nstep:250/3040 val_loss:4.25 train_time:200ms step_avg:1.5ms\n", [("val/loss", [125, 250], [N, N], [4.5, 4.25])]),
    "caffe": (
        "I0515 11:05:31.873651 37636 solver.cpp:239] Iteration 20 (1.02 iter/s, 19.4s/20 iters), loss = 6.9\nI0515 11:05:31.873690 37636 solver.cpp:258]     Train net output #0: accuracy = 0.5 (* 1 = 0.5 loss)\nI0515 11:05:31.873700 37636 sgd_solver.cpp:106] Iteration 20, lr = 0.003\nI0515 11:05:32.873651 37636 solver.cpp:310] Iteration 20, Testing net (#0)\nI0515 11:05:32.973651 37636 solver.cpp:359]     Test net output #0: loss = 7.5 (* 1 = 7.5 loss)\n",
        [("train/loss", [20], [N], [6.9]), ("train/accuracy", [20], [N], [0.5]), ("lr", [20], [N], [0.003]), ("test/loss", [20], [N], [7.5])],
    ),
    "darknet": (" 100: 1200.5, 1300.25 avg loss, 0.0001 rate, 2.1 seconds, 6400 images\n 101: 1100.5, 1280.25 avg loss, 0.0001 rate, 2.1 seconds, 6464 images\n", [("train/loss", [100, 101], [N, N], [1200.5, 1100.5]), ("lr", [100, 101], [N, N], [1e-4, 1e-4])]),
    "darknet with epoch": ("40245, 4.021: 6.9, 6.95 avg, 0.08 rate, 0.38 seconds, 5151360 images\n", [("train/loss", [40245], [N], [6.9])]),
    "yolo results": ("     0/9     11.8G   0.06   0.03         0    0.1        30       640  0.004    0.29  0.001 0.0002   0.09   0.03         0\n", [("train/loss", [N], [1], [0.1]), ("val/score", [N], [1], [0.001])]),
    "timm": ("Train: 1 [   0/100 (  0%)]  Loss: 3.5 (3.5)  Time: 0.3s,  120.1/s  LR: 1.0e-03  Data: 0.01\nTrain: 1 [  50/100 ( 50%)]  Loss: 3.25 (3.3)  Time: 0.3s,  120.1/s  LR: 1.0e-03  Data: 0.01\nTest: [   0/48]  Loss: 1.5 (1.5)  Acc@1: 60.0 (60.0)\nTest: [  48/48]  Loss: 1.1 (1.25)  Acc@1: 70.0 (71.5)\n", [("train/loss", [0, 50], [0, 0.5], [3.5, 3.25]), ("test/accuracy", [N], [1], [71.5])]),
    "imagenet example": ("Epoch: [0][ 10/100]\tTime  0.3 ( 0.5)\tData 0.1 (0.2)\tLoss 6.9e+00 (6.95e+00)\tAcc@1 0.5 (0.6)\nEpoch: [0][ 20/100]\tTime  0.3 ( 0.5)\tData 0.1 (0.2)\tLoss 6.8e+00 (6.9e+00)\tAcc@1 1.5 (0.7)\n * Acc@1 2.5 Acc@5 9.0\n", [("train/loss", [10, 20], [0.1, 0.2], [6.9, 6.8])]),
    "paddle": ("[2022/06/05 20:09:41] ppcls INFO: [Train][Epoch 1/20][Iter: 125/250]lr: 0.00001, top1: 0.1, CELoss: 4.9, loss: 4.95\n", [("train/loss", [125], [0.5], [4.95])]),
    "paddle, chinese": ("损失：[0.125]，步数：10，学习率：0.0001\n损失：[0.12]，步数：20，学习率：0.0001\n", [("train/loss", [10, 20], [N, N], [0.125, 0.12]), ("lr", [10, 20], [N, N], [1e-4, 1e-4])]),
    "basicsr": ("23-05-06 13:17:30.157 - INFO: [epoch:  2, iter:  83,900, lr:(1.864e-04,)] l_pix: 8.25e-03 \n23-05-06 13:18:30.157 - INFO: [epoch:  2, iter:  84,000, lr:(1.864e-04,)] l_pix: 8.0e-03 \n", [("train/loss", [83900, 84000], [N, N], [8.25e-3, 8e-3])]),
    "coqui": (" > EPOCH: 0/100\n\x1b[1m   --> STEP: 24/48 -- GLOBAL_STEP: 1050\x1b[0m\n     | > loss: 17.5  (18.25)\n     | > current_lr: 0.0002\n", [("train/loss", [1050], [0.5], [17.5]), ("lr", [1050], [0.5], [0.0002])]),
    "mmengine": ("2023/07/09 03:20:54 - mmengine - INFO - Epoch(train)   [1][3/6]  lr: 5.0e-04  eta: 1 day, 13:32:14  time: 0.4  loss: 0.5\n2023/07/09 03:20:55 - mmengine - INFO - Epoch(train)   [2][3/6]  lr: 5.0e-04  eta: 13:32:14  time: 0.4  loss: 0.25\n2023/07/09 03:21:54 - mmengine - INFO - Epoch(val) [2][10/10]    mIoU: 33.5\n", [("train/loss", [3, 9], [0.5, 1.5], [0.5, 0.25]), ("val/score", [N], [2], [33.5])]),
    "detectron2": ("[05/12 10:00:00 d2.utils.events]:  eta: 0:10:00  iter: 19  total_loss: 2.5  loss_cls: 1.5  lr: 1.9e-05  max_mem: 3000M\n", [("train/loss", [19], [N], [2.5])]),
    "flair": ("2019-06-11 13:45:02,441 epoch 1 - iter 0/100 - loss 0.75\n2019-06-11 13:46:13,334 epoch 1 - iter 50/100 - loss 0.5\n", [("train/loss", [0, 50], [0, 0.5], [0.75, 0.5])]),
    "speechbrain": ("epoch: 1, lr: 1.00e+00 - train loss: 2.05 - valid loss: 1.35, valid PER: 40.1\n", [("train/loss", [N], [1], [2.05]), ("val/loss", [N], [1], [1.35]), ("val/error", [N], [1], [40.1])]),
    "espnet": ("[host] 2021-01-01 12:00:00,123 (trainer:250) INFO: 1epoch results: [train] iter_time=0.1, loss=480.5, acc=0.3, lr_0=1e-3, time=1 minute and 43.19 seconds, total_count=49, [valid] loss=33.25, acc=0.2\n", [("train/loss", [N], [1], [480.5]), ("val/loss", [N], [1], [33.25]), ("val/accuracy", [N], [1], [0.2])]),
    "opennmt": ("[2021-01-01 12:00:00,123 INFO] Step 100/ 100000; acc: 10.5; ppl: 3000.2; xent: 8.0; lr: 0.00012; sents: 300; bsz: 30; 20000/20000 tok/s; 12 sec\n", [("train/accuracy", [100], [N], [10.5]), ("train/perplexity", [100], [N], [3000.2]), ("train/loss", [100], [N], [8.0])]),
    "torchtitan": ("\x1b[31mstep: 10  \x1b[32mloss:  7.82  \x1b[33mgrad_norm:  1.9  memory: 40.1GiB(50%)  tps: 3,000  mfu: 10.1%\x1b[39m\n", [("train/loss", [10], [N], [7.82]), ("grad_norm", [10], [N], [1.9]), ("throughput", [10], [N], [3000])]),
    "maxtext": ("completed step: 10, seconds: 1.2, TFLOP/s/device: 120, Tokens/s/device: 200, total_weights: 100, loss: 9.125\n", [("train/loss", [10], [N], [9.125])]),
    "lightning bar": ("Epoch 0:  50%|█████     | 50/100 [00:01<00:01, 24.37it/s, v_num=0, train_loss=nan.0]\rEpoch 0: 100%|██████████| 100/100 [00:02<00:00, 24.37it/s, v_num=0, train_loss=0.5]\n", [("train/loss", [50, 100], [0.5, 1.0], [math.nan, 0.5])]),
    "skorch": ("  epoch    train_loss    valid_acc    valid_loss     dur\n-------  ------------  -----------  ------------  ------\n      1        \x1b[36m0.75\x1b[0m       \x1b[32m0.5\x1b[0m        \x1b[35m0.7\x1b[0m  0.13\n      2        0.5       0.6        0.65  0.13\n", [("train/loss", [N, N], [1, 2], [0.75, 0.5]), ("val/accuracy", [N, N], [1, 2], [0.5, 0.6])]),
    "fastai": ("epoch     train_loss  valid_loss  accuracy  time    \n0         0.75        0.5         0.9       00:12     \n1         0.7         0.4         0.95      00:12     \n", [("train/loss", [N, N], [1, 2], [0.75, 0.7]), ("val/loss", [N, N], [1, 2], [0.5, 0.4])]),
    "notebook table": ("Step | Training Loss | Validation Loss\n-- | -- | --\n10 | 0.75 | 0.5\n20 | 0.5 | 0.25\n", [("train/loss", [10, 20], [N, N], [0.75, 0.5]), ("val/loss", [10, 20], [N, N], [0.5, 0.25])]),
    "stable baselines": ("-----------------------------\n| rollout/           |      |\n|    ep_rew_mean     | -78  |\n| time/              |      |\n|    total_timesteps | 2048 |\n| train/             |      |\n|    loss            | 8.5  |\n-----------------------------\n", [("train/loss", [2048], [N], [8.5]), ("reward", [2048], [N], [-78])]),
    "rsl-rl": ("         \x1b[1m Learning iteration 12/1500 \x1b[0m\n\n  Value function loss: 0.25\n  Mean reward: 3.5\n", [("reward", [12], [N], [3.5])]),
    "mxnet": ("INFO:root:Epoch[0] Batch [100]\tSpeed: 100.5 samples/sec\taccuracy=0.5\nINFO:root:Epoch[0] Validation-accuracy=0.625\n", [("val/accuracy", [N], [1], [0.625])]),
    "tutorial": ("[1,  2000] loss: 2.25\n[1,  4000] loss: 2.0\n[2,  2000] loss: 1.75\n", [("train/loss", [2000, 4000, 2000], [1, 1, 2], [2.25, 2.0, 1.75])]),
    "tensor repr": ("step 3 loss tensor(0.5123, device='cuda:0', grad_fn=<NllLossBackward0>)\nstep 4 loss tensor(nan, device='cuda:0')\n", [("train/loss", [3, 4], [N, N], [0.5123, math.nan])]),
    "json per epoch": ('{"train_lr": 0.001, "train_loss": 2.5, "test_loss": 2.25, "test_acc1": 30.5, "epoch": 0, "n_parameters": 1000}\n{"train_lr": 0.001, "train_loss": 2.0, "test_loss": 2.0, "test_acc1": 35.5, "epoch": 1, "n_parameters": 1000}\n', [("train/loss", [N, N], [1, 2], [2.5, 2.0]), ("test/loss", [N, N], [1, 2], [2.25, 2.0])]),
    "slowfast": ('json_stats: {"_type": "train_epoch", "epoch": "1/12", "eta": "13:34:31", "grad_norm": 3.5, "loss": 2.75, "lr": 0.00002, "top1_err": 92.5}\njson_stats: {"_type": "val_epoch", "epoch": "1/12", "top1_err": 90.5}\n', [("train/loss", [N], [1], [2.75]), ("train/error", [N], [1], [92.5]), ("val/error", [N], [1], [90.5])]),
    "espnet chainer": ('[\n    {\n        "main/loss": 2.5,\n        "epoch": 1,\n        "iteration": 100,\n        "elapsed_time": 9.5\n    },\n    {\n        "main/loss": 2.0,\n        "epoch": 2,\n        "iteration": 200,\n        "elapsed_time": 19.5\n    }\n]\n', [("train/loss", [100, 200], [1, 2], [2.5, 2.0])]),
}  # fmt: skip


@pytest.mark.parametrize("name", DIALECTS)
def test_dialect(tmp_path: Path, name: str) -> None:
    text, expected = DIALECTS[name]
    found = read(tmp_path, text)
    for series, steps, epochs, values in expected:
        got = one(found, series)
        assert got.values.tolist() == pytest.approx(values, nan_ok=True), series
        assert got.steps.tolist() == pytest.approx([math.nan if s is None else s for s in steps], nan_ok=True), series
        known = [math.nan] * len(got) if got.epochs is None else got.epochs.tolist()
        for said, want in zip(known, epochs, strict=True):
            assert want is None or said == pytest.approx(want, abs=0.02), (series, known)


def test_planned_lengths(tmp_path: Path) -> None:
    found = read(tmp_path, "Epoch 3/20\nstep 12/400 loss 0.5\n")
    assert found.facts["planned_epochs"] == 20
    found = read(tmp_path, "step 12/400 loss 0.5\nstep 13/400 loss 0.4\n")
    assert found.facts["planned_steps"] == 400


def test_times_are_read(tmp_path: Path) -> None:
    found = read(tmp_path, "2024-01-02 03:04:05,250 INFO step 1 loss 0.5\n2024-01-02 03:04:06,250 INFO step 2 loss 0.4\n")
    times = one(found, "train/loss").times
    assert times is not None
    assert times.tolist() == [1704164645.25, 1704164646.25]
    assert found.facts["ended_at"] - found.facts["started_at"] == 1.0


def test_moving_average_is_not_the_loss(tmp_path: Path) -> None:
    found = read(tmp_path, "step 10 - loss        0.5 - moving ave loss        0.75\nstep 11 - loss        0.25 - moving ave loss        0.7\n")
    assert one(found, "train/loss").values.tolist() == [0.5, 0.25]


def test_printed_precision(tmp_path: Path) -> None:
    found = read(tmp_path, "step: 1 loss: 0.125 lr: 1.5e-04\nstep: 2 loss: 0.250 lr: 1.0e-04\n")
    assert one(found, "train/loss").quantum == pytest.approx(1e-3)
    assert one(found, "lr").quantum == pytest.approx(1e-5)
    found = read(tmp_path, "{'loss': 0.12345678901234567, 'step': 1}\n{'loss': 0.2234567890123457, 'step': 2}\n")
    assert one(found, "train/loss").quantum is None


@pytest.mark.parametrize("spelling", ["nan", "NaN", "NAN", "-nan", "-nan(ind)", "nan.0", '"NaN"', "-1.#IND"])
def test_nan_spellings(tmp_path: Path, spelling: str) -> None:
    found = read(tmp_path, f"step: 1 loss: 0.5\nstep: 2 loss: {spelling}\n")
    values = one(found, "train/loss").values
    assert len(values) == 2
    assert math.isnan(values[1])


@pytest.mark.parametrize(
    ("spelling", "value"), [("inf", math.inf), ("-inf", -math.inf), ("Infinity", math.inf), ("+Inf", math.inf), ("1e+03", 1e3), ("1.2E+01", 12.0)]
)
def test_inf_and_exponents(tmp_path: Path, spelling: str, value: float) -> None:
    assert one(read(tmp_path, f"step: 1 loss: 0.5\nstep: 2 loss: {spelling}\n"), "train/loss").values[1] == value


def test_missing_is_no_point(tmp_path: Path) -> None:
    found = read(tmp_path, "step=1 loss=0.5 acc=0.1\nstep=2 loss=None acc=0.2\nstep=3 loss=0.4 acc=NA\n")
    assert one(found, "train/loss").steps.tolist() == [1, 3]
    assert one(found, "train/accuracy").steps.tolist() == [1, 2]


@pytest.mark.parametrize(
    "prefix",
    [
        "[rank0]: ",
        "[default7]:",
        "0: ",
        "(RayWorker pid=123, ip=10.0.0.1) ",
        "[2024-01-01 12:00:00,123][INFO] ",
        "INFO:root:",
        "[INFO|trainer.py:12] 2024-01-01 12:00:00,123 >> ",
    ],
)
def test_prefixes(tmp_path: Path, prefix: str) -> None:
    found = read(tmp_path, f"{prefix}step: 1 loss: 0.5\n{prefix}step: 2 loss: 0.25\n")
    assert one(found, "train/loss").values.tolist() == [0.5, 0.25]
    assert one(found, "train/loss").steps.tolist() == [1, 2]


def test_ranks_that_repeat_a_line(tmp_path: Path) -> None:
    found = read(tmp_path, "step: 1 loss: 0.5\nstep: 1 loss: 0.5\nstep: 2 loss: 0.25\nstep: 2 loss: 0.25\n")
    assert one(found, "train/loss").steps.tolist() == [1, 2]


def test_ranks_that_differ_are_averaged(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "Batch 7/100 loss 1.0 lr 0.1 rank 0\nBatch 7/100 loss 2.0 lr 0.1 rank 1\nBatch 8/100 loss nan lr 0.1 rank 1\nBatch 8/100 loss 1.0 lr 0.1 rank 0\n",
    )
    loss = one(found, "train/loss")
    assert loss.steps.tolist() == [7, 8]
    assert loss.values.tolist() == pytest.approx([1.5, math.nan], nan_ok=True)


def test_other_lines_are_no_metrics(tmp_path: Path) -> None:
    prose = (
        "Downloading 12 files\nSaved checkpoint at step 500 with loss 0.1\nEpoch 00003: val_loss improved from 0.61 to 0.60, saving model to x.h5\n"
    )
    assert not read(tmp_path, prose).series


def test_program_before_the_log(tmp_path: Path) -> None:
    program = "import os\nimport torch\nfrom torch import nn\nloss = 3.5\nstep: int = 3\nprint(f'step:{step} val_loss:{1.5}')\n" + "=" * 100 + "\n"
    found = read(tmp_path, program + "step:1/9 val_loss:4.5\nstep:2/9 val_loss:4.25\n")
    assert one(found, "val/loss").values.tolist() == [4.5, 4.25]


def test_two_losses_in_one_log(tmp_path: Path) -> None:
    found = read(tmp_path, "iter 90: loss 2.5, time 9ms\nstep 100: train loss 2.25, val loss 2.5\niter 100: loss 2.0, time 9ms\n")
    assert one(found, "train/loss", "loss").steps.tolist() == [90, 100]
    assert one(found, "train/loss", "train loss").steps.tolist() == [100]


def test_a_record_before_the_first_bar(tmp_path: Path) -> None:
    bars = [f" 10%|█         | {n}/900 [00:05<00:45,  2.00it/s]\n{{'loss': 2.{n}, 'epoch': 0.5}}\n" for n in (101, 102, 103)]
    found = read(tmp_path, "{'loss': 2.5, 'epoch': 0.5}\n" + "".join(bars))
    assert one(found, "train/loss").steps.tolist() == [100, 101, 102, 103]


def test_functions_that_loguru_names_count_nothing(tmp_path: Path) -> None:
    line = "2021-09-03 20:45:{:02d}.798 | INFO     | yolox.core.trainer:after_iter:246 - epoch: {}/3, iter: {}/40, mem: 1756Mb, total_loss: {}, lr: 7.8e-06\n"
    found = read(tmp_path, "".join(line.format(n, 1 + n // 4, 10 * (1 + n % 4), 4.5 - n / 4) for n in range(12)))
    losses = one(found, "train/loss")
    assert losses.steps.tolist() == [float(10 * n) for n in range(1, 13)]
    assert losses.values.tolist() == [4.5 - n / 4 for n in range(12)]


def test_steps_in_the_brackets_of_clu(tmp_path: Path) -> None:
    head = "I0103 20:06:22.789716 1399 main.py:60] Config: accum_steps: 8\nbase_lr: 0.03\nsize: !!python/tuple\n- 16\npretrained: gs://models/vit\ntotal_steps: 10000\n"
    lines = "".join(
        f"I0103 20:09:{n:02d}.218508 1399 logging_writer.py:35] [{10 * n}] img_sec_core_train=178.36, train_loss=0.{9 - n}\n"
        f"I0103 20:09:{n:02d}.897993 1399 train.py:201] Step: {10 * n}/10000 0.1%, img/sec/core: 178.4, ETA: 4.64h\n"
        for n in range(1, 6)
    )
    losses = one(read(tmp_path, head + lines), "train/loss")
    assert losses.steps.tolist() == [10, 20, 30, 40, 50]
    assert losses.values.tolist() == [0.8, 0.7, 0.6, 0.5, 0.4]


def test_tables_in_gbk_are_text(tmp_path: Path) -> None:
    table = ("│ keys │ values │\n" + "╞" + "═" * 60 + "╡\n").encode("gbk") * 30
    found = read(tmp_path, table + b"epoch: 1, loss: 2.5\nepoch: 2, loss: 2.25\n")
    assert one(found, "train/loss").values.tolist() == [2.5, 2.25]


def test_moments_without_a_year_stand_on_the_calendar_of_the_others(tmp_path: Path) -> None:
    text = (
        "2022-04-12 17:05:16,500 - INFO - epoch: 0, batch_id: 0, loss:0.5\n"
        "W0412 17:05:20.500000   247 device_context.cc:447] Please NOTE: device: 0\n"
        "[17:05:21] epoch: 0, batch_id: 500, loss:0.4\n"
        "2022-04-12 23:59:59,000 - INFO - epoch: 0, batch_id: 1000, loss:0.3\n"
        "[00:00:01] epoch: 0, batch_id: 1500, loss:0.2\n"
    )
    times = one(read(tmp_path, text), "train/loss").times
    assert times is not None
    assert (times - times[0]).tolist() == [0.0, 4.5, 24882.5, 24884.5]


def test_batches_that_an_epoch_has_are_no_place_in_it(tmp_path: Path) -> None:
    text = "".join(f"Epoch {n}/4\n----------\nbatch = 405\nnow_margin: 0.3000\ntrain Loss: {1.0 / (n + 1):.4f} Acc: 0.{n}\n\n" for n in range(4))
    losses = one(read(tmp_path, text), "train/loss")
    assert losses.epochs.tolist() == [1, 2, 3, 4]
    assert losses.values.tolist() == [1.0, 0.5, 0.3333, 0.25]


def test_fitting_with_paddle(tmp_path: Path) -> None:
    epoch = "Epoch {}/3\nstep  10/40 - loss: {} - acc: 0.5 - 12s/step\nstep  40/40 - loss: {} - acc: 0.5 - 9s/step\nEval begin...\nstep  5/8 - loss: 3.5 - acc: 0.25 - 2s/step\nstep  8/8 - loss: {} - acc: 0.25 - 2s/step\nEval samples: 64\n"
    found = read(tmp_path, "".join(epoch.format(n + 1, 2.5 - n, 2.25 - n, 3.0 - n / 2) for n in range(3)))
    losses = one(found, "train/loss")
    assert losses.steps.tolist() == [10, 40, 50, 80, 90, 120]
    assert losses.values.tolist() == [2.5, 2.25, 1.5, 1.25, 0.5, 0.25]
    assert one(found, "val/loss").values.tolist() == [3.0, 2.5, 2.0]


def test_means_so_far_and_statements_of_a_quoted_program(tmp_path: Path) -> None:
    quoted = "WARNING: return format changed since 2.1. For example:\n    def __getitem__(self, index):\n        return 10\n" * 3
    text = quoted + "".join(
        f"Epoch {n}, Step 25, total used time 7.5 (s), avg loss so far is 0.{9 - n}\nEpoch {n}, val loss is 0.{8 - n}, val mse is 0.25.\n"
        for n in range(4)
    )
    found = read(tmp_path, text)
    assert one(found, "train/loss").values.tolist() == [0.9, 0.8, 0.7, 0.6]
    assert one(found, "val/loss").values.tolist() == [0.8, 0.7, 0.6, 0.5]
    assert not [s for s in found.series if s.name == "reward"]


def test_a_bar_that_ends_before_training_began_is_no_plan(tmp_path: Path) -> None:
    bars = "".join(f" {n}%|#    | {n * 10}/1000 [00:05<00:45,  2.00it/s]\n{{'loss': 2.{n}, 'epoch': {n / 50}}}\n" for n in (10, 20, 30))
    found = read(tmp_path, bars + "Upload 3 LFS files: 100%|###########| 3/3 [00:19<00:00,  6.66s/it]\n")
    assert one(found, "train/loss").steps.tolist() == [100, 200, 300]
    assert found.facts.get("planned_steps") != 3.0


def test_arguments_printed_one_a_line_are_no_records(tmp_path: Path) -> None:
    head = "[21:45:47.177519] Namespace(batch_size=1,\ntest_batch_size=2,\nepochs=200,\naccum_iter=1,\nmodel='base',\ndice_smooth=1.0,\nlr=1e-05,\nseed=42)\n"
    line = "[21:46:{:02d}.000000] Epoch: [{}]  [{}/40]  eta: 0:35:48  lr: 0.000010  loss: {} (2.5)  time: 1.5  data: 0.1  max mem: 8526\n"
    found = read(tmp_path, head + "".join(line.format(n, n // 2, 20 * (n % 2), 4.5 - n / 4) for n in range(8)))
    assert one(found, "train/loss").steps.tolist() == [0, 20, 40, 60, 80, 100, 120, 140]
    assert not [s for s in found.series if s.logged_as == "dice_smooth"]
    assert {s.name: s.value for s in found.settings}["epochs"] == 200


def test_dates_with_the_month_first_are_no_counters(tmp_path: Path) -> None:
    line = "01/30/2026 04:{:02d}:55 - INFO - __main__ - Epoch {} completed: avg_loss = {}\n"
    losses = one(read(tmp_path, "".join(line.format(10 * n, n, 2.5 - n / 4) for n in range(5))), "train/loss")
    assert losses.epochs.tolist() == [1, 2, 3, 4, 5]
    assert losses.values.tolist() == [2.5 - n / 4 for n in range(5)]
    assert losses.times is not None
    assert (losses.times - losses.times[0]).tolist() == [0.0, 600.0, 1200.0, 1800.0, 2400.0]
    steps = "12/05/2025 08:00:{:02d} - INFO - step = {}, loss = {}\n"
    assert one(read(tmp_path, "".join(steps.format(n, 50 * n, 3.0 - n / 8) for n in range(1, 40))), "train/loss").steps.tolist() == [
        50.0 * n for n in range(1, 40)
    ]


def test_a_bar_that_stands_at_its_beginning_has_measured_nothing(tmp_path: Path) -> None:
    bar = "{}%|#   | {}/40 [00:05<00:45,  2.00it/s, total_loss={}]\n"
    text = bar.format(0, 0, "inf") + "".join(bar.format(n * 25, n * 10, 2.5 - n / 4) for n in range(1, 5))
    losses = one(read(tmp_path, text), "train/loss")
    assert losses.values.tolist() == [2.25, 2.0, 1.75, 1.5]


REACHED = "Epoch {e}, global step {s}: 'val/accuracy' reached {v} (best {v}), saving model to '/w/temp4/best.ckpt' as top 1\n"
IMPROVED = "Metric val/accuracy improved by 0.110 >= min_delta = 0.0. New best score: {v}\n"
VALUES = [(0, 352, 0.25), (1, 704, 0.5), (3, 1408, 0.625), (4, 1760, 0.6875), (6, 2464, 0.75)]


def test_the_metric_that_callbacks_watch(tmp_path: Path) -> None:
    both = read(tmp_path, "".join(IMPROVED.format(v=v) + REACHED.format(e=e, s=s, v=v) for e, s, v in VALUES))
    accuracy = one(both, "val/accuracy")
    assert accuracy.values.tolist() == [v for _, _, v in VALUES]
    assert accuracy.steps.tolist() == [s for _, s, _ in VALUES]
    early = read(tmp_path, "".join(f"Epoch {e}: 100%|█| 352/352 [00:38<00:00, 9.24it/s]\n" + IMPROVED.format(v=v) for e, _, v in VALUES))
    assert one(early, "val/accuracy").values.tolist() == [v for _, _, v in VALUES]


def test_the_console_of_ultralytics(tmp_path: Path) -> None:
    """The parts of the loss are summed, an evaluation's row is its score, and the table's head with its own bar is nothing."""
    text = "".join(
        "      Epoch    GPU_mem   box_loss   cls_loss   dfl_loss  Instances       Size\n"
        f"      {e}/3      2.29G      {4 / e}      {2 / e}     0.5         35        640: 100%|██████████| 1426/1426 [04:55<00:00,  4.83it/s]\n"
        "                 Class     Images  Instances      Box(P          R      mAP50  mAP50-95): 100%|██████████| 246/246 [00:31<00:00,  7.93it/s]\n"
        f"                   all       7866       9060      0.694      0.879      0.731      0.{e}5\n"
        for e in (1, 2, 3)
    )
    found = read(tmp_path, text)
    assert one(found, "train/loss").values.tolist() == pytest.approx([6.5, 3.5, 2.5])
    assert one(found, "val/score").values.tolist() == [0.15, 0.25, 0.35]
    assert not [s for s in found.series if s.logged_as == "mAP50"]


def test_records_written_a_block_at_a_time_beside_a_bar_that_is_not(tmp_path: Path) -> None:
    """nohup: the bar is at the end of the block when its records come out, and is no place of the first of them."""
    text = ""
    for block in range(3):
        bars = "".join(f" 10%|█         | {n}/1800 [00:05<00:45,  2.00it/s]\n" for n in range(600 * block + 10, 600 * block + 601, 10))
        text += bars + "".join(
            f"{{'loss': '2.5', 'grad_norm': '1.5', 'epoch': '{n / 600}'}}\n" for n in range(600 * block + 20, 600 * block + 601, 20)
        )
    steps = one(read(tmp_path, text), "train/loss").steps
    assert steps.tolist() == pytest.approx(list(range(20, 1801, 20)), rel=0.01)


def test_values_that_only_their_split_names(tmp_path: Path) -> None:
    beside = "".join(f"Epoch: {n:03d}, Loss: {1.1 / n:.4f}, Train: 0.{80 + n}, Val: 0.{50 + n}, Val loss: {1.2 / n:.4f}\n" for n in range(1, 6))
    found = read(tmp_path, beside)
    assert {s.name for s in found.series} == {"train/loss", "val/loss", "train/accuracy", "val/accuracy"}
    assert one(found, "train/accuracy").values.tolist() == [0.81, 0.82, 0.83, 0.84, 0.85]
    alone = "".join(f" 20%|██        | {n}/5 [00:00<00:00,  8.45it/s, train={1.1 / n:.4f}, val={1.2 / n:.4f}]\n" for n in range(1, 6))
    assert {s.name for s in read(tmp_path, alone).series} == {"train/loss", "val/loss"}
    short = "".join(f"Ep {n} | tr {1.1 / n:.4f} | va {1.2 / n:.4f} | acc 0.4{n}\n" for n in range(1, 6))
    assert {s.name for s in read(tmp_path, short).series} == {"train/loss", "val/loss", "val/accuracy"}
    assert not read(tmp_path, "Train: 1000, Val: 200, Test: 200\nstep 1 loss 2.0\nstep 2 loss 1.9\n").series[1:]  # sizes of sets


@pytest.mark.parametrize(
    "printed",
    [
        "GCN(\n  (lin1): Linear(in_features=64, out_features=32, bias=True)\n  (lin2): Linear(in_features=32, out_features=4, bias=True)\n)\n",
        "│ dense_1 (Dense)                 │ (None, 4)              │           132 │\n",
        " dense_1 (Dense)             (None, 4)                 132       \n",
    ],
)
def test_a_printed_model_says_how_many_outputs_it_has(tmp_path: Path, printed: str) -> None:
    found = read(tmp_path, printed + "epoch 1 loss 1.38 acc 0.26\nepoch 2 loss 1.30 acc 0.4\n")
    assert [(s.name, s.value) for s in found.settings if s.name == "outputs"] == [("outputs", 4)]
