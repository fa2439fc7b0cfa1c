"""The same plans in the Hugging Face `Trainer`: trainer_state.json, checkpoint-N, its printed dictionaries."""

import os
import tempfile
from pathlib import Path

import torch
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainingArguments, set_seed

from tests.faults.plan import Plan, Row, Trace
from tests.faults.style import Style
from tests.faults.train import Loop, at_home, prepared

SCHEDULES = {"none": "constant", "cosine": "cosine", "linear": "linear"}
OPTIMIZERS = {"sgd": "sgd", "rmsprop": "rmsprop"}


class Samples(torch.utils.data.Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return {"inputs": self.x[index], "labels": self.y[index]}


class OfLoop(Trainer):
    """The plan's loss, optimizer, schedule and order."""

    loop: Loop

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loop, x, y = self.loop, inputs["inputs"], inputs["labels"]
        if model.training:
            loop.step = self.state.global_step
            x, y = loop.accident(x, y)
        loss, right = loop.loss(x, y, evaluating=not model.training)
        if model.training:
            values = {"loss": loss.item(), "lr": loop.optimizer.param_groups[0]["lr"]}
            loop.trace.rows.append(Row(loop.step, int(self.state.epoch or 0) + 1, values))
        return (loss, {"loss": loss, "right": torch.full((len(x),), right)}) if return_outputs else loss

    def evaluate(self, *args, **kwargs):
        seen = super().evaluate(*args, **kwargs)
        trace = self.loop.trace
        of_epoch = trace.curve("loss", of_epoch=False)[-trace.steps_per_epoch :]
        values = {"train_loss": sum(of_epoch) / len(of_epoch), "val_loss": seen["eval_loss"]}
        values |= {"val_acc": seen["eval_accuracy"]} if "eval_accuracy" in seen else {}
        trace.rows.append(Row(self.state.global_step, round(self.state.epoch or 0), values, of_epoch=True))
        return seen

    def _get_train_sampler(self, *args, **kwargs):
        plan = self.loop.plan
        return SequentialSampler(self.train_dataset) if plan.has("sorted") or plan.has("same_batch") else super()._get_train_sampler(*args, **kwargs)


def run(plan: Plan, style: Style, start: int = 0) -> Trace:
    loop = prepared(plan, start)
    trace, task = loop.trace, loop.task
    trace.left = Path(tempfile.mkdtemp())
    set_seed(plan.seed + 7919 * start)
    saves = max(1, plan.epochs // 4) * trace.steps_per_epoch
    share = (lambda step: loop.rate(step) / plan.lr) if plan.lr else (lambda step: 0.0)
    with at_home(trace):
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", "runs")
        arguments = TrainingArguments(
            output_dir=".",
            num_train_epochs=plan.epochs,
            per_device_train_batch_size=plan.batch_size,
            per_device_eval_batch_size=120,
            learning_rate=plan.lr,
            weight_decay=plan.weight_decay,
            max_grad_norm=plan.grad_clip or 0.0,
            lr_scheduler_type=SCHEDULES.get(plan.schedule, "constant"),
            warmup_steps=plan.warmup_steps,
            optim=OPTIMIZERS.get(plan.optimizer, "adamw_torch"),
            eval_strategy="epoch",
            logging_steps=style.every,
            logging_nan_inf_filter=False,
            save_strategy="steps" if style.checkpoints != "none" else "no",
            save_steps=saves,
            save_total_limit=None,
            report_to=["tensorboard"] if style.log == "trainer events" else [],
            disable_tqdm=style.log != "trainer bar",
            label_names=["labels"],
            remove_unused_columns=False,
            dataloader_drop_last=len(task.x) % plan.batch_size == 1,
            use_cpu=True,
            seed=plan.seed % 2**31,
        )
        trainer = OfLoop(
            loop.model,
            arguments,
            train_dataset=Samples(task.x, task.y),
            eval_dataset=Samples(task.x_val, task.y_val),
            optimizers=(loop.optimizer, torch.optim.lr_scheduler.LambdaLR(loop.optimizer, share)),
            compute_metrics=None if task.kind == "regress" else (lambda seen: {"accuracy": float(seen.predictions.mean())}),
        )
        trainer.loop = loop
        trainer.train()
        trainer.save_state()
    return trace
