"""What people call things: the tables, and the precision of what they match."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postmortem.model.run import Reduction
from postmortem.sources.names import BARE, QUANTITIES, SETTINGS, SPLITS, plainness, reduction_of, series_name, series_names, setting_name, words

SAID = {
    "train/loss": "train_losses train_loss train/loss loss loss/train train/loss_step train_loss_epoch total_loss main/loss trl cost cross-entropy epoch_loss batch_loss"
    " TRAIN_LOSS trainLoss trainloss training_loss Cost avg_loss running_loss losses/total train_nll bpc",
    "val/loss": "Loss/val eval_loss val_nll validation/main/loss tel valloss ValLoss epoch_val_loss DEV_LOSS validation_loss lm-loss-validation valid_loss",
    "test/loss": "test_loss Test/Loss loss_test",
    "train/accuracy": "acc top1 Acc@1 categorical_accuracy token_acc accuracy mean_token_accuracy train_accuracy_epoch prec@1 train/top1",
    "val/accuracy": "val_acc ValAcc val_accuracy eval_accuracy validation/acc1 val_sparse_categorical_accuracy acc/val",
    "train/error": "top1_err train_err error_rate",
    "val/perplexity": "val_ppl eval_perplexity",
    "val/score": "val_mIoU metrics/mAP50-95(B) metrics/mAP_0.5:0.95 eval_bleu bbox/AP coco/bbox_mAP",
    "val/mae": "val_mae val_mean_absolute_error",
    "val/r2": "val_r2",
    "lr": "lr learning_rate lr-Adam lr-AdamW/pg1 lr/pg0 lr_0 train/lr opt/lr optim0_lr0 L.r. LEARNING_RATE x/lr0 train_lr LearningRate lr-RMSprop lr-SGD",
    "grad_norm": "gnorm norm grad_norm gradients/total_norm grad_2.0_norm_total gNorm GradNorm train/grad_norm global_norm grad_norm/total",
    "loss_scale": "loss_scale train/loss_scale amp_scale scale",
    "throughput": "tokens/s samples_per_second it/s train_speed(iter/s) time/fps perf/tokens_per_sec wps",
    "step_time": "step_time batch_time iter_time train/step_time",
    "reward": "reward rollout/ep_rew_mean episode_return charts/episodic_return mean_reward",
    "val/reward": "eval/mean_reward eval/return",
    "memory": "memory memory(GiB) gpu_mem max_mem",
    "val.quad/loss": "eval_quad_loss",
}
OTHER_KEYS = (
    "train_loss_mask logit_scale norm1.weight grad_norm/encoder grad_2.0_norm/layer.weight grad_norm_clipped val_norm loss_gen D_loss loss_cls box_loss train/policy_loss"
    " train/value_loss kl_loss lr/pg1 lr/pg2 lr-AdamW/pg2 best_validation_loss val_loss_min loss_std reward_std rewards/margins eval_runtime eval_samples_per_second"
    " test_acc5 fast_rcnn/cls_accuracy lossy_flag gloss translation transformer.norm.weight train/scale normalize elbo step time eval_loss_scale losses/value losses/value_loss losses/policy_loss full_loss_metric hard_loss_metric"
)


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, keys in SAID.items() for key in keys.split()])
def test_keys_and_their_names(name: str, key: str) -> None:
    assert series_name(key) == name


@pytest.mark.parametrize(
    ("key", "name"), [("训练损失", "train/loss"), ("验证准确率", "val/accuracy"), ("学习率", "lr"), ("损失/生成器", "other/损失/生成器")]
)
def test_chinese_keys(key: str, name: str) -> None:
    assert series_name(key) == name


@pytest.mark.parametrize("key", ["lm loss", "moving ave loss", "bits per char", "Training Loss", "lm loss value"])
def test_keys_with_spaces(key: str) -> None:
    assert series_name(key) == "train/loss"


@pytest.mark.parametrize("key", OTHER_KEYS.split())
def test_what_only_looks_alike_keeps_its_own_name(key: str) -> None:
    assert series_name(key) == f"other/{key}"


def test_the_context_says_the_split_where_the_key_does_not() -> None:
    assert series_name("loss", "val") == "val/loss"
    assert series_name("train_loss", "val") == "train/loss"
    assert series_name("grad_norm", "val") == "other/grad_norm"


def test_aliases_win() -> None:
    assert series_name("mynll", aliases={"mynll": "val/loss"}) == "val/loss"
    assert series_names(["val_loss", "mynll"], aliases={"mynll": "val/loss"}) == {"val_loss": "other/val_loss", "mynll": "val/loss"}


def test_of_two_keys_with_one_name_the_plainer_keeps_it() -> None:
    assert series_names(["train_nll_loss", "train_loss"]) == {"train_nll_loss": "other/train_nll_loss", "train_loss": "train/loss"}
    assert plainness("loss") < plainness("nll_loss")


def test_step_and_epoch_values_of_one_metric_both_keep_the_name() -> None:
    assert set(series_names(["train_loss_step", "train_loss_epoch"]).values()) == {"train/loss"}
    assert reduction_of("train_loss_step") == Reduction.STEP
    assert reduction_of("train_loss_epoch") == Reduction.EPOCH
    assert reduction_of("running_loss") == Reduction.RUNNING
    assert reduction_of("val_loss") == Reduction.EPOCH
    assert reduction_of("loss") == Reduction.UNKNOWN


def test_a_single_loss_of_an_unknown_kind_is_the_loss_unless_it_is_a_part() -> None:
    assert series_names(["seq_loss", "lr"])["seq_loss"] == "train/loss"
    assert series_names(["seq_loss", "word_loss"]) == {"seq_loss": "other/seq_loss", "word_loss": "other/word_loss"}
    assert series_names(["loss_gen"]) == {"loss_gen": "other/loss_gen"}
    assert series_names(["seq_loss", "loss"])["seq_loss"] == "other/seq_loss"


def test_words() -> None:
    assert words("trainLoss_epoch") == ("train", "loss", "epoch")
    assert words("Acc@1") == ("acc@1",)
    assert words("val_mIoU") == ("val", "miou")


SETTING_KEYS = {
    "learning_rate": "lr optim.lr optimizer.params.lr --learning-rate base_lr training.learning_rate lr0 hparams.lr learningRate",
    "weight_decay": "wd weight_decay l2 optimizer.weight_decay optimizer.init_args.weight_decay",
    "gradient_clip_norm": "grad_clip max_grad_norm clip_grad trainer.gradient_clip_val clipnorm optimizer_config.grad_clip.max_norm gradient_clipping",
    "gradient_clip_value": "clipvalue clip_grad_value",
    "model_width": "hidden model.hidden_size n_embd width d_model model.init_args.hidden_dim",
    "model_depth": "depth n_layer num_layers layers num_hidden_layers model.n_layers",
    "dropout": "dropout attn_pdrop model.dropout hidden_dropout_prob drop_rate",
    "precision": "precision fp16 bf16 amp trainer.precision fp16.enabled mixed_precision",
    "batch_size": "batch_size per_device_train_batch_size train_batch_size data.batch_size bs train_micro_batch_size_per_gpu",
    "epochs": "epochs num_train_epochs max_epochs nepochs trainer.max_epochs epoch",
    "max_steps": "max_steps max_iters total_steps train_iters",
    "warmup": "warmup warmup_steps warmup_ratio scheduler.warmup_steps scheduler.params.warmup_num_steps lr_warmup_iters",
    "schedule": "scheduler lr_scheduler_type schedule lr_scheduler.type scheduler._target_",
    "optimizer": "optimizer optim.name optimizer._target_ opt optimizer.type",
    "activation": "activation act hidden_act nonlinearity activation_function",
    "initialization": "init init_scale weight_init initializer_range",
    "normalization": "norm batchnorm normalization model.norm",
    "loss": "loss criterion loss_fn",
    "accumulation": "gradient_accumulation_steps accumulate_grad_batches grad_accum",
    "frozen_parameters": "freeze freeze_backbone frozen_stages",
    "train_samples": "n_train train_size train_samples",
    "classes": "classes num_classes num_labels dataset.num_classes",
    "vocabulary": "vocab_size",
    "label_smoothing": "label_smoothing label_smoothing_factor",
    "shuffle": "shuffle data.shuffle",
    "seed": "seed random_seed",
}


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, keys in SETTING_KEYS.items() for key in keys.split()])
def test_settings_and_their_names(name: str, key: str) -> None:
    assert setting_name(key) == name


@pytest.mark.parametrize(
    "key", ["val.batch_size", "eval.shuffle", "loss.weight", "teacher.dropout", "aug.mixup", "scheduler.warmup.lr", "", "...", "out_dir", "drop_last"]
)
def test_settings_of_something_else_have_no_name(key: str) -> None:
    assert not setting_name(key)


def test_every_setting_can_be_reached_by_its_own_name() -> None:
    assert {setting_name(name) for name in SETTINGS} == set(SETTINGS)


@given(st.text(max_size=300))
def test_any_key_has_a_name_of_the_vocabulary(key: str) -> None:
    name = series_name(key)
    head, _, quantity = name.partition("/")
    assert name in BARE or head == "other" or (head.partition(".")[0] in SPLITS and quantity in QUANTITIES)
    assert setting_name(key) in ("", *SETTINGS)
    plainness(key)
    reduction_of(key)


def test_time_beside_data_time_is_that_of_a_step() -> None:
    assert series_names(["loss", "time", "data_time"])["time"] == "step_time"
    assert series_names(["train/time", "train/data_time"])["train/time"] == "step_time"
    assert series_names(["loss", "time"])["time"] == "other/time"
    assert series_names(["train/time", "val/data_time"])["train/time"] == "other/train/time"
    assert series_names(["step_time", "time", "data_time"])["time"] == "other/time"


def test_a_table_of_nothing_but_splits_holds_losses() -> None:
    assert series_names(["epoch", "train", "val"]) == {"epoch": "epoch", "train": "train/loss", "val": "val/loss"}
    found = series_names(["fit", "holdout", "holdout_acc"])
    assert (found["fit"], found["holdout"], found["holdout_acc"]) == ("train/loss", "val/loss", "val/accuracy")
    assert series_names(["loss", "train", "val"])["train"] == "other/train"  # what is a loss has a name
    assert series_names(["val"]) == {"val": "other/val"}


def test_an_objective_is_a_loss() -> None:
    assert series_name("fit/objective") == "train/loss"
    assert series_name("holdout/objective") == "val/loss"


def test_the_score_of_episodes_is_their_return() -> None:
    assert series_names(["episode", "score", "loss"])["score"] == "reward"
    assert series_names(["episode", "score", "reward"])["score"] == "train/score"
    assert series_names(["epoch", "score"])["score"] == "train/score"
    assert series_name("Average100 Score") == "train/score"
    assert series_name("loss_avg100") == "train/loss"
