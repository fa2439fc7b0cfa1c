"""Settings as scripts print them at the head of a log."""

from pathlib import Path

import pytest

from postmortem.sources import read_run

EPOCHS = "".join(f"{{prefix}}epoch {n} loss {10 - n}.{n}\n" for n in range(1, 7))
# What each says: a learning rate of 0.0008, batches of 32, 300 epochs.
FORMS = {
    "namespace": "Namespace(lr=0.0008, batch_size=32, epochs=300, name='a')",
    "dataclass": "TrainConfig(lr=0.0008, batch_size=32, epochs=300)",
    "dict": "{'lr': 0.0008, 'batch_size': 32, 'epochs': 300, 'loss': 'mse'}",
    "json": '{"lr": 0.0008, "batch_size": 32, "epochs": 300}',
    "nested": "{'optim': {'lr': 0.0008}, 'batch_size': 32, 'epochs': 300}",
    "wrapped": "Configs: edict({'lr': 0.0008, 'batch_size': 32, 'epochs': 300})",
    "named": "config = {'lr': 0.0008, 'batch_size': 32, 'epochs': 300}",
    "items": "Params: lr=0.0008 | bs=32 | opt=adamw | epochs=300",
    "sentence": "Learning rate: 0.0008, Batch size: 32, Number of epochs: 300",
    "words": "Training with Adam, learning rate 0.0008, batch size 32, 300 epochs",
    "command": "python train.py --lr 0.0008 --batch-size 32 --epochs 300",
    "overrides": "python main.py lr=0.0008 batch_size=32 epochs=300",
    "lines": "lr: 0.0008\n{prefix}batch size: 32\n{prefix}epochs: 300",
}
PREFIXES = ("", "INFO:root:", "INFO:", "INFO - ", "2024-01-02 10:00:00,123 - INFO - ", "[2024-01-02 10:00:00,123][__main__][INFO] - ")
BLOCKS = {
    "pprint": "{'batch_size': 32,\n 'epochs': 300,\n 'lr': 0.0008,\n 'optimizer': 'adamw'}",
    "yaml": "optim:\n  lr: 0.0008\n  weight_decay: 0.0001\nbatch_size: 32\nepochs: 300",
    "json": '{\n  "optim": {\n    "lr": 0.0008,\n    "name": "adamw"\n  },\n  "batch_size": 32,\n  "epochs": 300\n}',
    "table": "| lr | 0.0008 |\n| batch_size | 32 |\n| optimizer | adamw |\n| epochs | 300 |",
    "rich": "┏━━━━┳━━━━┓\n┃ Name ┃ Value ┃\n┡━━━━╇━━━━┩\n│ lr │ 0.0008 │\n│ batch_size │ 32 │\n│ epochs │ 300 │\n└────┴────┘",
    "columns": "lr                 0.0008\nbatch_size         32\noptimizer          adamw\nepochs             300",
    "tabs": "lr\t0.0008\nbatch_size\t32\nepochs\t300",
    "arrows": "lr => 0.0008\nbatch_size -> 32\nepochs → 300",
    "bullets": "- lr: 0.0008\n* batch size: 32\n• epochs: 300",
    "hashes": "# lr: 0.0008\n# batch_size: 32\n# epochs: 300",
    "tuples": "('lr', 0.0008)\n('batch_size', 32)\n('epochs', 300)",
    "plain": "lr 0.0008\nbatch_size 32\nepochs 300",
    "defaults": "   batch_size: 32          \t[default: 1]\n           lr: 0.0008      \t[default: 0.0002]\n       epochs: 300         ",
    "Chinese": "学习率: 0.0008\n批大小: 32\n训练轮数: 300",
}


def settings(folder: Path, text: str, name: str = "train.log") -> tuple[dict[str, object], list[str]]:
    (folder / name).write_text(text)
    run = read_run([folder])
    return {s.name: s.value for s in run.settings if s.name}, [s.name for s in run.series]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("form", FORMS)
def test_a_configuration_on_one_line(tmp_path: Path, form: str, prefix: str) -> None:
    text = prefix + FORMS[form].replace("{prefix}", prefix) + "\n" + EPOCHS.replace("{prefix}", prefix)
    found, series = settings(tmp_path, text)
    assert (found.get("learning_rate"), found.get("batch_size"), found.get("epochs")) == (0.0008, 32, 300)
    assert series == ["train/loss"]


@pytest.mark.parametrize("form", BLOCKS)
def test_a_configuration_over_several_lines(tmp_path: Path, form: str) -> None:
    found, series = settings(tmp_path, BLOCKS[form] + "\n" + EPOCHS.replace("{prefix}", ""))
    assert (found.get("learning_rate"), found.get("batch_size"), found.get("epochs")) == (0.0008, 32, 300)
    assert series == ["train/loss"]


@pytest.mark.parametrize("record", [
    '{"epoch": %d, "lr": "0.001", "bsz": "32", "clip": "1", "train_loss": "%d.5"}',
    "{'epoch': %d, 'lr': 0.001, 'batch_size': 32, 'weight_decay': 0.1, 'loss': %d.5}",
    "epoch %d | lr 0.001 | batch_size 32 | momentum 0.9 | loss %d.5",
])  # fmt: skip
def test_a_record_that_names_settings_too_is_a_record(tmp_path: Path, record: str) -> None:
    _, series = settings(tmp_path, "".join(record % (n, 9 - n) + "\n" for n in range(1, 7)))
    assert "train/loss" in series


@pytest.mark.parametrize("odd", ["-" * 9000 + "1", "1+" * 4000 + "1", "f" + "()" * 4000, "lambda: 1", "'C:\\data'", "[" * 50 + "]" * 50])
def test_a_mapping_of_what_is_no_literal_is_read_item_by_item(tmp_path: Path, odd: str) -> None:
    found, _ = settings(tmp_path, "{'lr': 0.0008, 'epochs': 300, 'batch_size': 32, 'odd': " + odd + "}\n" + EPOCHS.replace("{prefix}", ""))
    assert (found.get("learning_rate"), found.get("batch_size"), found.get("epochs")) == (0.0008, 32, 300)


def test_an_optimizer_is_called_by_its_name_alone(tmp_path: Path) -> None:
    printed = "Optimizer: AdamW (\nParameter Group 0\n    betas: (0.9, 0.999)\n    lr: 0.0008\n    weight_decay: 0.01\n)\n"
    found, _ = settings(tmp_path, printed + EPOCHS.replace("{prefix}", ""))
    assert (found["optimizer"], found["learning_rate"], found["weight_decay"]) == ("AdamW", 0.0008, 0.01)


def test_what_goes_on_for_some_epochs_is_no_plan(tmp_path: Path) -> None:
    found, _ = settings(tmp_path, "Early stopping waits for 5 epochs\nSaving every 10 epochs\n" + EPOCHS.replace("{prefix}", ""))
    assert "epochs" not in found
