"""Shapes in which people print their losses: what series come of them, how many points each has, its first and its last value.

The lines are written here as those programs print them; the numbers are invented.
"""

import json
from pathlib import Path

import pytest

from postmortem.model.run import Run
from postmortem.sources import read_run

EPOCHS = range(1, 9)


def read(folder: Path, text: str, name: str = "train.log", encoding: str = "utf-8") -> Run:
    (folder / name).write_text(text, encoding=encoding)
    return read_run([folder / name])


def ends(run: Run) -> dict[str, tuple[int, float, float]]:
    """Of each series: points, first and last value."""
    return {s.name: (len(s), float(s.values[0]), float(s.values[-1])) for s in run.series}


@pytest.mark.parametrize("line", ["epoch {e} | loss={a:.3f} | val={b:.3f}\n", "Epoch {e}: loss={a:.3f}, acc=0.5 | val={b:.3f}\n"])
def test_a_bare_val_beside_a_loss_is_a_loss(tmp_path: Path, line: str) -> None:
    run = read(tmp_path, "".join(line.format(e=e, a=3 - e / 4, b=3.25 - e / 8) for e in EPOCHS))
    assert ends(run)["train/loss"] == (8, 2.75, 1.0)
    assert ends(run)["val/loss"] == (8, 3.125, 2.25)
    assert "val/accuracy" not in ends(run)


def test_a_bare_val_that_rises_late_is_still_a_loss(tmp_path: Path) -> None:
    held = (0.875, 0.75, 0.625, 0.5, 0.625, 0.75, 0.875, 0.95)
    run = read(tmp_path, "".join(f"epoch {e} loss={1 - e / 10:.3f} | val={v}\n" for e, v in zip(EPOCHS, held, strict=True)))
    assert ends(run)["val/loss"] == (8, 0.875, 0.95)


@pytest.mark.parametrize(("times", "last"), [(1.0, 0.75), (100.0, 75.0)])
def test_a_bare_val_that_rises_while_the_loss_falls_is_a_figure_of_merit(tmp_path: Path, times: float, last: float) -> None:
    run = read(tmp_path, "".join(f"Epoch: {e:03d}, Loss: {1 - e / 10:.4f}, Val: {times * (0.35 + e / 20):.4f}\n" for e in EPOCHS))
    assert ends(run)["val/accuracy"] == (8, pytest.approx(times * 0.4), pytest.approx(last))
    assert "val/loss" not in ends(run)


@pytest.mark.parametrize(
    "line", ["[INFO] [Step {s:6d}/800] Train {a:.4f} | Val~20% {b:.4f}\n", "step {s} loss {a:.4f} Val~20%: {b:.4f}\n", "step {s}: train loss {a}, val loss ~20% {b}\n"]
)  # fmt: skip
def test_the_loss_on_a_part_of_the_validation_set(tmp_path: Path, line: str) -> None:
    run = read(tmp_path, "".join(line.format(s=100 * e, a=9 - e / 4, b=9.5 - e / 8) for e in EPOCHS))
    assert ends(run) == {"train/loss": (8, 8.75, 7.0), "val/loss": (8, 9.375, 8.5)}
    assert run.series[0].steps.tolist() == [100.0 * e for e in EPOCHS]


def iterations(epochs: int, every: int, *, overall: bool, word: str = "Iteration") -> str:
    return "".join(
        f"Epoch {e + 1}/{epochs}\n----------\n"
        + "".join(
            f"{word} {k + overall * e * 40}/{40 * epochs if overall else 40}: train loss {9 - e - k / 80:.4f}\n" for k in range(every, 41, every)
        )
        + f"  Val loss: {9 - e}.75\n"
        for e in range(epochs)
    )


@pytest.mark.parametrize("overall", [False, True])
@pytest.mark.parametrize(("epochs", "every"), [(2, 10), (5, 10), (6, 1)])  # few are read line by line, many by the stretch
def test_iterations_with_a_total_below_the_heading_of_an_epoch(tmp_path: Path, epochs: int, every: int, *, overall: bool) -> None:
    run = read(tmp_path, iterations(epochs, every, overall=overall))
    points = epochs * 40 // every
    assert ends(run) == {"train/loss": (points, 9 - every / 80, 9.5 - epochs), "val/loss": (epochs, 9.75, 10.75 - epochs)}
    loss, held = run.one_series("train/loss"), run.one_series("val/loss")
    assert loss is not None
    assert held is not None
    assert loss.steps.tolist() == [float(every * (n + 1)) for n in range(points)]
    assert held.steps.tolist() == [40.0 * (e + 1) for e in range(epochs)]
    assert run.planned_steps == 40 * epochs
    assert not run.earlier


GROUPS = [
    "  class {g}: loss 7.{g}{e}, acc 0.1{g}\n", "  group {g} [n = 20{g}]: loss 7.{g}{e} acc 0.1{g}\n", "  y:{g}_place:land  [n = 34{g}]:\tloss = 7.{g}{e}  acc = 0.1{g}\n",
    "INFO - domain photo-{g}: loss: 7.{g}{e}, acc: 0.1{g}\n", "Subject A{g} - loss 7.{g}{e} - acc 0.1{g}\n",
]  # fmt: skip


@pytest.mark.parametrize("line", GROUPS)
@pytest.mark.parametrize("before", [True, False])
def test_lines_about_groups_of_an_evaluation_are_not_about_the_whole(tmp_path: Path, line: str, *, before: bool) -> None:
    text = ""
    for e in EPOCHS:
        apart = "".join(line.format(g=g, e=e) for g in range(1, 5))
        whole = f"Val loss {5 - e / 4:.3f}, acc 0.{40 + e}\n"
        text += f"Epoch {e}: train loss {4 - e / 4:.3f}\n" + (apart + whole if before else whole + apart)
    assert ends(read(tmp_path, text)) == {"train/loss": (8, 3.75, 2.0), "val/loss": (8, 4.75, 3.0), "val/accuracy": (8, 0.41, 0.48)}


@pytest.mark.parametrize("line", ["class accuracy: 0.{e}1, loss: 2.{e}\n", "group_loss: 2.{e} loss: 2.{e}\n", "Epoch {e} class 3 loss: 2.{e}\n"])
def test_what_is_no_line_about_a_group(tmp_path: Path, line: str) -> None:
    run = read(tmp_path, "".join(f"Epoch {e}\n" + line.format(e=e) for e in EPOCHS))
    assert ends(run)["train/loss"] == (8, 2.1, 2.8)


CHINESE = "".join(f"第{e}轮 训练损失：{3 - e / 8:.3f} 验证损失：{3.5 - e / 8:.3f} 准确率：0.{40 + e}\n" for e in EPOCHS)
READ = {"train/loss": (8, 2.875, 2.0), "val/loss": (8, 3.375, 2.5), "val/accuracy": (8, 0.41, 0.48)}


@pytest.mark.parametrize("encoding", ["utf-8", "gbk", "gb18030", "utf-16"])
@pytest.mark.parametrize("before", ["", "Using cuda\n" * 600])
def test_chinese_is_read_in_any_of_its_encodings(tmp_path: Path, encoding: str, before: str) -> None:
    assert ends(read(tmp_path, before + CHINESE, encoding=encoding)) == READ


@pytest.mark.parametrize("encoding", ["utf-8", "gbk", "utf-16"])
@pytest.mark.parametrize("name", ["history.csv", "history.jsonl"])
def test_chinese_tables_too(tmp_path: Path, encoding: str, name: str) -> None:
    rows = [{"轮次": e, "训练损失": 3 - e / 8, "验证损失": 3.5 - e / 8} for e in EPOCHS]
    table = "".join(",".join(map(str, r)) + "\n" for r in [list(rows[0]), *(list(r.values()) for r in rows)])
    lines = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)
    run = read(tmp_path, table if name.endswith("csv") else lines, name, encoding)
    assert ends(run) == {"train/loss": READ["train/loss"], "val/loss": READ["val/loss"]}


def test_latin_letters_are_no_chinese(tmp_path: Path) -> None:
    run = read(tmp_path, "".join(f"Époque {e} terminée, epoch {e} loss {3 - e / 8:.3f} durée{e}\n" for e in EPOCHS), encoding="latin-1")
    assert ends(run)["train/loss"] == (8, 2.875, 2.0)


@pytest.mark.parametrize("line", ["Epoch [{e}/8] loss_G: {a} loss_D: {b}\n", "[{e} :    100] loss G : {a:.3f} loss D : {b:.3f}\n"])
def test_the_losses_of_two_players_are_those_of_neither_alone(tmp_path: Path, line: str) -> None:
    run = read(tmp_path, "".join(line.format(e=e, a=0.5 + e / 16, b=0.75 - e / 16) for e in EPOCHS))
    assert sorted(ends(run).values()) == [(8, pytest.approx(0.5625, abs=1e-3), 1.0), (8, pytest.approx(0.6875, abs=1e-3), 0.25)]
    assert all(name.startswith("other/loss") for name in ends(run))


def test_epoch_and_batch_with_a_colon_between(tmp_path: Path) -> None:
    run = read(tmp_path, "".join(f"[{e} : {k:6d}] loss G : {9 - e}.5 loss D : 0.{e}\n" for e in range(4) for k in (0, 100, 200, 300)))
    (first, _) = run.series
    assert first.steps.tolist() == [100.0 * n for n in range(16)]


TABLES = [
    ("METRIC     | TRAIN      | VALIDATION\n", "{key:10} | {a:.4f}     | {b:.4f}\n"),
    ("|  Metric  | Train |  Val  |\n|----------|-------|-------|\n", "| {key} | {a:.4f} | {b:.4f} |\n"),
    ("2026-01-18 20:25:52,000 - METRIC     | TRAIN      | VALIDATION\n", "2026-01-18 20:25:52,001 - {key:10} | {a:.4f}     | {b:.4f}\n"),
    ("Metric      Train    Valid\n", "{key}   {a:.4f}   {b:.4f}\n"),
]


@pytest.mark.parametrize(("header", "row"), TABLES)
def test_a_table_with_a_row_for_each_quantity_and_a_column_for_each_set(tmp_path: Path, header: str, row: str) -> None:
    text = "".join(
        f"Epoch {e}/8\n-----------------\n{header}"
        + row.format(key="Loss", a=3 - e / 8, b=3.5 - e / 8)
        + row.format(key="Accuracy", a=0.4 + e / 100, b=0.3 + e / 100)
        + row.format(key="Recall", a=0.5, b=0.25)
        + "-----------------\n"
        for e in EPOCHS
    )
    run = read(tmp_path, text)
    assert ends(run) == {
        "train/loss": (8, 2.875, 2.0), "val/loss": (8, 3.375, 2.5), "train/accuracy": (8, 0.41, 0.48), "val/accuracy": (8, 0.31, 0.38),
        "other/train Recall": (8, 0.5, 0.5), "other/val Recall": (8, 0.25, 0.25),
    }  # fmt: skip
    assert all(s.epochs is not None and s.epochs.tolist() == list(EPOCHS) for s in run.series)


def test_a_table_of_sizes_of_sets_is_none(tmp_path: Path) -> None:
    text = "Split | Train | Val\nimages | 800 | 200\n" + "".join(f"epoch {e} loss {3 - e / 8}\n" for e in EPOCHS)
    assert ends(read(tmp_path, text)) == {"train/loss": (8, 2.875, 2.0)}


@pytest.mark.parametrize("first", ["0", '"0"', ",0"])
@pytest.mark.parametrize(("name", "expected"), [("train_loss.csv", "train/loss"), ("val_losses.csv", "val/loss")])
def test_the_name_that_pandas_gives_a_column_is_no_value(tmp_path: Path, first: str, name: str, expected: str) -> None:
    counted = first.startswith(",")
    run = read(tmp_path, f"{first}\n" + "".join((f"{e}," if counted else "") + f"{3 - e / 8:.4f}\n" for e in EPOCHS), name)
    assert ends(run) == {expected: (8, 2.875, 2.0)}


def test_a_loss_that_begins_at_zero_does(tmp_path: Path) -> None:
    assert ends(read(tmp_path, "0.0\n1.5\n1.25\n", "loss.csv")) == {"train/loss": (3, 0.0, 1.25)}
    assert ends(read(tmp_path, "0\n2\n1\n", "loss.csv")) == {"train/loss": (3, 0.0, 1.0)}


@pytest.mark.parametrize(("trained", "held"), [("loss_t", "loss_v"), ("t_loss", "v_loss")])
@pytest.mark.parametrize("name", ["train.log", "history.csv"])
def test_letters_tell_the_set_where_both_are_there(tmp_path: Path, trained: str, held: str, name: str) -> None:
    rows = [(e, 3 - e / 8, 3.5 - e / 8) for e in EPOCHS]
    line = f"epoch {{}} {trained}: {{}} {held}: {{}}\n" if name.endswith("log") else "{},{},{}\n"
    head = "" if name.endswith("log") else f"epoch,{trained},{held}\n"
    assert ends(read(tmp_path, head + "".join(line.format(*r) for r in rows), name)) == {"train/loss": (8, 2.875, 2.0), "val/loss": (8, 3.375, 2.5)}


@pytest.mark.parametrize("keys", [("loss_t",), ("loss_t", "loss_p"), ("loss_u", "loss_v", "loss_t"), ("loss", "loss_t", "loss_v")])
def test_a_letter_alone_or_among_others_is_no_set(tmp_path: Path, keys: tuple[str, ...]) -> None:
    run = read(tmp_path, "".join(f"epoch {e} " + " ".join(f"{k}: {3 - e / 8 + n}" for n, k in enumerate(keys)) + "\n" for e in EPOCHS))
    assert not any(name.startswith("val/") for name in ends(run))


def test_numbers_in_tensors(tmp_path: Path) -> None:
    cells = [
        (f"tensor({3 - e / 8:.4f}, device='cuda:0', grad_fn=<NllLossBackward0>)", f"tensor({0.4 + e / 100:.4f}, device='cuda:0')") for e in EPOCHS
    ]
    expected = {"train/loss": (8, 2.875, 2.0), "train/accuracy": (8, 0.41, 0.48)}
    assert ends(read(tmp_path, "".join(f"epoch {e} loss: {a} acc: {b}\n" for e, (a, b) in zip(EPOCHS, cells, strict=True)))) == expected
    for quote in ("", '"'):
        table = "epoch,loss,acc\n" + "".join(f"{e},{quote}{a}{quote},{quote}{b}{quote}\n" for e, (a, b) in zip(EPOCHS, cells, strict=True))
        assert ends(read(tmp_path, table, "history.csv")) == expected
    table = "epoch\tloss\tacc\n" + "".join(f"{e}\t{a}\t{b}\n" for e, (a, b) in zip(EPOCHS, cells, strict=True))
    assert ends(read(tmp_path, table, "train.log")) == expected


def test_a_test_at_the_end_of_each_run_is_no_validation(tmp_path: Path) -> None:
    once = "".join(f"Epoch: {e:04d}\niter:0020 loss_train: {3 - e / 8}\nthis epoch:\nloss= {3.5 - e / 8} accuracy= 0.5\n" for e in EPOCHS)
    run = read(tmp_path, (once + "Optimization Finished!\nTest set results: loss= 1.75 accuracy= 0.5\n") * 3)
    for attempt in (run, *run.earlier):
        names = {s.name: len(s) for s in attempt.series}
        assert not any(name.startswith("val/") for name in names)
        assert names["test/loss"] == 1


def test_what_llamafactory_writes(tmp_path: Path) -> None:
    rows = []
    for n in range(1, 21):
        where = {"epoch": round(n / 8, 2), "percentage": 5.0 * n, "elapsed_time": f"0:0{n // 6}:{n % 6}0", "remaining_time": "0:03:00"}
        rows.append({"current_steps": 5 * n, "total_steps": 100, "loss": 3 - n / 16, "lr": 1e-4 * (1 - n / 32), **where})
        if n % 5 == 0:
            rows.append({"current_steps": 5 * n, "total_steps": 100, "eval_loss": 3.25 - n / 20, **where})
    run = read(tmp_path, "".join(json.dumps(r) + "\n" for r in rows), "trainer_log.jsonl")
    assert ends(run) == {"train/loss": (20, 2.9375, 1.75), "lr": (20, 1e-4 * 31 / 32, 1e-4 * 12 / 32), "val/loss": (4, 3.0, 2.25)}
    assert run.series[0].steps.tolist() == [5.0 * n for n in range(1, 21)]
    assert run.planned_steps == 100


def test_what_ms_swift_writes(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = []
    for n in range(1, 21):
        where = {
            "epoch": n / 8,
            "global_step/max_steps": f"{5 * n}/100",
            "percentage": f"{5 * n}.00%",
            "elapsed_time": f"{n}m 3s",
            "remaining_time": "1m",
        }
        rate = {"learning_rate": 1e-4, "memory(GiB)": 17.25, "train_speed(iter/s)": 0.25 + n / 400}
        rows.append({"loss": 3 - n / 16, "token_acc": 0.5 + n / 100, "grad_norm": 1 + n / 10, **rate, **where})
        if n % 5 == 0:
            rows.append({"eval_loss": 3.25 - n / 20, "eval_token_acc": 0.45 + n / 100, "eval_runtime": 3.5, **where})
    run = read(tmp_path, "".join(json.dumps(r) + "\n" for r in rows), "logging.jsonl")
    assert {k: v for k, v in ends(run).items() if not k.startswith("other/")} == {
        "train/loss": (20, 2.9375, 1.75), "train/accuracy": (20, 0.51, 0.7), "grad_norm": (20, 1.1, 3.0), "lr": (20, 1e-4, 1e-4),
        "memory": (20, 17.25, 17.25), "throughput": (20, 0.2525, 0.3), "val/loss": (4, 3.0, 2.25), "val/accuracy": (4, 0.5, 0.65),
    }  # fmt: skip
    assert run.series[0].steps.tolist() == [5.0 * n for n in range(1, 21)]
    assert run.planned_steps == 100


@pytest.mark.parametrize("word", ["epochs", "iterations"])
def test_a_loss_after_so_many_says_of_which_set(tmp_path: Path, word: str) -> None:
    run = read(tmp_path, "".join(f"Training loss after {e} {word}: {9 - e}.5\nValidation loss after {e} {word}: {9 - e}.75\n\n" for e in EPOCHS))
    assert ends(run) == {"train/loss": (8, 8.5, 1.5), "val/loss": (8, 8.75, 1.75)}


SAVED = ["✓ 保存最佳模型，验证损失: {b}\n", "最佳模型已保存, 验证损失: {b}\n", "早停: 验证损失: {b} 没有下降\n"]


@pytest.mark.parametrize("saved", SAVED)
def test_a_saved_model_is_no_second_evaluation(tmp_path: Path, saved: str) -> None:
    line = "Epoch {e} 完成 | 训练损失: {a} | 验证损失: {b} | 时间: 385.8s\n"
    run = read(tmp_path, "".join((saved * (e % 2) + line).format(e=e, a=3 - e / 8, b=3.5 - e / 8) for e in EPOCHS))
    assert {k: v for k, v in ends(run).items() if "loss" in k} == {"train/loss": (8, 2.875, 2.0), "val/loss": (8, 3.375, 2.5)}


def test_sets_and_values_of_losses_in_chinese(tmp_path: Path) -> None:
    run = read(tmp_path, "".join(f"第{e}轮: 训练集总损失={3 - e / 8} 验证集损失值={3.5 - e / 8} 测试集准确率=0.{40 + e}\n" for e in EPOCHS))
    assert ends(run) == {"train/loss": (8, 2.875, 2.0), "val/loss": (8, 3.375, 2.5), "test/accuracy": (8, 0.41, 0.48)}


def test_names_of_days_and_months_are_no_quantities(tmp_path: Path) -> None:
    run = read(tmp_path, "".join(f"Wed 07 Sep 2022 07:49:5{e} - INFO - __main__ - epoch {e} step {10 * e} loss {3 - e / 8}\n" for e in EPOCHS))
    assert ends(run) == {"train/loss": (8, 2.875, 2.0)}


def test_a_bar_that_a_message_interrupts_before_its_end_is_one_record(tmp_path: Path) -> None:
    text = "".join(
        f"Epoch {e}/8\n 99/100 ━━━━━━━━━━━━━━━━━━━━ 0s 35ms/step - accuracy: 0.5 - loss: {9 - e}.5\n"
        + "2025-12-14 13:45:04.362248: I external/service.cc:163] XLA service 0x7f64ec003900 initialized: 12 threads\n" * (e % 3 == 1)
        + f"100/100 ━━━━━━━━━━━━━━━━━━━━ 4s 37ms/step - accuracy: 0.5 - loss: {3 - e / 8} - val_accuracy: 0.5 - val_loss: {3.5 - e / 8}\n"
        for e in EPOCHS
    )
    run = read(tmp_path, text)
    assert {k: v for k, v in ends(run).items() if "loss" in k} == {"train/loss": (8, 2.875, 2.0), "val/loss": (8, 3.375, 2.5)}


@pytest.mark.parametrize("before", ["{e}/4", "[{e}/4]", "Training {e}/4", "[fold_2] 00{e}/4", "Epoch {e}/4"])
def test_a_counter_that_describes_a_bar_is_the_epoch(tmp_path: Path, before: str) -> None:
    text = "".join(
        f"\r{before.format(e=e)}: {k * 10:3d}%|{'█' * k:10s}| {4 * k}/40 [00:0{k}<00:03, 10.0it/s, loss={9 - e - k / 16}]"
        for e in range(1, 5)
        for k in range(1, 11)
    )
    run = read(tmp_path, text + "\n")
    assert ends(run) == {"train/loss": (40, 8 - 1 / 16, 5 - 10 / 16)}
    assert run.series[0].steps.tolist() == [4.0 * n for n in range(1, 41)]
    assert run.planned_steps == 160


@pytest.mark.parametrize(("head", "unit"), [("", "epoch"), ("Epoch: ", "it"), ("Epochs: ", "epoch")])
@pytest.mark.parametrize("first", [True, False])  # shown before it counts an epoch, too
def test_a_bar_of_epochs_counts_those_that_are_done(tmp_path: Path, head: str, unit: str, *, first: bool) -> None:
    def bar(done: int, told: int) -> str:
        values = f", loss={3 - told / 8}, val_loss={3.5 - told / 8}" if told else ""
        return f"\r{head}{done * 12:3d}%|{'█' * done:8s}| {done}/8 [00:1{done}<00:09, 27.3s/{unit}{values}]"

    text = bar(0, 0) + "".join((bar(e - 1, e) if first else "") + bar(e, e) for e in EPOCHS)
    run = read(tmp_path, text + "\n")
    assert ends(run) == {"train/loss": (8, 2.875, 2.0), "val/loss": (8, 3.375, 2.5)}
    assert all(s.epochs is not None and s.epochs.tolist() == list(EPOCHS) for s in run.series)


def test_how_many_answers_were_right_counts_nothing(tmp_path: Path) -> None:
    run = read(tmp_path, "".join(f"epoch {e:3d}\nloss: {3 - e / 8}\ntest accuracy: {40 + e}.00%, ({40 + e}0/1000)\n" for e in EPOCHS))
    assert ends(run) == {"train/loss": (8, 2.875, 2.0), "val/accuracy": (8, 0.41, 0.48)}
    assert run.axis == "epoch"


def test_letters_of_sets_in_capitals(tmp_path: Path) -> None:
    run = read(
        tmp_path, "".join(f"Epoch: {e} | T_Loss {3 - e / 8:.3f} | T_acc 0.{40 + e} | V_Loss {3.5 - e / 8:.3f} | V_acc. 0.{30 + e}\n" for e in EPOCHS)
    )
    assert ends(run) == {
        "train/loss": (8, 2.875, 2.0), "val/loss": (8, 3.375, 2.5), "train/accuracy": (8, 0.41, 0.48), "val/accuracy": (8, 0.31, 0.38)
    }  # fmt: skip


PAIRS = [
    "Epoch {e}: train/val loss = {a}/{b}, train/val acc: 0.{c} / 0.{d}\n", "Epoch {e} | Loss (train/val): {a} / {b} | Acc (train/val): 0.{c} / 0.{d}\n",
    "Epoch {e}: loss(train)={a} loss(val)={b} acc(train)=0.{c} acc(val)=0.{d}\n", "Epoch #{e}. Train loss is {a}; val loss is {b}; train acc 0.{c}; val acc 0.{d}\n",
    "ep{e}: trn_loss={a} vld_loss={b} trn_acc=0.{c} vld_acc=0.{d}\n",
]  # fmt: skip
TONGUES = [
    "에폭 {e}: 훈련 손실 {a}, 검증 손실 {b}, 훈련 정확도 0.{c}, 검증 정확도 0.{d}\n", "エポック {e}: 訓練損失 {a}, 検証損失 {b}, 訓練正解率 0.{c}, 検証正解率 0.{d}\n",
    "Эпоха {e}: потери на обучении={a}, потери на валидации={b}, точность на обучении=0.{c}, точность на валидации=0.{d}\n",
]  # fmt: skip


@pytest.mark.parametrize("line", [*PAIRS, *TONGUES])
def test_training_and_validation_in_one_line(tmp_path: Path, line: str) -> None:
    run = read(tmp_path, "".join(line.format(e=e, a=3 - e / 8, b=3.5 - e / 8, c=40 + e, d=30 + e) for e in EPOCHS))
    assert ends(run) == {
        "train/loss": (8, 2.875, 2.0), "val/loss": (8, 3.375, 2.5), "train/accuracy": (8, 0.41, 0.48), "val/accuracy": (8, 0.31, 0.38)
    }  # fmt: skip
    assert all(s.epochs is not None and s.epochs.tolist() == list(EPOCHS) for s in run.series)


@pytest.mark.parametrize(
    "line",
    ["Epoch {e}: loss: train {a}, val {b}; acc: train 0.{c}, val 0.{d}\n", "Epoch {e} | Loss: train={a} val={b} | Accuracy: train=0.{c} val=0.{d}\n"],
)
def test_a_quantity_before_the_sets_that_it_is_of(tmp_path: Path, line: str) -> None:
    run = read(tmp_path, "".join(line.format(e=e, a=3 - e / 8, b=3.5 - e / 8, c=40 + e, d=30 + e) for e in EPOCHS))
    assert ends(run) == {
        "train/loss": (8, 2.875, 2.0), "val/loss": (8, 3.375, 2.5), "train/accuracy": (8, 0.41, 0.48), "val/accuracy": (8, 0.31, 0.38)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("head", "row"),
    [
        ("epoch;train_loss;val_loss", "{e};{a},{m};{b},{n}"),  # where a comma is the decimal point
        ("epoch,tr_loss,te_loss", "{e},{a}.{m},{b}.{n}"),
        ("epoch,train_loss,val_loss", "{e},[{a}.{m}],[{b}.{n}]"),
    ],
)
def test_tables_in_other_ways(tmp_path: Path, head: str, row: str) -> None:
    rows = "".join(row.format(e=e, a=9 - e, b=10 - e, m=500 + e, n=250) + "\n" for e in EPOCHS)
    assert ends(read(tmp_path, f"{head}\n{rows}", "history.csv")) == {"train/loss": (8, 8.501, 1.508), "val/loss": (8, 9.25, 2.25)}


def test_thousands_are_still_thousands(tmp_path: Path) -> None:
    rows = "".join(f'"{e},000";{3 - e / 8}\n' for e in EPOCHS)
    run = read(tmp_path, f"step;train_loss\n{rows}", "history.csv")
    assert run.series[0].steps.tolist() == [1000.0 * e for e in EPOCHS]


LISTS = [
    "train_losses = {a}\nval_losses = {b}\nval_accs = {c}\n", "Train losses: {a}\nValidation losses: {b}\nVal accuracies: {c}\n",
    "{{'train_loss': {a}, 'val_loss': {b}, 'val_acc': {c}}}\n",
]  # fmt: skip


@pytest.mark.parametrize("line", LISTS)
def test_lists_that_are_printed_at_the_end_are_histories(tmp_path: Path, line: str) -> None:
    a, b, c = ([round(first + step * e, 4) for e in EPOCHS] for first, step in ((3, -0.125), (3.5, -0.125), (0.3, 0.01)))
    run = read(tmp_path, "Training done in 3 minutes\n" + line.format(a=a, b=b, c=c))
    assert ends(run) == {"train/loss": (8, 2.875, 2.0), "val/loss": (8, 3.375, 2.5), "val/accuracy": (8, 0.31, 0.38)}
    assert all(s.epochs is not None and s.epochs.tolist() == list(EPOCHS) for s in run.series)


def test_a_list_that_grows_is_whole_at_its_end_and_one_that_changes_is_none(tmp_path: Path) -> None:
    losses = [3 - e / 8 for e in range(12)]
    assert ends(read(tmp_path, "".join(f"losses: {losses[:n]}\n" for n in range(5, 13)))) == {"train/loss": (12, 3.0, 1.625)}
    assert "train/loss" not in ends(read(tmp_path, "".join(f"losses: {losses[n : n + 5]}\n" for n in range(5))))


def test_a_list_beside_a_curve_adds_nothing_to_it(tmp_path: Path) -> None:
    records = "".join(f"epoch {e} train_loss {3 - e / 8}\n" for e in EPOCHS)
    assert ends(read(tmp_path, records + "val_loss: [1.5, 1.25, 1.0, 0.75, 0.5]\ntrain_loss: [9.5, 9.25, 9.0, 9.75, 9.5]\n")) == {
        "train/loss": (8, 2.875, 2.0)
    }


@pytest.mark.parametrize("form", ["history", "1", "epoch_1"])
def test_records_of_a_document_by_name_or_by_number(tmp_path: Path, form: str) -> None:
    rows = [{"train_loss": 3 - e / 8, "val_loss": 3.5 - e / 8} for e in EPOCHS]
    by_number = {form.replace("1", str(e)): row for e, row in zip(EPOCHS, rows, strict=True)}
    document = {"best": 2.5, "history": [{"epoch": e, **row} for e, row in zip(EPOCHS, rows, strict=True)]} if form == "history" else by_number
    run = read(tmp_path, json.dumps(document), "history.json")
    assert ends(run) == {"train/loss": (8, 2.875, 2.0), "val/loss": (8, 3.375, 2.5)}
    assert all(s.epochs is not None and s.epochs.tolist() == list(EPOCHS) for s in run.series)
