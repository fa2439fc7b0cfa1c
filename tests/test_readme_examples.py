"""The README's examples of recording run as they stand there, and the analyzer reads what they leave."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import postmortem

torch = pytest.importorskip("torch")
README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"<!-- example: (\w+) -->\n```python\n(.*?)```\n<!-- /example -->", README, re.DOTALL))


def data() -> tuple[Any, Any]:
    torch.manual_seed(0)
    x = torch.randn(64, 8)
    return x, x[:, :3].argmax(1)


def loader() -> Any:
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data()), batch_size=8)


def plain() -> dict[str, Any]:
    model = torch.nn.Linear(8, 3)
    return {
        "model": model,
        "train_loader": loader(),
        "criterion": torch.nn.CrossEntropyLoss(),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.5),
    }


def transformers() -> dict[str, Any]:
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

    config = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=3)
    ids = torch.randint(0, 50, (64, 8))
    args = TrainingArguments(
        "runs/out", max_steps=12, per_device_train_batch_size=8, logging_steps=3, report_to=[], use_cpu=True, save_strategy="no", disable_tqdm=True
    )
    dataset = [{"input_ids": i, "labels": i[0] % 3} for i in ids]
    return {"Trainer": Trainer, "args": args, "dataset": dataset, "model": BertForSequenceClassification(config)}


def lightning() -> dict[str, Any]:
    import functools

    from lightning.pytorch import LightningModule, Trainer

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(8, 3)

        def training_step(self, batch: Any, index: int) -> Any:
            return torch.nn.functional.cross_entropy(self.layer(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.5)

    quiet = functools.partial(
        Trainer, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu"
    )
    return {"Trainer": quiet, "module": Module(), "train_loader": loader()}


def keras() -> dict[str, Any]:
    import keras

    model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(3, name="out")], name="net")
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    x, y = data()
    return {"model": model, "x": np.asarray(x), "y": np.asarray(y)}


SETTINGS = {"plain": plain, "transformers": transformers, "lightning": lightning, "keras": keras}
EXPECTED = {
    "plain": {"train/loss", "lr", "data/train_mean", "gradients/weight/rms", "updates/weight/ratio"},
    "transformers": {"train/loss", "lr", "grad_norm", "data/train_mean", "gradients/classifier.weight/rms"},
    "lightning": {"train/loss", "lr", "grad_norm", "data/train_mean", "gradients/layer.weight/rms", "activations/layer/rms"},
    "keras": {
        "train/loss",
        "train/loss.epoch",
        "train/accuracy",
        "lr",
        "data/train_mean",
        "weights/net/out/kernel/rms",
        "updates/net/out/bias/ratio",
    },
}


def test_every_example_is_here_and_short() -> None:
    assert set(EXAMPLES) == set(SETTINGS)
    assert all(len(code.splitlines()) < 10 for code in EXAMPLES.values())


@pytest.mark.filterwarnings("default")  # of the frameworks themselves
@pytest.mark.parametrize("name", SETTINGS)
def test_an_example_runs_and_is_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name != "plain" and importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        exec(EXAMPLES[name], {"postmortem": postmortem, **SETTINGS[name]()})
    finally:
        torch.set_num_threads(threads)
    diagnosis = postmortem.analyze(tmp_path / "runs" / "exp1")
    logged = {s.name for s in diagnosis.run.series}
    assert EXPECTED[name] <= logged, EXPECTED[name] - logged
    assert diagnosis.run.outcome == "finished"
    assert diagnosis.run.framework == ("pytorch" if name == "plain" else name)
