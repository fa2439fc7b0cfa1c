"""Configuration files as settings; documents that are none; hostile ones."""

import contextlib
import json
import math
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postmortem.model.run import Setting, Status
from postmortem.model.sentence import Value
from postmortem.sources.config import READER, claims, settings_of
from postmortem.sources.documents import Unreadable, scalar, yaml_of
from postmortem.sources.reader import Candidate, Found


def read(folder: Path, name: str, text: str) -> Found:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    one = Candidate(folder, name, len(text.encode()), text.encode()[:4096])
    assert claims(one)
    return READER.read(one)


def by_name(found: Found) -> dict[str, Value]:
    return {s.name: s.value for s in found.settings if s.name}


def by_key(found: Found) -> dict[str, Value]:
    return {s.key: s.value for s in found.settings}


def test_nested_keys_are_dotted_and_keep_their_spelling(tmp_path: Path) -> None:
    text = "model:\n  hidden_size: 64\n  depth: 3\noptim:\n  name: adamw\n  lr: 1e-3\n  betas: [0.9, 0.999]\ntrainer:\n  max_epochs: 20\n  gradient_clip_val: 1.0\n"
    found = read(tmp_path, "config.yaml", text)
    assert by_name(found) == {
        "model_width": 64, "model_depth": 3, "optimizer": "adamw", "learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epochs": 20, "gradient_clip_norm": 1.0,
    }  # fmt: skip
    assert Setting("learning_rate", "optim.lr", 0.001, "config.yaml") in found.settings


def test_json_toml_ini_and_argparse_dumps_say_the_same(tmp_path: Path) -> None:
    files = {
        "args.json": json.dumps({"lr": 0.1, "batch_size": 32, "dropout": 0.0}),
        "config.toml": "lr = 0.1\nbatch_size = 32\ndropout = 0.0\n",
        "train.ini": "[train]\nlr = 0.1\nbatch_size = 32\ndropout = 0.0\n",
        "train_opt.txt": "------- Options -------\n  batch_size: 32      \t[default: 1]\n  lr: 0.1\n  dropout: 0.0\n-------- End -------\n",
        "args.txt": "Namespace(lr=0.1, batch_size=32, dropout=0.0, name='x, y')",
        "config_args.txt": "python train.py --lr 0.1 --batch_size=32 --dropout 0.0\n",
        "hparams.yaml": "lr: 0.1\nbatch_size: 32\ndropout: 0.0\n",
    }
    for name, text in files.items():
        assert by_name(read(tmp_path, name, text)) == {"learning_rate": 0.1, "batch_size": 32, "dropout": 0.0}, name


def test_a_tracker_wraps_each_value(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "files/config.yaml",
        "wandb_version: 1\n_wandb:\n  desc: null\n  value:\n    python_version: 3.8\nlr:\n  desc: null\n  value: 0.1\nepochs:\n  desc: null\n  value: 3\n",
    )
    assert by_key(found) == {"lr": 0.1, "epochs": 3}


def test_hydra_overrides(tmp_path: Path) -> None:
    assert by_key(read(tmp_path, ".hydra/overrides.yaml", "- optim.lr=0.01\n- +model.depth=4\n")) == {"optim.lr": 0.01, "model.depth": 4}


def test_a_saved_model_s_configuration(tmp_path: Path) -> None:
    document = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": 64, "n_layer": 4, "vocab_size": 100, "attn_pdrop": 0.1, "resid_pdrop": 0.1, "dtype": "float32", "transformers_version": "5.0", "id2label": {"0": "a", "1": "b", "2": "c"}}  # fmt: skip
    found = read(tmp_path, "config.json", json.dumps(document))
    names = by_name(found)
    assert names["model"] == "GPT2LMHeadModel"
    assert names["model_width"] == 64
    assert names["classes"] == 3
    assert "precision" not in names  # how it is stored
    assert sum(s.name == "dropout" for s in found.settings) == 1


def test_of_two_keys_with_one_name_the_one_that_says_something_counts() -> None:
    pairs: list[tuple[str, Value]] = [
        ("warmup_steps", 0),
        ("warmup_ratio", 0.1),
        ("fp16", False),
        ("bf16", True),
        ("max_grad_norm", None),
        ("lr", "1e-3"),
    ]
    assert {s.name: (s.key, s.value) for s in settings_of(pairs, "f") if s.name} == {
        "warmup": ("warmup_ratio", 0.1), "precision": ("bf16", True), "gradient_clip_norm": ("max_grad_norm", None), "learning_rate": ("lr", 0.001),
    }  # fmt: skip
    assert len(settings_of(pairs, "f")) == len(pairs)


def test_a_deepspeed_configuration(tmp_path: Path) -> None:
    text = json.dumps({"train_micro_batch_size_per_gpu": 4, "gradient_clipping": 1.0, "fp16": {"enabled": True, "initial_scale_power": 16}, "optimizer": {"type": "AdamW", "params": {"lr": 3e-5, "betas": [0.9, 0.95]}},
                       "scheduler": {"type": "WarmupLR", "params": {"warmup_num_steps": 500}}, "zero_optimization": {"stage": 2}})  # fmt: skip
    names = by_name(read(tmp_path, "ds_config.json", text))
    assert names["optimizer"] == "AdamW"
    assert names["learning_rate"] == 3e-5
    assert names["warmup"] == 500
    assert names["precision"] is True
    assert names["beta2"] == 0.95


def test_python_tags_are_plain_data(tmp_path: Path) -> None:
    text = "lr: 0.1\nact: !!python/object/apply:os.system ['echo pwned']\nshape: !!python/tuple [1, 2]\ncls: !!python/name:torch.nn.ReLU ''\nopt: !custom {name: adam}\n"
    found = read(tmp_path, "hparams.yaml", text)
    assert by_key(found) == {"lr": 0.1, "act": "[echo pwned]", "shape": "[1, 2]", "cls": "", "opt.name": "adam"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 1e5),
        ("1_000", 1000),
        (".5", 0.5),
        ("0.1", 0.1),
        ("yes", True),
        ("~", None),
        (".inf", math.inf),
        ("adam", "adam"),
        ("1.2.3", "1.2.3"),
        ("12:30", "12:30"),
    ],
)
def test_scalars(text: str, value: Value) -> None:
    assert scalar(text) == value


def test_quoted_scalars_are_text_and_merges_apply() -> None:
    assert yaml_of(b"a: '1'\nb: &x {lr: 1, wd: 2}\nc: {<<: *x, lr: 3}\nd: *x\n") == {
        "a": "1",
        "b": {"lr": 1, "wd": 2},
        "c": {"lr": 3, "wd": 2},
        "d": {"lr": 1, "wd": 2},
    }


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
MERGE_BOMB = "a0: &a0 {k: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}], k{n}: 1}}\n" for n in range(1, 12))


@pytest.mark.parametrize(
    "text",
    [BOMB, MERGE_BOMB, "[" * 50_000, "{a: " * 50_000, "- " * 50_000 + "x", "a: &a [*a]\n", "? " * 20_000, "a: *missing", "\t- : {", "%YAML 9.9\n---\n", "!!binary x: [", "&a " * 1000],
    ids=range(12),
)  # fmt: skip
def test_hostile_yaml_is_refused_quickly(tmp_path: Path, text: str) -> None:
    start = time.process_time()
    found = read(tmp_path, "config.yaml", text)
    assert time.process_time() - start < 5
    assert found.source.status in (Status.FAILED, Status.SKIPPED)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"lr": ' * 100_000, "", "{", '{"lr": 0.1', "null", "3"])
def test_hostile_json_is_told(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, "config.json", text)
    assert found.source.status in (Status.FAILED, Status.SKIPPED)
    assert found.source.detail is not None


def test_odd_json_numbers(tmp_path: Path) -> None:
    found = read(tmp_path, "config.json", '{"lr": 1e999, "wd": NaN, "seed": ' + "9" * 5000 + ', "epochs": 1, "epochs": 2}')
    values = by_key(found)
    assert values["lr"] == math.inf
    assert values["seed"] == math.inf
    assert values["epochs"] == 2


def test_too_many_settings_are_bounded(tmp_path: Path) -> None:
    found = read(tmp_path, "config.json", json.dumps({"lr": 0.1, "epochs": 2, **{f"k{n}": n for n in range(5000)}}))
    assert found.source.status == Status.PARTIAL
    assert len(found.settings) == 2_000


def test_a_value_is_bounded_and_printable(tmp_path: Path) -> None:
    found = read(tmp_path, "config.json", json.dumps({"lr": 0.1, "note": "x\n\x1b[31m" + "y" * 10_000}))
    note = by_key(found)["note"]
    assert isinstance(note, str)
    assert len(note) <= 500
    assert note.isprintable()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("package.json", '{"name": "x", "version": "1"}'), ("tokenizer_config.json", '{"model_max_length": 512}'), ("results.json", '{"test_acc": 0.5, "test_loss": 1.0}'),
        ("all_results.json", '{"epoch": 0.5, "train_samples": 10, "train_loss": 1.0}'), ("labels.json", '{"cat": 0, "dog": 1}'), ("list.json", "[1, 2, 3]"), ("environment.yml", "name: x\ndependencies: [python]\n"), ("annotations.json", '{"images": [{"id": 1}]}'),
    ],
)  # fmt: skip
def test_other_documents_are_skipped_with_a_reason(tmp_path: Path, name: str, text: str) -> None:
    found = read(tmp_path, name, text)
    assert found.source.status == Status.SKIPPED
    assert found.source.detail is not None
    assert not found.settings


@settings(max_examples=150, deadline=None)
@given(
    text=st.one_of(st.text(max_size=200), st.text(alphabet="abx: -[]{}&*!<>|'\"\n#%@`?,0123456789.e", max_size=200)),
    name=st.sampled_from(["config.yaml", "config.json", "c.toml", "c.ini", "opt.txt"]),
)
def test_any_text_is_read_or_told(tmp_path_factory: pytest.TempPathFactory, text: str, name: str) -> None:
    path = tmp_path_factory.mktemp("any") / name
    path.write_text(text, encoding="utf-8", errors="replace")
    found = READER.read(Candidate(path.parent, name, path.stat().st_size, path.read_bytes()[:4096]))
    assert found.settings or found.source.detail is not None


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_yaml_or_unreadable(data: bytes) -> None:
    with contextlib.suppress(Unreadable):
        yaml_of(data)


def test_a_value_that_someone_else_fills_in_has_no_name() -> None:
    assert [s.name for s in settings_of([("lr", "auto"), ("loss", 0.25), ("epochs", 3)], "f")] == ["", "", "epochs"]


@pytest.mark.parametrize(
    "text", ["a." * 100_000 + "b = 1", "a = " + "[" * 100_000, "a = " + "{a=" * 50_000, "[" + "a." * 50_000 + "b]"], ids=range(4)
)
def test_hostile_toml_is_refused_quickly(tmp_path: Path, text: str) -> None:
    start = time.process_time()
    assert not read(tmp_path, "config.toml", text).settings
    assert time.process_time() - start < 5


def test_text_where_a_number_belongs_is_about_something_else(tmp_path: Path) -> None:
    text = "----- Options -----\nbatch_size: 1\nepoch: latest\ninit_gain: 0.02\ninit_type: normal\nn_epochs: 100\n"
    (tmp_path / "train_opt.txt").write_text(text)
    found = READER.read(Candidate(tmp_path, "train_opt.txt", len(text), text.encode(), frozenset()))
    assert {s.name: s.value for s in found.settings if s.name} == {"batch_size": 1, "initialization": "normal", "epochs": 100}
