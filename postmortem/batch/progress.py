"""How far a batch is: one line that is rewritten on a terminal, else a line now and then."""

import sys
import time
from dataclasses import dataclass, field
from typing import TextIO

from postmortem.render import figures
from postmortem.render.language import speaking
from postmortem.render.words import t

LINES = 20  # about so many lines where there is no terminal
_EVERY = 0.2  # seconds between two looks on a terminal


@dataclass(slots=True)
class Progress:
    """Counts finished runs and says so on `stream`. `reused` runs were finished before and count for neither rate nor time left."""

    total: int
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    terminal: bool | None = None
    lang: str = "en"
    done: int = 0
    reused: int = 0
    lost: int = 0
    _start: float = field(default_factory=time.monotonic)
    _shown: float = 0.0
    _open: bool = False

    def reuse(self) -> None:
        """A run was finished before."""
        self.reused += 1

    def finish(self, *, lost: bool) -> None:
        """A run is finished; `lost` when it could not be analysed."""
        self.done += 1
        self.lost += lost
        now = time.monotonic()
        if self.terminal if self.terminal is not None else self.stream.isatty():
            if now - self._shown >= _EVERY:
                self._shown = now
                self._open = True
                self.stream.write(f"\r\x1b[K{self.words()}")
                self.stream.flush()
        elif self.done % max(1, self.total // LINES) == 0:
            self.stream.write(f"{self.words()}\n")
            self.stream.flush()

    def close(self) -> None:
        """Leave the terminal's line clean."""
        if self._open:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
            self._open = False

    def words(self) -> str:
        """The state in one line."""
        spent = time.monotonic() - self._start
        rate = self.done / spent if spent > 0 else 0.0
        left = self.total - self.reused - self.done
        with speaking(self.lang):
            text = t("{done} of {total} runs, {rate} per second", done=self.done + self.reused, total=self.total, rate=f"{rate:.1f}")
            if rate and left > 0:
                text += t(", {time} left", time=figures.hours(left / rate / 3600))
            return text + (t(", {n} not analysed", n=self.lost) if self.lost else "")
