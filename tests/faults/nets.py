"""Small networks of several families. Each has a `head`: the layer whose output is the answer."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as fn

from tests.faults.plan import Plan, Task
from tests.faults.tasks import SIDE

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU}


class Mlp(nn.Module):
    def __init__(self, plan: Plan, inputs: int, outputs: int) -> None:
        super().__init__()
        sizes = [inputs] + [plan.width] * plan.depth
        layers: list[nn.Module] = []
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b), ACTIVATIONS[plan.activation](), *([nn.Dropout(plan.dropout)] if plan.dropout else [])]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(plan.width, outputs)

    def forward(self, x):
        return self.head(self.body(x.flatten(1)))


class TabBlock(nn.Module):
    def __init__(self, width: int, dropout: float, activation: str) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.activation, self.drop = ACTIVATIONS[activation](), nn.Dropout(dropout)

    def forward(self, x):
        return x + self.down(self.drop(self.activation(self.up(self.norm(x)))))


class TabResNet(nn.Module):
    def __init__(self, plan: Plan, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, plan.width)
        self.blocks = nn.ModuleList(TabBlock(plan.width, plan.dropout, plan.activation) for _ in range(plan.depth))
        self.norm, self.head = nn.LayerNorm(plan.width), nn.Linear(plan.width, outputs)

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class ResBlock(nn.Module):
    def __init__(self, a: int, b: int, stride: int, momentum: float) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b, momentum=momentum)
        self.conv2, self.bn2 = nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b, momentum=momentum)
        self.downsample = nn.Conv2d(a, b, 1, stride, bias=False) if stride != 1 or a != b else nn.Identity()

    def forward(self, x):
        return fn.relu(self.bn2(self.conv2(fn.relu(self.bn1(self.conv1(x))))) + self.downsample(x))


class ResNet(nn.Module):
    def __init__(self, plan: Plan, outputs: int) -> None:
        super().__init__()
        w, m = plan.width // 2, 0.1 if plan.bn_momentum is None else plan.bn_momentum
        self.conv1, self.bn1 = nn.Conv2d(1, w, 3, 1, 1, bias=False), nn.BatchNorm2d(w, momentum=m)
        self.layer1, self.layer2 = ResBlock(w, w, 2, m), ResBlock(w, 2 * w, 2, m)
        self.drop, self.head = nn.Dropout(plan.dropout), nn.Linear(2 * w, outputs)

    def forward(self, x):
        x = self.layer2(self.layer1(fn.relu(self.bn1(self.conv1(x)))))
        return self.head(self.drop(x.mean((2, 3))))


class Vgg(nn.Module):
    def __init__(self, plan: Plan, outputs: int) -> None:
        super().__init__()
        w, act = plan.width, ACTIVATIONS[plan.activation]
        self.features = nn.Sequential(nn.Conv2d(1, w, 3, padding=1), act(), nn.MaxPool2d(2), nn.Conv2d(w, w, 3, padding=1), act(), nn.MaxPool2d(2))
        self.fc, self.act, self.drop = nn.Linear(w * (SIDE // 4) ** 2, 2 * w), act(), nn.Dropout(plan.dropout)
        self.head = nn.Linear(2 * w, outputs)

    def forward(self, x):
        return self.head(self.drop(self.act(self.fc(self.features(x).flatten(1)))))


class Block(nn.Module):
    def __init__(self, width: int, dropout: float, causal: bool) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc, self.out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.drop, self.causal, self.heads = nn.Dropout(dropout), causal, 4

    def forward(self, x):
        b, t, w = x.shape
        q, k, v = (p.view(b, t, self.heads, w // self.heads).transpose(1, 2) for p in self.qkv(self.ln_1(x)).split(w, -1))
        a = fn.scaled_dot_product_attention(q, k, v, is_causal=self.causal).transpose(1, 2).reshape(b, t, w)
        x = x + self.drop(self.proj(a))
        return x + self.drop(self.out(fn.gelu(self.fc(self.ln_2(x)))))


class Decoder(nn.Module):
    def __init__(self, plan: Plan, vocabulary: int) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, plan.width), nn.Embedding(64, plan.width)
        self.blocks = nn.ModuleList(Block(plan.width, plan.dropout, causal=True) for _ in range(plan.depth))
        self.ln_f, self.head = nn.LayerNorm(plan.width), nn.Linear(plan.width, vocabulary, bias=False)
        for p in self.parameters():
            if p.ndim == 2:
                nn.init.normal_(p, std=0.05)

    def forward(self, x):
        x = self.wte(x) + self.wpe.weight[: x.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln_f(x))


class Vit(nn.Module):
    def __init__(self, plan: Plan, outputs: int) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, plan.width, 3, 3)
        self.position = nn.Parameter(torch.randn(1, (SIDE // 3) ** 2, plan.width) * 0.02)
        self.blocks = nn.ModuleList(Block(plan.width, plan.dropout, causal=False) for _ in range(plan.depth))
        self.norm, self.head = nn.LayerNorm(plan.width), nn.Linear(plan.width, outputs)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x.mean(1)))


class Recurrent(nn.Module):
    """Language model, classifier or regression, by what is asked of it."""

    def __init__(self, plan: Plan, task: Task, cell: str) -> None:
        super().__init__()
        self.embed = nn.Embedding(task.vocabulary, plan.width) if task.vocabulary else None
        self.rnn = {"lstm": nn.LSTM, "gru": nn.GRU}[cell](plan.width if task.vocabulary else 1, plan.width, plan.depth, batch_first=True)
        self.drop, self.head, self.every = nn.Dropout(plan.dropout), nn.Linear(plan.width, task.outputs), task.kind == "lm"

    def forward(self, x):
        h, _ = self.rnn(self.embed(x) if self.embed is not None else x)
        return self.head(self.drop(h if self.every else h[:, -1]))


class Bag(nn.Module):
    def __init__(self, plan: Plan, task: Task) -> None:
        super().__init__()
        self.embed, self.fc = nn.EmbeddingBag(task.vocabulary, plan.width), nn.Linear(plan.width, plan.width)
        self.drop, self.head = nn.Dropout(plan.dropout), nn.Linear(plan.width, task.outputs)

    def forward(self, x):
        return self.head(self.drop(fn.relu(self.fc(self.embed(x)))))


class TextConv(nn.Module):
    def __init__(self, plan: Plan, task: Task) -> None:
        super().__init__()
        self.embed = nn.Embedding(task.vocabulary, plan.width)
        self.conv, self.conv2 = nn.Conv1d(plan.width, plan.width, 3, padding=1), nn.Conv1d(plan.width, plan.width, 3, padding=1)
        self.drop, self.head = nn.Dropout(plan.dropout), nn.Linear(plan.width, task.outputs)

    def forward(self, x):
        x = fn.relu(self.conv2(fn.relu(self.conv(self.embed(x).transpose(1, 2)))))
        return self.head(self.drop(x.amax(2)))


class Vae(nn.Module):
    def __init__(self, plan: Plan, inputs: int) -> None:
        super().__init__()
        self.variational = plan.net == "vae"
        self.encoder = nn.Sequential(
            nn.Linear(inputs, 4 * plan.width), nn.ReLU(), nn.Linear(4 * plan.width, plan.width * (2 if self.variational else 1))
        )
        self.decoder, self.head = nn.Sequential(nn.Linear(plan.width, 4 * plan.width), nn.ReLU()), nn.Linear(4 * plan.width, inputs)

    def forward(self, x):
        code = self.encoder(x.flatten(1))
        self.kl = torch.zeros(())
        if self.variational:
            mean, log_var = code.chunk(2, -1)
            self.kl = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum(-1).mean()
            code = mean + torch.randn_like(mean) * (0.5 * log_var).exp() if self.training else mean
        return self.head(self.decoder(code))


class Towers(nn.Module):
    """Two encoders whose outputs should agree for pairs; returns the logits of each against each."""

    def __init__(self, plan: Plan, task: Task) -> None:
        super().__init__()
        self.left, self.right = (
            Mlp(plan, task.x.shape[1], 16),
            nn.Sequential(nn.Linear(task.y.shape[1], plan.width), nn.ReLU(), nn.Linear(plan.width, 16)),
        )
        self.head, self.logit_scale = nn.Linear(16, 16, bias=False), nn.Parameter(torch.tensor(2.0))

    def forward(self, pair):
        left, right = pair
        return fn.normalize(self.head(self.left(left)), dim=1) @ fn.normalize(self.right(right), dim=1).T * self.logit_scale.exp()


class Adapted(nn.Module):
    """A frozen linear layer with a low-rank correction beside it."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base_layer = base
        self.lora_A, self.lora_B = nn.Linear(base.in_features, rank, bias=False), nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x):
        return self.base_layer(x) + self.lora_B(self.lora_A(x)) * 2


def adapt(model: nn.Module, rank: int) -> None:
    """Freeze everything but the head, and give each hidden linear layer an adapter."""
    for p in model.parameters():
        p.requires_grad_(False)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear and name != "head" and not isinstance(parent, Adapted):
                setattr(parent, name, Adapted(child, rank))
    for p in model.head.parameters():
        p.requires_grad_(True)


def build(plan: Plan, task: Task) -> nn.Module:
    flat = task.x[0].numel()
    match plan.net:
        case "resnet":
            return ResNet(plan, task.outputs)
        case "vgg":
            return Vgg(plan, task.outputs)
        case "vit":
            return Vit(plan, task.outputs)
        case "mlp":
            return Mlp(plan, flat, task.outputs)
        case "tabresnet":
            return TabResNet(plan, flat, task.outputs)
        case "decoder":
            return Decoder(plan, task.vocabulary)
        case "lstm" | "gru":
            return Recurrent(plan, task, plan.net)
        case "bag":
            return Bag(plan, task)
        case "textconv":
            return TextConv(plan, task)
        case "vae" | "autoencoder":
            return Vae(plan, flat)
        case "towers":
            return Towers(plan, task)
    raise ValueError(plan.net)
