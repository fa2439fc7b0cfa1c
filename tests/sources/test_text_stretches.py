"""What is read by the stretch is what is read line by line: every series, place, time, digit and event, whatever stands between."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from postmortem.sources.logs.text import READER, bars, reader, runs
from postmortem.sources.logs.text.scan import Scan
from postmortem.sources.reader import Candidate, Found


def read(folder: Path, text: bytes) -> Found:
    (folder / "train.log").write_bytes(text)
    return READER.read(Candidate(folder, "train.log", len(text), text[:4096], frozenset({"train.log"})))


def line_by_line(folder: Path, text: bytes) -> Found:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs.Repeats, "take", lambda self, period, data, start: start)
        patch.setattr(bars.Redraws, "take", lambda self, data, start: start)
        patch.setattr(reader, "past_chatter", lambda data, start, marks: start)
        return read(folder, text)


def same(fast: Found, slow: Found) -> None:
    def said(found: Found) -> list[tuple[object, ...]]:
        return [(s.name, s.logged_as, s.reduction, s.quantum) for s in found.series]

    assert said(fast) == said(slow)
    for one, two in zip(fast.series, slow.series, strict=True):
        for name in ("values", "steps", "epochs", "times"):
            a, b = getattr(one, name), getattr(two, name)
            assert (a is None) == (b is None), (one.logged_as, name)
            if a is not None:
                np.testing.assert_array_equal(a, b, err_msg=f"{one.logged_as}: {name}")
    assert dict(fast.facts) == dict(slow.facts)
    assert fast.settings == slow.settings
    assert fast.events == slow.events


R = random.Random(7)
BLOCKS = " ▏▎▍▌▋▊▉█"


def bar(share: float, width: int = 10) -> str:
    eighths = int(share * width * 8)
    return ("█" * (eighths // 8) + BLOCKS[eighths % 8]).ljust(width)[:width]


def keras(n: int, of: int) -> str:
    done = 30 * n // of
    return "=" * done + (">" + "." * (29 - done) if done < 30 else "")


def clock(n: float) -> str:
    return f"{int(n) // 60:02d}:{int(n) % 60:02d}"


def loss(n: int) -> float:
    return 3.0 / (1 + n / 50) + R.random() / 10


# Each writes line n of a habit.
HABITS = {
    "steps": lambda n: f"step: {n} loss: {loss(n):.3f} lr: 1e-03\n",
    "padded": lambda n: f" iteration {n:8d}/  4000 | consumed samples: {n * 2048:12d} | learning rate: {1e-4 / (n + 1):.3E} | lm loss: {loss(n):.6E} | grad norm: {R.random():.3f} |\n",
    "padded and more": lambda n: f" iteration {n:8d}/  4000 | lm loss: {loss(n):.6E} |\ntime (ms)\n",
    "dated": lambda n: f"2024-01-02 {n // 3600 % 24:02d}:{n // 60 % 60:02d}:{n % 60:02d},{n % 1000:03d} INFO train: epoch {n // 50 + 1} step {n} loss={loss(n):.5f} lr=3.00e-03\n",
    "dated, evaluated at times": lambda n: f"2024-01-02 03:{n // 60 % 60:02d}:{n % 60:02d} step {n} loss={loss(n):.5f}\n" + (f"2024-01-02 00:00:00 [eval] epoch {n // 50 + 1} val_loss={loss(n):.5f}\n" if n % 12 == 11 else ""),
    "headings between": lambda n: f"step {n} loss {loss(n):.4f}\n" + {7: "Validation\n", 14: "saving\n", 23: "Epoch 3\n"}.get(n % 24, ""),
    "hashes": lambda n: f"GET /api/{R.getrandbits(64):016x}/part from 0x{R.getrandbits(40):x} in {n} ms\n" + (f"step {n} loss {loss(n):.3f}\n" if n % 30 == 7 else ""),
    "over midnight": lambda n: f"[2024-02-{28 + (n // 40) % 2:02d} 23:{n // 60 % 60:02d}:{n % 60:02d}] step {n} loss {loss(n):.4f}\n",
    "glog": lambda n: f"I0102 03:{n // 60 % 60:02d}:{n % 60:02d}.{n % 1000:06d}  7 solver.cpp:2] Iteration {n}, loss = {loss(n):.4f}\n",
    "american": lambda n: f"01/30/2026 04:{n // 60 % 60:02d}:{n % 60:02d} - INFO - step {n} loss {loss(n):.4f}\n",
    "clock only": lambda n: f"[{n // 60 % 24:02d}:{n % 60:02d}:00] step {n} loss {loss(n):.4f}\n",
    "signed": lambda n: f"step {n} reward: {R.gauss(0, 1):.3f} loss: {R.gauss(0, 1):.2e}\n",
    "falls to an exponent": lambda n: f"step {n} loss {10.0 ** -(n / 20):.4g} lr {1e-3 * 0.9**n!r}\n",
    "full precision": lambda n: f"{{'loss': {loss(n)!r}, 'grad_norm': {R.random()!r}, 'epoch': {n / 100:.2f}}}\n",
    "whole epochs in dicts": lambda n: f"{{'loss': {loss(n):.4f}, 'epoch': {n + 1}.0}}\n",
    "not a number at times": lambda n: f"step {n} loss {'nan' if n % 9 == 5 else f'{loss(n):.3f}'} acc: {R.random() * 100:.1f}%\n",
    "not a number": lambda n: f"step {n} loss nan grad_norm: inf\n",
    "words with digits": lambda n: f"gpu0 top1 step {n} Prec@1 {R.random():.3f} resnet{18 + n // 60} loss {loss(n):.3f}\n",
    "clock or ratio": lambda n: f"step {n} took 1:{n} loss {loss(n):.3f}\n",
    "thousands": lambda n: f"iter: {n * 37:,} loss: {loss(n):.3f}\n",
    "lists": lambda n: f"{n},{loss(n):.3f},{R.random():.3f}\n",
    "of a total": lambda n: f"Epoch [{n // 20 + 1}/10], Step [{n % 20 + 1}/20], Loss: {loss(n):.4f}, acc: {n}/200\n",
    "version": lambda n: f"v1.2.{n % 3} step {n} loss {loss(n):.3f}\n",
    "header and values": lambda n: f"Epoch {n + 1}/300\n  train_loss: {loss(n):.3f}\n  val_loss: {loss(n):.3f}\n",
    "header and far values": lambda n: f"Epoch {n + 1}\nsaving\nthe\nmodel\nhere\nloss: {loss(n):.3f}\n",
    "caffe": lambda n: f"Iteration {n}, loss = {loss(n):.3f}\n    Train net output #0: accuracy = {R.random():.3f}\nIteration {n}, lr = 0.01\n",
    "no counters": lambda n: f"loss {loss(n):.4f} acc {R.random():.3f}\n",
    "one key a line": lambda n: f"loss: {loss(n):.4f}\nphase: train\n",
    "validated": lambda n: f"step {n} loss {loss(n):.3f}\nval loss {loss(n):.3f} val acc {R.random():.2f}\n",
    "mean in parentheses": lambda n: f"Epoch: [{n // 30}][{n % 30}/30]\tLoss {loss(n):.4f} ({loss(n):.4f})\tAcc@1 {R.random() * 100:.2f} ({50:.2f})\n",
    "pass over a test set": lambda n: f"Test: [{n % 40}/40]\tLoss {loss(n):.4f} ({loss(n):.4f})\tAcc@1 {R.random() * 100:.2f} ({50:.2f})\n",
    "tqdm": lambda n: f"\rEpoch {n // 60}: {n % 60 * 100 // 60:3d}%|{bar(n % 60 / 60)}| {n % 60}/60 [{clock(n / 3)}<{clock(20 - n % 60 / 3)}, {30 + R.random():.2f}it/s, loss={loss(n):.3f}]",
    "tqdm, drawn twice": lambda n: f"\rEpoch {n // 120}: {n // 2 % 60 * 100 // 60:3d}%|{bar(n // 2 % 60 / 60)}| {n // 2 % 60}/60 [{clock(n / 3)}<00:09, {30 + R.random():.2f}it/s, v_num=0, train_loss={loss(n):.3f}, val_loss={0.1 * (n // 50):.2f}]",
    "tqdm without an epoch": lambda n: f"\r{n % 80 * 100 // 80:3d}%|{bar(n % 80 / 80)}| {n % 80}/80 [{clock(n / 3)}<00:09, 3.1it/s, loss={loss(n):.3g}]",
    "tqdm in ascii": lambda n: f"\rtrain: {n % 70 * 100 // 70:3d}%|{'#' * (n % 70 // 7)}{n % 7}  | {n % 70}/70 [{clock(n / 3)}<00:09, 3.1it/s, loss={loss(n):.3f}]",
    "tqdm of epochs": lambda n: f"\rEpochs: {n * 100 // 400:3d}%|{bar(n / 400)}| {n}/400 [{clock(n / 3)}<00:09, 3.1it/s, loss={loss(n):.3f}]",
    "tqdm without values": lambda n: f"\r{n * 100 // 500:3d}%|{bar(n / 500)}| {n}/500 [{clock(n / 3)}<00:09, 3.1it/s]",
    "tqdm and dicts": lambda n: f"\r{n * 100 // 500:3d}%|{bar(n / 500)}| {n}/500 [{clock(n / 3)}<00:09, 3.1it/s]" + (f"{{'loss': {loss(n):.4f}, 'epoch': {n / 50:.2f}}}\n" if n % 12 == 11 else ""),
    "tqdm and dicts, apart": lambda n: f"\r{n * 100 // 500:3d}%|{bar(n / 500)}| {n}/500 [{clock(n / 3)}<1:00:09, {1 + n % 7}.1s/it]" + (f"\n{{'loss': {loss(n):.4f}, 'epoch': {n / 50:.2f}}}\n" if n % 12 == 11 else ""),
    "tqdm with a name, and steps": lambda n: f"Train set: {n % 90 * 100 // 90:3d}%|{bar(n % 90 / 90)}| {n % 90}/{90 if n < 180 else 70} [{clock(n / 3)}<00:09, 3.1it/s]\n" + (f"loss: {loss(n):.4f}\n" if n % 9 == 2 else ""),
    "two bars without values": lambda n: f"\r{n * 100 // 500:3d}%|{bar(n / 500)}| {n}/500 [00:01<00:09, 3.1it/s]" if n % 60 < 40 else f"\r{(n % 60 - 40) * 5:3d}%|{bar(n % 20 / 20)}| {n % 20}/20 [00:01<00:09, 3.1it/s]" + (f"{{'eval_loss': {loss(n):.4f}, 'epoch': {n / 60:.2f}}}\n" if n % 60 == 59 else ""),
    "NCCL": lambda n: f"node{n % 7}:{n}:{n} [{n % 4}] NCCL INFO Channel {n % 12:02d} : {n % 64}[1a000] -> {n % 63}[8a000] {R.random().hex()}\n" + (f"step {n} loss {loss(n):.3f}\n" if n % 30 == 7 else ""),
    "dated NCCL": lambda n: f"2024-01-02 03:{n // 60 % 60:02d}:{n % 60:02d} node1:{n}:{n} [0] NCCL INFO comm 0x{R.getrandbits(40):x} rank {n % 8} nranks 8 - Init COMPLETE\n" + (f"val loss: {loss(n):.3f}\n" if n % 30 in (7, 9) else ""),
    "tqdm, then validation": lambda n: f"\rEpoch {n // 80}: {n % 80 * 100 // 60:3d}%|{bar(n % 80 / 80)}| {n % 80}/60 [00:01<00:09, 3.1it/s, loss={loss(n):.3f}]" if n % 80 < 60 else f"\rValidating: {(n % 80 - 60) * 5:3d}%|{bar(n % 80 / 80)}| {n % 80 - 59}/20 [00:01<00:09, 3.1it/s, loss={loss(n):.3f}]",
    "second bar": lambda n: f"\r{n % 80 * 100 // 60:3d}%|{bar(n % 80 / 80)}| {n % 80}/60 [00:01<00:09, 3.1it/s, loss={loss(n):.3f}]" if n % 80 < 60 else f"\r{(n % 80 - 60) * 5:3d}%|{bar(n % 80 / 80)}| {n % 80 - 59}/20 [00:01<00:09, 3.1it/s, loss={loss(n):.3f}]",
    "keras": lambda n: ("" if n % 100 else f"Epoch {n // 100 + 1}/5\n") + f"\r{n % 100 + 1:3d}/100 [{keras(n % 100 + 1, 100)}] - ETA: {n % 7}s - loss: {loss(n):.4f} - accuracy: {R.random():.4f}",
    "keras 3": lambda n: ("" if n % 100 else f"\nEpoch {n // 100 + 1}/5\n") + f"\r\x1b[1m{n % 100 + 1:3d}/100\x1b[0m \x1b[32m{'━' * (n % 100 // 5)}\x1b[0m\x1b[37m{'━' * (20 - n % 100 // 5)}\x1b[0m \x1b[1m{n % 7}s\x1b[0m {n % 9}ms/step - accuracy: {R.random():.4f} - loss: {loss(n):.4f}",
    "ranks": lambda n: f"[rank{n % 4}]:step {n // 4} loss {loss(n):.4f} lr 1e-03\n",
    "ranks, dated": lambda n: f"[rank{n % 2}]: 2024-01-02 03:{n // 60 % 60:02d}:{n % 60:02d},{n % 1000:03d} INFO step {n // 2} loss {loss(n):.4f}\n",
    "workers of Ray": lambda n: f"(RayTrainWorker pid={100 + n % 2}, ip=10.0.0.{n % 2 + 1}) 2024-01-02 03:{n // 60 % 60:02d}:{n % 60:02d},000 step {n // 2} loss {loss(n):.4f}\n",
    "one rank": lambda n: f"[default7]: iteration {n}/ 400 | lm loss: {loss(n):.6E} | grad norm: {R.random():.3f} |\n",
    "labels of srun": lambda n: f"{n % 3:2d}: epoch {n // 30 + 1} step {n // 3} loss {loss(n):.4f}\n",
    "iterations and steps": lambda n: f"Epoch 1 | iter {n} step {n // 4} | loss train: {loss(n):.3f}, val: n/a | iter time: {R.random() * 100:.2f} ms\n",
    "boosting": lambda n: f"[{n}]\ttraining's binary_logloss: {loss(n):.6f}\tvalid_1's binary_logloss: {loss(n):.6f}\n",
    "learn and test": lambda n: f"{n}:\tlearn: {loss(n):.7f}\ttest: {loss(n):.7f}\tbest: 0.1 ({n})\ttotal: {n}ms\tremaining: {n % 7}s\n",
    "thousands by suffix": lambda n: f"iteration: {n} / 400 | tokens_per_sec: {1 + R.random():.2f}K | lm_loss: {loss(n):.3f} | grad_norm: {R.random():.3f}\n",
    "numbered with a hash": lambda n: f"Epoch #{n}: test_reward: {loss(n):.6f} ± {R.random():.6f}, best_reward: {3:.6f} ± 0.1 in #{n}\n",
    "glued iterations": lambda n: f"INFO:Train|Epoch{n // 50 + 1}/9|Iter{n}({n % 50 + 1}/50)| mem:5G| lr:1.00e-04| loss_qfl:{loss(n):.4f}| loss_bbox:{R.random():.4f}| \n",
    "batches without their epoch": lambda n: f"Epoch: [{n // 60}][{n % 60}/40]\tLoss {loss(n):.4f} (2.5)\n" if n % 60 < 40 else f"[{n % 60 - 40}/20]\tLoss {loss(n):.4f} (2.5)\n",
    "wide colons": lambda n: f"    epoch          : {n}\n    loss           : {loss(n):.4f}\n    val_loss       : {loss(n):.4f}\n",
    "results of RLlib": lambda n: f"Result for PPO_{n % 9}:\n  episode_reward_mean: {loss(n):.3f}\n  info:\n    total_loss: {R.random():.3f}\n  training_iteration: {n}\n",
    "history of Flower": lambda n: f"INFO :      {{'accuracy': [({n}, {R.random():.3f}), ({n + 1}, 0.5)]}}\n" if n % 40 else "INFO :      \tHistory (metrics, centralized):\n",
}  # fmt: skip
BETWEEN = [
    "", "\n", "\n" * 50, "saving checkpoint\n", "[eval] epoch 3 val_loss=0.5\n", "Epoch 4\n", "val loss: 0.25\n", "Testing\n", "epoch train_loss val_loss\n1 0.5 0.6\n",
    "| loss | 0.5 |\n| step | 7 |\n-----\n", "KeyboardInterrupt\n", "Traceback (most recent call last):\n", "seed: 3\nname: a\nmode: b\nuser: c\n", "-------\n",
    "2024-01-02 12:00:00,000 hello\n", "12:30:01 hello\n", "100%|██████████| 60/60 [00:01<00:00, 3.1it/s, loss=0.5]\n", "step 7 loss nan\n", "Epoch 2: val_loss 0.3\n",
    " * Acc@1 71.2\n", "lr 0.01\n", "step: 0 loss: 9.0\n", "***** train metrics *****\n", "{'train_runtime': 12.0, 'train_loss': 0.5}\n",
]  # fmt: skip


@pytest.mark.parametrize("habit", HABITS)
def test_a_habit(tmp_path: Path, habit: str) -> None:
    text = "".join(HABITS[habit](n) for n in range(1, 400)).encode()
    same(read(tmp_path, text), line_by_line(tmp_path, text))


pieces = st.lists(
    st.tuples(st.sampled_from(sorted(HABITS)), st.integers(0, 300), st.integers(1, 150), st.sampled_from(BETWEEN), st.integers(0, 2**32)),
    min_size=1,
    max_size=4,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example([("tqdm with a name, and steps", 0, 2, "", 0)], False)
@example([("NCCL", 0, 1, "", 0), ("NCCL", 0, 1, "", 0), ("NCCL", 0, 1, "", 0), ("clock only", 10, 68, "", 375)], True)
@example([("results of RLlib", 0, 1, "", 0), ("tqdm without an epoch", 0, 8, "\n", 0)], False)
@example([("NCCL", 0, 1, "", 0), ("not a number at times", 0, 51, "", 3449247)], True)
@given(pieces, st.booleans())
def test_habits_that_are_mixed_and_corrupted(tmp_path: Path, parts: list[tuple[str, int, int, str, int]], corrupted: bool) -> None:
    text = b""
    for habit, first, n, between, seed in parts:
        R.seed(seed)
        written = bytearray("".join(HABITS[habit](k) for k in range(first, first + n)).encode())
        for _ in range(3 * corrupted):
            place = R.randrange(len(written))
            written[place : place + R.randrange(3)] = R.choice(
                [b"", b"0", b"9", b".", b" ", b"\n", b"-", b"e", b":", b",", b"/", b"nan", b"|", b"\xff", b"\r"]
            )
        text += bytes(written) + between.encode()
    same(read(tmp_path, text), line_by_line(tmp_path, text))


@pytest.mark.parametrize("habit", ["steps", "dated", "ranks", "labels of srun", "boosting", "signed", "full precision", "not a number at times", "mean in parentheses", "pass over a test set", "tqdm", "tqdm, drawn twice", "keras"])  # fmt: skip
def test_most_of_it_is_read_by_the_stretch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, habit: str) -> None:
    taken: list[int] = []
    original = runs.Repeats.take

    def counted(self: runs.Repeats, period: runs.Period, data: bytes, start: int) -> int:
        end = original(self, period, data, start)
        taken.append(end - start)
        return end

    monkeypatch.setattr(runs.Repeats, "take", counted)
    text = "".join(HABITS[habit](n) for n in range(1, 400)).encode()
    read(tmp_path, text)
    assert sum(taken) > 0.8 * len(text)


@pytest.mark.parametrize("habit", ["tqdm and dicts, apart", "NCCL", "dated NCCL"])
def test_what_says_nothing_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, habit: str) -> None:
    asked: list[bytes] = []
    line = Scan.line
    monkeypatch.setattr(Scan, "line", lambda scan, raw: (asked.append(raw), line(scan, raw))[1])
    text = "".join(HABITS[habit](n) for n in range(1, 400)).encode()
    read(tmp_path, text)
    assert sum(map(len, asked)) < 0.3 * len(text)


@pytest.mark.parametrize("other", [50, 900])
def test_a_bar_of_another_length_amid_one_that_is_drawn_again(tmp_path: Path, other: int) -> None:
    def drawn(n: int, of: int) -> str:
        return f"\r{100 * n // of:3d}%|{bar(n / of)}| {n}/{of} [00:05<00:33, 33.1it/s]"

    parts = []
    for r in range(12):
        parts += [drawn(n, 500) for n in range(r * 40, r * 40 + 40)]
        if r % 3 == 2:
            parts[-9:-9] = [drawn(n, other) for n in range(9)]
        parts.append(f"\n{{'loss': {loss(r)}, 'learning_rate': 1e-05, 'epoch': {r / 100:.2f}}}\n")
    text = "".join(parts).encode()
    same(read(tmp_path, text), line_by_line(tmp_path, text))


@pytest.mark.parametrize("first", ["step", "loss"])
def test_dicts_over_several_lines_are_read_alike_wherever_their_step_stands(tmp_path: Path, first: str) -> None:
    last = {"step": "loss", "loss": "step"}[first]
    values = [{"step": n, "loss": round(4 - n / 50, 3)} for n in range(1, 41)]
    text = "".join(f"{{'{first}': {v[first]},\n 'grad_norm': 0.5,\n '{last}': {v[last]}}}\n" for v in values).encode()
    found = read(tmp_path, text)
    same(found, line_by_line(tmp_path, text))
    (series,) = (s for s in found.series if s.name == "train/loss")
    assert series.steps.tolist() == [v["step"] for v in values]
    assert series.values.tolist() == [v["loss"] for v in values]
