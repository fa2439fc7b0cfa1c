"""What the parts of a variational autoencoder's loss show of its latent variables."""

import re

from postmortem.check import Evidence
from postmortem.model.curves import CurveStats
from postmortem.model.run import Setting

NOTHING, FELL = 0.01, 0.3  # nats; × its first record. A latent space that is used ends at 0.4 and more, where it is a mean at 3 to 30
RECORDS = 5
DIVERGENCE = re.compile(r"(?:^|[/_ ])kl(?:d|_?loss|_?div)?(?:[/_ ]|$)", re.IGNORECASE)
RECONSTRUCTION = re.compile(r"(?:^|[/_ ])rec(?:on|ons|onstruction)?(?:[/_ ]|$)", re.IGNORECASE)
WEIGHTS = frozenset({"beta", "kl_weight", "kld_weight", "kl_beta", "beta_kl", "beta_max", "kl_lambda", "lambda_kl", "kl_coef", "w_kl"})


def unused(e: Evidence) -> CurveStats | None:
    """The divergence of the posterior from the prior, which went to nothing beside a reconstruction that is logged: whatever the input, the
    latent variables are the prior's, and the decoder does without them (posterior collapse). None elsewhere."""
    if not any(RECONSTRUCTION.search(name) for name in e.curves):
        return None
    divergences = (c for name, c in e.curves.items() if DIVERGENCE.search(name) and "approx" not in name and c.finite >= RECORDS)
    return next((c for c in divergences if 0 <= c.final < NOTHING and c.final < FELL * c.first), None)


def weight_of_divergence(e: Evidence) -> Setting | None:
    """The setting that weighs the divergence (beta), where it is a number."""
    own = (s for s in e.settings if s.key.lower().rpartition(".")[2] in WEIGHTS)
    return next((s for s in own if isinstance(s.value, int | float) and not isinstance(s.value, bool)), None)
