"""Healthy runs whose curves look ill: a policy gradient with noisy returns, and two networks that play against each other."""

import random

import torch
from torch import nn

from tests.faults.plan import Plan, Row, Snapshot, Trace


def policy_gradient(dice: random.Random) -> Trace:
    """REINFORCE on a corridor of nine cells: the loss says nothing, the return rises."""
    seed = dice.randrange(1 << 20)
    torch.manual_seed(seed)
    plan = Plan(task="corridor", net="policy", width=24, depth=1, epochs=1, lr=6e-3, batch_size=16, seed=seed)
    model = nn.Sequential(nn.Linear(9, 24), nn.Tanh(), nn.Linear(24, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=plan.lr)
    trace = Trace(plan, kind="policy", parameters=sum(p.numel() for p in model.parameters()))
    trace.trainable = trace.parameters
    for update in range(150):
        at, alive = torch.full((16,), 4), torch.ones(16)
        log_p, returns, length, entropy = torch.zeros(16), torch.zeros(16), torch.zeros(16), 0.0
        for _ in range(24):
            policy = torch.distributions.Categorical(logits=model(torch.nn.functional.one_hot(at, 9).float()))
            action = policy.sample()
            log_p, entropy = log_p + policy.log_prob(action) * alive, entropy + policy.entropy().mean().item() / 24
            slipped = torch.rand(16) < 0.15
            at = (at + torch.where(slipped, 1 - 2 * action, 2 * action - 1)).clamp(0, 8)
            returns, length = returns + alive * (10.0 * (at == 8) - 0.2), length + alive
            alive = alive * (at != 8)
        returns = returns + torch.randn(16) * 1.5
        loss = -(log_p * (returns - returns.mean())).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values = {
            "policy_loss": loss.item(),
            "mean_reward": returns.mean().item(),
            "episode_length": length.mean().item(),
            "entropy": entropy,
            "lr": plan.lr,
        }
        trace.rows.append(Row(update, 1, values))
        if update % 50 == 49:
            trace.snapshots.append(Snapshot(update + 1, 1, nn.Sequential(*[_copied(m) for m in model]), optimizer.state_dict(), {}))
    return trace


def _copied(module: nn.Module) -> nn.Module:
    import copy

    return copy.deepcopy(module)


def adversaries(dice: random.Random) -> Trace:
    """A generator of points on a ring and its discriminator: both losses hover."""
    seed = dice.randrange(1 << 20)
    torch.manual_seed(seed)
    plan = Plan(task="ring", net="gan", width=32, depth=2, epochs=1, lr=1e-3, batch_size=64, seed=seed)
    g = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    d = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    both = nn.ModuleDict({"generator": g, "discriminator": d})
    og, od = (torch.optim.Adam(m.parameters(), lr=plan.lr, betas=(0.5, 0.999)) for m in (g, d))
    trace = Trace(plan, kind="gan", parameters=sum(p.numel() for p in both.parameters()))
    trace.trainable = trace.parameters
    loss = nn.BCEWithLogitsLoss()
    one, zero = torch.full((64, 1), 0.9), torch.zeros(64, 1)
    for step in range(600):
        angle = torch.randint(8, (64,)) * 0.7854
        real = torch.stack([angle.cos(), angle.sin()], 1) + torch.randn(64, 2) * 0.05
        fake = g(torch.randn(64, 4))
        od.zero_grad()
        real_p, fake_p = d(real), d(fake.detach())
        loss_d = loss(real_p, one) + loss(fake_p, zero)
        loss_d.backward()
        od.step()
        og.zero_grad()
        loss_g = loss(d(fake), one)
        loss_g.backward()
        og.step()
        values = {
            "loss_d": loss_d.item(),
            "loss_g": loss_g.item(),
            "d_real": real_p.sigmoid().mean().item(),
            "d_fake": fake_p.sigmoid().mean().item(),
        }
        if step % 4 == 0:
            trace.rows.append(Row(step, 1, values))
        if step % 200 == 199:
            trace.snapshots.append(Snapshot(step + 1, 1, _copied(both), og.state_dict(), {}))
    return trace
