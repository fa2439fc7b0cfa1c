"""What kind of training a run was, from what it logged, its configuration and its head. First rule that fits, most telling first."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from postmortem.measure.chance import classes_named
from postmortem.measure.words import words_of
from postmortem.model.run import Setting
from postmortem.model.sentence import Sentence, say
from postmortem.model.tensors import ModelFacts

LARGE_HEAD = 1000  # outputs of a sequence model that are a vocabulary

# Families by words of a logged name: any one group, whose words stand in the name in this order.
_LOGGED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("preference", ("rewards chosen", "rewards rejected", "rewards margins", "rewards accuracies", "logps chosen", "frac reward zero std")),
    ("preference", ("objective rlhf reward", "completions mean length", "log odds ratio")),
    ("gan", ("generator loss", "discriminator loss", "g loss", "d loss", "loss g", "loss d", "gen loss", "disc loss", "adv loss")),
    ("gan", ("d real", "d fake", "fid", "g gan", "cycle a", "idt a", "cyc")),
    ("reinforcement", ("ep rew mean", "ep len mean", "episode reward", "episode return", "episodic return", "mean reward", "approx kl")),
    ("reinforcement", ("policy loss", "policy gradient loss", "value loss", "entropy loss", "explained variance", "reward")),
    ("detection", ("box loss", "obj loss", "dfl loss", "loss bbox", "loss box", "loss rpn", "loss giou", "rpn cls", "map50", "map 50", "bbox ap")),
    ("autoencoder", ("recon loss", "reconstruction loss", "rec loss", "kld loss", "elbo", "vq loss", "commitment loss")),
    ("contrastive", ("contrastive loss", "infonce", "nt xent", "ntxent", "triplet loss", "active triplets", "itc loss")),
    ("language-model", ("perplexity", "ppl", "lm loss", "bpc", "mlm loss", "token accuracy", "token acc", "num tokens")),
)

# … and by words of a setting's value (model, loss, data set, trainer, task) or key.
_CONFIGURED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("preference", ("dpo", "grpo", "orpo", "kto", "simpo", "rlhf")),
    ("gan", ("gan", "dcgan", "wgan", "stylegan", "cyclegan", "pix2pix")),
    ("reinforcement", ("ppo", "a2c", "dqn", "sac", "td3", "reinforce")),
    ("diffusion", ("ddpm", "ddim", "diffusion", "unet2dmodel", "noise scheduler", "num train timesteps", "beta schedule")),
    ("contrastive", ("simclr", "moco", "byol", "simsiam", "infonce", "ntxent", "contrastive", "triplet", "barlowtwins")),
    ("autoencoder", ("autoencoder", "vae", "vqvae", "ae")),
    ("detection", ("yolo", "yolov5", "yolov8", "fasterrcnn", "retinanet", "detr", "maskrcnn")),
)  # fmt: skip
_LANGUAGE = frozenset(
    words_of(
        "gpt gpt2 nanogpt gptneox llama llama2 llama3 mistral mixtral qwen qwen2 qwen3 gemma phi opt bloom falcon pythia causallm "
        "maskedlm lm mamba rwkv"
    )
)
_LANGUAGE_LOG = frozenset({"mfu", "trl"})  # nanoGPT's use of the device, and llm.c's training loss
_REGRESSION_LOSS = frozenset(words_of("mse mseloss l1 l1loss mae huber huberloss smoothl1 smoothl1loss l2 squared"))
_CLASS_LOSS = frozenset(words_of("ce crossentropy crossentropyloss nll nllloss bce bcewithlogits bcewithlogitsloss focal categorical"))
_TEXTS = frozenset(
    words_of(
        "wikitext openwebtext webtext tinystories shakespeare tinyshakespeare enwik8 text8 ptb penntreebank lm1b redpajama fineweb slimpajama "
        "bookcorpus pile c4 char chars"
    )
)
_TASK_KEYS = frozenset(words_of("task problem type tasktype problemtype objective trainer method algorithm algo architecture architectures arch"))


def family_of(names: Iterable[str], settings: Sequence[Setting], model: ModelFacts) -> tuple[str, Sentence]:
    """The family and the reason for it; ("", …) when nothing tells.

    names : series' names, canonical or as logged (both may be given).
    """
    logged = [(n, words_of(n)) for n in dict.fromkeys(names)]
    for family, groups in _LOGGED:
        for name, words in logged:
            if any(_in_order(g.split(), words) for g in groups) and _meant(family, words, settings):
                return family, say("it logged {name}", name=name)
    for setting in settings:
        told = _told(setting)
        for family, groups in _CONFIGURED:
            if any(_in_order(g.split(), told) for g in groups):
                return family, say("{key} is {value}", key=setting.key, value=setting.value)
    both = [model.modules[part][0] for part in ("student", "teacher") if part in model.modules]
    if "dino_loss" in model.modules:
        return "self-distillation", say("its checkpoint holds the center of a self-distillation")
    if len(set(both)) == 1 < len(both) and not any(set(words) & _MERITS for _, words in logged):
        return "self-distillation", say("its checkpoint holds a student and a teacher of one size")
    return _by_target(logged, settings, model)


_THERE_AND_BACK = {"encoder", "decoder"}
_LABELLING = frozenset({"classifier", "score", "classification"})  # names of the head of AutoModelForSequenceClassification
# what only labels have, be they of a picture or of its pixels
_MERITS = frozenset({"accuracy", "acc", "acc1", "top1", "f1", "auc", "precision", "recall", "iou", "miou", "dice"})


def _head_of_labels(settings: Sequence[Setting], model: ModelFacts) -> str | None:
    """The head of a model of language that answers with labels: it is called so, and has fewer outputs than there are words."""
    vocabulary = next((s.value for s in settings if s.name == "vocabulary" and isinstance(s.value, int)), None)
    if model.head is None or vocabulary is None or model.outputs is None or not 1 < model.outputs < vocabulary:
        return None
    return model.head if set(words_of(model.head)) & _LABELLING else None


def _by_target(logged: Sequence[tuple[str, tuple[str, ...]]], settings: Sequence[Setting], model: ModelFacts) -> tuple[str, Sentence]:
    """Classifier, language model or regression, which a configuration seldom names."""
    head = _head_of_labels(settings, model)
    if head is not None:
        return ("classifier", say("its head {name} has {outputs} outputs", name=head, outputs=model.outputs))
    classes = next((s for s in settings if s.name == "classes"), None)
    scored = next((n for n, w in logged if set(w) & _MERITS and "loss" not in w), None)
    spoken = next((s for s in settings if s.name == "model" or set(words_of(s.key)) & _TASK_KEYS if _joined(s) & _LANGUAGE), None)
    if spoken is not None and classes is None:
        return "language-model", say("{key} is {value}", key=spoken.key, value=spoken.value)
    loss = next((s for s in settings if s.name == "loss" and isinstance(s.value, str)), None)
    problem = next((s for s in settings if words_of(s.key)[-2:] == ("problem", "type") and "regression" in str(s.value).lower()), None)
    if problem is not None and scored is None:
        return "regression", say("{key} is {value}", key=problem.key, value=problem.value)
    if loss is not None and _joined(loss) & _REGRESSION_LOSS and scored is None:
        return "regression", say("{key} is {value}", key=loss.key, value=loss.value)
    if scored is not None:
        return "classifier", say("it logged {name}", name=scored)
    measured = next((n for n, w in logged if set(w) & {"mae", "mse", "rmse", "r2", "mape", "pearson", "pearsonr", "spearman", "spearmanr"}), None)
    if measured is not None:
        return "regression", say("it logged {name}", name=measured)
    if classes is not None:
        return "classifier", say("{key} is {value}", key=classes.key, value=classes.value)
    vocabulary = next((s for s in settings if s.name == "vocabulary"), None)
    if vocabulary is not None:
        return "language-model", say("{key} is {value}", key=vocabulary.key, value=vocabulary.value)
    counted = next((n for n, w in logged if _LANGUAGE_LOG & set(w)), None)
    if counted is not None:
        return "language-model", say("it logged {name}", name=counted)
    context = next((s for s in settings if words_of(s.key)[-2:] == ("block", "size")), None)
    if context is not None:
        return "language-model", say("{key} is {value}", key=context.key, value=context.value)
    data = next((s for s in settings if s.name == "dataset" and isinstance(s.value, str)), None)
    if data is not None and (_joined(data) & _TEXTS or str(data.value).lower().endswith(("char", "chars"))):
        return "language-model", say("{key} is {value}", key=data.key, value=data.value)
    if data is not None and classes_named(str(data.value)) is not None:
        return "classifier", say("{key} is {value}", key=data.key, value=data.value)
    if loss is not None and _joined(loss) & _CLASS_LOSS:
        return "classifier", say("{key} is {value}", key=loss.key, value=loss.value)
    if model.outputs is not None and model.outputs >= LARGE_HEAD and (model.tied or model.architecture in ("transformer", "recurrent")):
        return "language-model", say("its head has {outputs} outputs", outputs=model.outputs)
    if any("error" in w for _, w in logged):
        return "classifier", say("it logged an error rate")
    if set(model.modules) >= _THERE_AND_BACK and model.architecture not in ("transformer", "recurrent"):
        return "autoencoder", say("it is made of an encoder and a decoder, and no score was logged")
    if model.outputs == 1:
        return "regression", say("its head has one output and no accuracy was logged")
    return "", say("neither its metrics nor its configuration tell")


def _meant(family: str, words: Sequence[str], settings: Sequence[Setting]) -> bool:
    """Whether a word that other families use too means this one here."""
    if family == "reinforcement" and ("rewards" in words or any(_joined(s) & {"dpo", "grpo", "orpo", "kto"} for s in settings)):
        return False
    if family == "gan" and set(words) & {"fid"}:
        return not any("diffusion" in _joined(s) for s in settings)
    return True


def _told(setting: Setting) -> tuple[str, ...]:
    """Words by which a setting names a family: the value of a model, loss or task, and keys of a noise schedule."""
    key = words_of(setting.key)
    if setting.name in ("model", "loss") or set(key) & _TASK_KEYS:
        value = words_of(str(setting.value))
        return (*value, "".join(value))
    return key if "timesteps" in key or "beta" in key or "noise" in key else ()


def _joined(setting: Setting) -> frozenset[str]:
    words = words_of(str(setting.value)) if isinstance(setting.value, str) else ()
    return frozenset((*words, "".join(words), *("".join(p) for p in pairwise(words))))


def _in_order(group: Sequence[str], words: Sequence[str]) -> bool:
    n = len(group)
    return any(tuple(words[i : i + n]) == tuple(group) for i in range(len(words) - n + 1))
