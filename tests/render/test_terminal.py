"""The verdict in a terminal: compact, and nothing from a log is styled or obeyed."""

import io

import pytest
from rich.console import Console

from postmortem.render.terminal import render_terminal
from tests.render import samples


def shown(diagnosis: object, width: int = 80, *, color: bool = False) -> str:
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=color, no_color=not color, color_system="truecolor" if color else None, legacy_windows=False
    )
    render_terminal(diagnosis, console)  # type: ignore[arg-type]
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "exploding",
            ("Exploding gradients", "Learning rate too high", "97%", "step 310", "ckpt/step_300.pt", "+ optim.lr: 0.01", "the gradient norm grew"),
        ),
        ("healthy", ("Healthy", "93%", "1 spike")),
        ("inconclusive", ("Inconclusive", "val/loss")),
        ("crashed", ("Out of memory", "--batch-size: 32")),
    ],
)
def test_panel(name: str, words: tuple[str, ...]) -> None:
    text = shown(samples.SAMPLES[name]())
    for word in words:
        assert word in text
    lines = text.splitlines()
    assert len(lines) <= 32
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in text


def test_escape_sequences_and_markup_of_a_log_are_shown_not_obeyed() -> None:
    text = shown(samples.plant(samples.exploding(), "\x1b]0;t\x07[bold red]x[/] :smile:\r"), width=400, color=True)
    assert "␛]0;t␇[bold red]x[/] :smile:" in text
    assert "\x07" not in text
    assert "\x1b]" not in text
    assert "\r" not in text


def test_any_text_keeps_the_width() -> None:
    text = shown(samples.plant(samples.exploding(), "x" * 500))
    assert max(map(len, text.splitlines())) <= 80


def test_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO()
    render_terminal(samples.exploding(), Console(file=out, width=80, force_terminal=True))
    assert "\x1b[3" not in out.getvalue()  # bold may stay, colours do not
