"""A change names the setting where it stands: its file, its key letter for letter, and the value it has there, however the run spells it."""

import json
from functools import reduce
from pathlib import Path

import pytest

import postmortem
from postmortem.checklist import remedies
from postmortem.model.evidence import Evidence
from postmortem.model.sentence import Value

CURVE = "epoch,train_loss,val_loss\n" + "".join(f"{n},2.3,2.31\n" for n in range(1, 9))
TO = 7
SPELLINGS: dict[str, tuple[Value, str]] = {
    "learning_rate": (
        30.0,
        ("lr learning_rate base_lr max_lr lr0 learningRate LR optimizer.lr optim.lr optim.params.lr optimizer.params.lr optimizer.learning_rate trainer.lr "
        "hparams.lr train.learning_rate training.lr hyperparameters.learning_rate params.lr optim.kwargs.lr optimizer_params.lr optimizer_kwargs.lr "
        "solver.base_lr SOLVER.BASE_LR TRAIN.LR model.init_args.lr model.optimizer.init_args.lr optimizer.config.lr training.optimizer.lr"),
    ),
    "gradient_clip_norm": (
        1e-5,
        ("grad_clip max_grad_norm gradient_clip_val clip_grad clip_grad_norm gradient_clip clipnorm gradient_clipping grad_norm_clip "
        "trainer.gradient_clip_val trainer.max_grad_norm optimizer.grad_clip optimizer.clipnorm optimizer.global_clipnorm train.clip "
        "optimizer_config.grad_clip.max_norm training.gradient_clip_norm trainer.init_args.gradient_clip_val"),
    ),
    "weight_decay": (
        5.0,
        ("weight_decay wd l2 l2_reg optimizer.weight_decay optim.wd optim.weight_decay optimizer.params.weight_decay model.weight_decay reg.l2 "
        "regularization.weight_decay train.weight_decay"),
    ),
    "dropout": (
        0.95,
        ("dropout drop_rate dropout_rate p_drop attn_pdrop resid_pdrop hidden_dropout_prob model.dropout model.dropout_p model.drop_rate "
        "model.dropout_rate dropout.p net.dropout encoder.dropout model.regularization.dropout"),
    ),
    "model_width": (
        2,
        ("hidden hidden_size n_embd d_model width embed_dim hidden_units hidden_layer_size n_filters base_width model.hidden_dim model.width model.d_model "
        "model.dim net.channels network.hidden model.units model.init_args.hidden_dim model.mlp.hidden model.hidden_channels"),
    ),
    "model_depth": (12, "depth num_layers n_layer n_layers num_hidden_layers layers model.num_layers model.depth model.n_blocks"),
    "epochs": (
        1,
        "epochs num_epochs max_epochs n_epochs num_train_epochs total_epochs trainer.max_epochs training.epochs train.num_epochs fit.epochs trainer.epochs",
    ),
    "warmup": (
        5000,
        "warmup warmup_steps num_warmup_steps scheduler.warmup_steps scheduler.num_warmup_steps optim.warmup lr_scheduler.warmup_steps schedule.warmup",
    ),
    "schedule": (
        "cosine",
        ("scheduler lr_scheduler lr_schedule lr_scheduler_type sched scheduler.name scheduler.type lr_scheduler.name optim.scheduler optimizer.scheduler "
        "scheduler.class_path"),
    ),
    "label_smoothing": (0.9, "label_smoothing label_smoothing_factor smoothing loss.label_smoothing criterion.label_smoothing train.label_smoothing"),
    "activation": ("sigmoid", "activation act hidden_act nonlinearity act_fn activation_fn model.activation model.act net.activation"),
    "initialization": (
        "zeros",
        "init weight_init init_method kernel_initializer initialization model.init model.weight_init model.init_std initializer.name init.name init.std",
    ),
    "precision": (16, "precision fp16 amp dtype mixed_precision trainer.precision train.fp16 train.precision"),
    "patience": (1, "patience early_stopping_patience early_stopping.patience trainer.patience callbacks.early_stopping.patience early_stop.patience"),
    "optimizer": ("sgd", "optimizer optim opt optimizer.name optimizer.type optimizer._target_ optim.name"),
    "accumulation": (64, "accumulate_grad_batches gradient_accumulation_steps accum_steps grad_accum trainer.accumulate_grad_batches"),
    "loss_scale": (65536, "loss_scale fp16.loss_scale initial_scale_power init_loss_scale amp.init_scale scaler.init_scale"),
    "shuffle": (False, "shuffle data.shuffle train.shuffle dataloader.shuffle loader.shuffle"),
    "frozen_parameters": (True, "freeze freeze_backbone freeze_encoder frozen model.freeze model.freeze_backbone"),
    "normalization": ("none", "norm normalization use_bn batch_norm norm_layer model.norm model.batch_norm"),
    "loss": ("mse", "loss criterion loss_fn model.loss loss.name"),
    "batch_size": (2, "batch_size bs per_device_train_batch_size train_batch_size data.batch_size dataloader.batch_size train.batch_size datamodule.batch_size"),
}  # fmt: skip
PLACES = {
    "config.yaml": ("optim:\n  params:\n    lr: 30.0\ntrainer:\n  gradient_clip_val: 1.0e-5\n", "optim.params.lr"),
    "conf/config.toml": ('seed = 3\n[optimizer]\nname = "sgd"\nlr = 30.0\n', "optimizer.lr"),
    "config.ini": ("[train]\nlr = 30.0\nepochs = 1\n", "train.lr"),
    ".hydra/config.yaml": ("optimizer:\n  _target_: torch.optim.SGD\n  lr: 30.0\n", "optimizer.lr"),
    "lightning_logs/version_0/hparams.yaml": ("hparams:\n  lr: 30.0\n  hidden: 2\n", "hparams.lr"),
    "hparams.yaml": ("!!python/object:argparse.Namespace\nlr: 30.0\nbatch_size: 3\n", "lr"),
    "wandb/run-1/files/config.yaml": ("lr:\n  desc: null\n  value: 30.0\nbatch_size:\n  desc: null\n  value: 3\n", "lr"),
    "config.yml": ("LR: 3e1\nBATCH_SIZE: 12\n", "LR"),
    "trainer_config.json": ('{"training_arguments": {"learning_rate": 30.0, "per_device_train_batch_size": 2}}', "training_arguments.learning_rate"),
    "ds_config.json": ('{"optimizer": {"type": "AdamW", "params": {"lr": 30.0, "betas": [0.9, 0.99]}}, "gradient_clipping": 1e-5}', "optimizer.params.lr"),
}  # fmt: skip


def measured(directory: Path, file: str, text: str) -> Evidence:
    path = directory / "run" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    (directory / "run" / "log.csv").write_text(CURVE, encoding="utf-8")
    got: list[Evidence] = []
    postmortem.analyze(directory / "run", with_exhibits=False, measured=got.append)
    return got[-1]


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_change_names_the_key_as_the_run_spells_it(name: str, tmp_path: Path) -> None:
    value, keys = SPELLINGS[name]
    wrong = []
    for n, key in enumerate(keys.split()):
        document: object = reduce(lambda inner, part: {part: inner}, reversed(key.split(".")), value)
        beside = {"dataset": "cifar10"} if name != "epochs" else {"seed": 1}
        e = measured(tmp_path / str(n), "config.json", json.dumps({**beside, **document}))  # type: ignore[dict-item]
        change = remedies.change(e, name, TO)
        if (change.key, change.file, change.from_, change.to) != (key, "config.json", value, TO):
            wrong.append((key, change))
    assert not wrong


@pytest.mark.parametrize("file", PLACES)
def test_a_change_names_the_file_in_which_the_setting_stands(file: str, tmp_path: Path) -> None:
    text, key = PLACES[file]
    change = remedies.change(measured(tmp_path, file, text), "learning_rate", 0.1)
    assert (change.parameter, change.key, change.file, change.from_, change.to) == ("learning_rate", key, file, 30.0, 0.1)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("args.txt", "Namespace(lr=30.0, batch_size=32, epochs=1)\n"),
        ("opt.txt", "----- Options -----\n        lr: 30.0      [default: 0.1]\n  batch_size: 4\n   epochs: 3\n"),
    ],
)
def test_what_was_given_on_the_command_line_has_a_key_and_no_file(file: str, text: str, tmp_path: Path) -> None:
    change = remedies.change(measured(tmp_path, file, text), "learning_rate", 0.1)
    assert (change.key, change.file, change.from_) == ("lr", "", 30.0)


def test_what_a_trainer_saved_of_itself_is_nothing_to_edit(tmp_path: Path) -> None:
    state = {
        "log_history": [{"loss": 2.3, "step": n, "epoch": n / 10} for n in range(1, 9)],
        "num_train_epochs": 3,
        "global_step": 8,
        "max_steps": 30,
    }
    e = measured(tmp_path, "trainer_state.json", json.dumps(state))
    assert remedies.change(e, "frozen_parameters", None).file == ""
