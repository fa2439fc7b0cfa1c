"""The players of a GAN: what their losses, which need not fall, say all the same."""

import re

from postmortem.check import Evidence, Severity, Sighting, say
from postmortem.model.curves import CurveStats

PLAYERS = re.compile(r"(?:d|g|cyc|cycle|idt|rec)(?:_\w{1,8})?", re.IGNORECASE)  # `D_A G_A cycle_A idt_A` of CycleGAN, `G_GAN G_L1`
WON, LOST = 0.02, 3.0  # × its first record, which for a discriminator that guesses is 1.39
CERTAIN = 1e-3  # nats, of a discriminator that is never wrong any more
STILL, RECORDS = 5, 50  # records of a loss that never changes; of one at nothing


def of_players(e: Evidence) -> list[CurveStats]:
    """The losses of a GAN's players and their parts."""
    told = [c for n, c in e.curves.items() if n.startswith("other/") and "loss" in n.lower()]
    return told or [c for n, c in e.curves.items() if e.family == "gan" and n.startswith("other/") and PLAYERS.fullmatch(n.removeprefix("other/"))]


def one_has_won(e: Evidence) -> CurveStats | None:
    """The loss of a GAN's discriminator, at nothing for a third of the run while another player's grew: nobody learns from it any more."""
    players = of_players(e) if e.family == "gan" else []
    won = next((c for c in players if c.lowest >= 0 and c.final < WON * c.first), None)
    return won if won is not None and any(c.final > LOST * c.first > 0 for c in players) else None


def a_player_stands_still(e: Evidence) -> Sighting | None:
    """The loss of one player is the same number in every record: it gets no signal, or its outputs have run into their end."""
    players = [c for c in of_players(e) if c.finite >= STILL] if e.family == "gan" else []
    still = next((c for c in players if c.distinct == 1 and c.highest != 0.0), None)
    if still is None:
        return None
    return Sighting(
        Severity.SERIOUS,
        say("{name} is {final:.6g} in all {n} records: this player learns nothing.", name=_short(still), final=still.final, n=still.finite),
        still.first_step, still.first_step, (still.name,), e.series[still.name].source, "player",
    )  # fmt: skip


def nothing_to_learn_from(e: Evidence) -> Sighting | None:
    """The discriminator has won, and the generator gets no gradient that would tell it how to do better."""
    won = one_has_won(e)
    if won is None or won.finite < RECORDS or won.final > CERTAIN:
        return None
    return Sighting(
        Severity.SERIOUS,
        say("{name} fell from {first:.3g} to {final:.2g}: its player has won, and the other one learns nothing from it any more.", name=_short(won), first=won.first, final=won.final),
        won.first_step, won.first_step, (won.name,), e.series[won.name].source, "player",
    )  # fmt: skip


def _short(c: CurveStats) -> str:
    return c.name.removeprefix("other/")
