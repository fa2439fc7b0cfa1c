"""The players of a GAN and an agent's critic: what their losses, which need not fall, say all the same."""

import re
from math import isfinite
from statistics import median

from postmortem.check import Evidence, Severity, Sighting, say
from postmortem.checklist.signs import from_the_start
from postmortem.model.curves import CurveStats

PLAYERS = re.compile(r"(?:d|g|cyc|cycle|idt|rec)(?:_\w{1,8})?", re.IGNORECASE)  # `D_A G_A cycle_A idt_A` of CycleGAN, `G_GAN G_L1`
WON, LOST = 0.02, 3.0  # × its first record, which for a discriminator that guesses is 1.39
CERTAIN = 1e-3  # nats, of a discriminator that is never wrong any more
FEWEST, A_THOUSANDFOLD = 3, 1e3  # records; × where it began, whatever its noise
PLAYED, ON_AND_ON, FAR_UP, STILL_GROWS = 8, 0.9, 100.0, 4.0  # records; their Kendall's tau; × its first record; × half-way
SWUNG, FAR_OFF, FARTHER = 30, 1e4, 20.0  # records; of a distance between samples; × the first tenth
VALUES = re.compile(r"(?:value|critic|\bq[f\d]?\d?\b).{0,20}(?:loss|pred)", re.IGNORECASE)
NO_RETURN = 1e9
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
    told = say("{name} is {final:.6g} in all {n} records: this player learns nothing.", name=_short(still), final=still.final, n=still.finite)
    return from_the_start(e, "player", told, still.name)


def nothing_to_learn_from(e: Evidence) -> Sighting | None:
    """The discriminator has won, and the generator gets no gradient that would tell it how to do better."""
    won = one_has_won(e)
    if won is None or won.finite < RECORDS or won.final > CERTAIN:
        return None
    told = say(
        "{name} fell from {first:.3g} to {final:.2g}: its player has won, and the other one learns nothing from it any more.",
        name=_short(won),
        first=won.first,
        final=won.final,
    )
    return from_the_start(e, "player", told, won.name)


def player_ran_away(e: Evidence) -> Sighting | None:
    """The loss of a GAN's player grows from record to record without an end: players are beaten, but not a hundred times over and ever faster."""
    for name, c in e.curves.items() if e.family == "gan" else ():
        if "loss" not in name:
            continue
        half, swings = e.at(name, (c.first_step + c.last_step) / 2), _swings_without_end(e, c)
        if swings is not None:
            told = say(
                "{name} swings ever farther: by about {early:.3g} at first and by about {late:.3g} at the end.",
                name=_short(c), early=swings[0], late=swings[1],
            )  # fmt: skip
            return from_the_start(e, "player", told, name)
        if c.finite < PLAYED or c.trend is None or c.trend.tau < ON_AND_ON or half is None:
            continue
        if 0 < FAR_UP * c.first < c.final and c.final > STILL_GROWS * half:
            told = say(
                "{name} grew from record to record, from {first:.4g} to {final:.4g}, and still grows.", name=_short(c), first=c.first, final=c.final
            )
            return from_the_start(e, "player", told, name)
    return None


def _swings_without_end(e: Evidence, c: CurveStats) -> tuple[float, float] | None:
    """Medians of the size of a player's loss in the first tenth and the last third, where the later one is a multiple and beyond any distance between
    samples and what is made of them."""
    size = [abs(float(v)) for v in e.series[c.name].values if isfinite(v)]
    if len(size) < SWUNG:
        return None
    early, late = median(size[: len(size) // 10]), median(size[-(len(size) // 3) :])
    return (early, late) if late > max(FAR_OFF, FARTHER * early) else None


def values_ran_away(e: Evidence) -> Sighting | None:
    """The error of an agent's values grows a thousandfold within a few records: no reward does that, its own estimates chase each other."""
    absurd = next((c for n, c in e.curves.items() if e.family == "reinforcement" and VALUES.search(n) and c.finite and c.final > NO_RETURN), None)
    if absurd is not None:
        told = say("{name} is {final:.3g}: no return is that high, its own estimates chase each other.", name=_short(absurd), final=absurd.final)
        return from_the_start(e, "player", told, absurd.name)
    loss = e.curve("train/loss")
    if loss is None or e.family != "reinforcement" or loss.finite < FEWEST or not 0 < A_THOUSANDFOLD * loss.first < loss.final:
        return None
    return Sighting(
        Severity.FATAL,
        say("The loss of the values grew from {first:.4g} to {final:.4g}.", first=loss.first, final=loss.final),
        loss.first_step, loss.first_step, (loss.name,), e.series[loss.name].source, "player",
    )  # fmt: skip


def _short(c: CurveStats) -> str:
    return c.name.removeprefix("other/")
