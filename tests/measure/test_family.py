import pytest

from postmortem.measure.family import family_of
from postmortem.model.run import Setting
from postmortem.model.tensors import ModelFacts
from tests.measure.synthetic import setting

NOTHING = ModelFacts()


@pytest.mark.parametrize(
    ("family", "names", "settings", "model"),
    [
        ("classifier", ["train/loss", "val/accuracy"], [], NOTHING),
        ("classifier", ["train/loss"], [setting("classes", 10)], NOTHING),
        ("classifier", ["train/loss"], [setting("loss", "CrossEntropyLoss")], NOTHING),
        ("classifier", ["train/loss", "val/f1"], [setting("vocabulary", 30522), setting("classes", 2)], NOTHING),
        ("classifier", ["train/loss", "other/top1_err"], [setting("loss", "cross_entropy")], NOTHING),
        ("language-model", ["train/loss", "val/perplexity"], [], NOTHING),
        ("language-model", ["train/loss"], [setting("model", "gpt2-medium")], NOTHING),
        ("language-model", ["train/loss"], [setting("vocabulary", 50257)], NOTHING),
        ("language-model", ["train/loss"], [setting("", "LlamaForCausalLM", "architectures")], NOTHING),
        ("language-model", ["train/loss"], [], ModelFacts(outputs=32000, architecture="transformer")),
        ("classifier", ["train/loss"], [setting("dataset", "CIFAR-10")], NOTHING),
        ("language-model", ["other/validation | lm loss value"], [], NOTHING),
        ("language-model", ["train/loss", "train/accuracy", "mean_token_accuracy"], [], NOTHING),
        ("language-model", ["train/loss"], [setting("dataset", "roneneldan/TinyStories")], NOTHING),
        ("language-model", ["train/loss"], [setting("dataset", "shakespeare_char")], NOTHING),
        ("regression", ["train/loss", "val/mae"], [], NOTHING),
        ("regression", ["train/loss"], [setting("loss", "nn.MSELoss")], NOTHING),
        ("regression", ["train/loss"], [], ModelFacts(outputs=1)),
        ("autoencoder", ["train/loss", "other/recon_loss", "other/kld_loss"], [], NOTHING),
        ("autoencoder", ["train/loss"], [setting("model", "autoencoder"), setting("loss", "mse")], NOTHING),
        ("self-distillation", ["train/loss"], [], ModelFacts(modules={"student": (900, None), "teacher": (900, None)})),
        ("self-distillation", ["train/loss"], [], ModelFacts(modules={"backbone": (900, None), "dino_loss": (96, None)})),
        ("classifier", ["train/loss", "val/accuracy"], [], ModelFacts(modules={"student": (900, None), "teacher": (900, None)})),
        ("", ["train/loss"], [], ModelFacts(modules={"student": (90, None), "teacher": (900, None)})),
        ("gan", ["other/g_loss", "other/d_loss"], [], NOTHING),
        ("gan", ["other/Loss/G/loss", "other/Loss/D/loss"], [], NOTHING),
        ("gan", ["train/loss"], [setting("model", "DCGAN")], NOTHING),
        ("reinforcement", ["other/rollout/ep_rew_mean", "train/loss"], [], NOTHING),
        ("reinforcement", ["reward", "train/loss"], [], NOTHING),
        ("preference", ["other/rewards/chosen", "other/rewards/accuracies"], [], NOTHING),
        ("preference", ["reward", "other/frac_reward_zero_std"], [], NOTHING),
        ("preference", ["reward", "train/loss"], [setting("", "grpo", "trainer.algorithm")], NOTHING),
        ("diffusion", ["train/loss", "other/fid"], [setting("model", "diffusion-unet")], NOTHING),
        ("diffusion", ["train/loss"], [setting("", 1000, "scheduler.num_train_timesteps")], NOTHING),
        ("contrastive", ["train/loss"], [setting("loss", "InfoNCE")], NOTHING),
        ("detection", ["train/box_loss", "other/metrics/mAP50(B)"], [], NOTHING),
        ("detection", ["other/loss_bbox", "val/accuracy"], [], NOTHING),
        ("", ["train/loss", "lr"], [setting("learning_rate", 0.1)], NOTHING),
    ],
)
def test_families(family: str, names: list[str], settings: list[Setting], model: ModelFacts) -> None:
    found, why = family_of(names, settings, model)
    assert found == family, str(why)
    assert str(why)


def test_the_reason_names_what_it_was_read_off() -> None:
    assert "box_loss" in str(family_of(["train/box_loss"], [], NOTHING)[1])
    assert "loss.name" in str(family_of(["train/loss"], [setting("loss", "mse", "loss.name")], NOTHING)[1])


@pytest.mark.parametrize("key", ["gradient_clip_norm", "ema", "optimizer", "output_dir", "beta1", "batch_size", "run_name"])
def test_other_settings_do_not_tell(key: str) -> None:
    """A family is not read off where somebody happens to write its name."""
    assert family_of(["train/loss"], [setting(key, "clip-gan-vae-ppo-gpt2")], NOTHING)[0] == ""
