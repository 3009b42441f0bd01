"""How a training goes: a bar on a terminal, a plain line now and then elsewhere, and what Ctrl-C means meanwhile."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from types import FrameType
from typing import TYPE_CHECKING

from runtime.cli.output import talk

if TYPE_CHECKING:
    from rich.progress import Progress

    from runtime.models.training.order import Order, Told, Watch

SHOWN_EVERY_S = 0.1
PLAIN_EVERY_S = 5.0


@contextmanager
def watching(order: Order, sessions: int, *, quiet: bool) -> Iterator[Watch]:
    """Shows how `order` goes. Ctrl-C ends a training that has begun; once more, and at any other time, it ends the
    command. Meanwhile what others print to stdout goes to stderr: stdout is for data."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from runtime.models.training.order import Watch

    console = Console(stderr=True)
    live = not quiet and console.is_terminal
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"))
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, *times, console=console, transient=True, disable=not live) as progress:
        bar = _Bar(order, progress, sessions, plain=not quiet and not live)
        with redirect_stdout(sys.stderr), _interruptible(bar):
            yield Watch(read=bar.read, told=bar.told, stop=lambda: bar.stopping)


class _Bar:
    """One line: sessions as they are read, then the training by its steps or its time."""

    def __init__(self, order: Order, progress: Progress, sessions: int, *, plain: bool) -> None:
        self._order = order
        self._progress = progress
        self._plain = plain
        self._task = progress.add_task("sessions", total=sessions, said="")
        self._transitions = 0
        self._shown = self._talked = time.monotonic()
        self.began: float | None = None
        self.stopping = False

    def read(self, transitions: int) -> None:
        self._transitions += transitions
        self._progress.update(self._task, advance=1, said=f"{self._transitions:,} transitions")

    def told(self, told: Told) -> None:
        now = time.monotonic()
        if self.began is None:
            if not told.step:  # its workers are started
                self._progress.update(self._task, description=f"training {self._order.name}: starting", total=None)
                return
            self.began = now
            total = self._order.seconds or told.of or None
            self._progress.reset(self._task, description=f"training {self._order.name}", total=total)
        if now - self._shown >= SHOWN_EVERY_S:
            self._shown = now
            done = told.step if self._order.seconds is None else now - self.began
            self._progress.update(self._task, completed=done, said=_said(told))
        if self._plain and now - self._talked >= PLAIN_EVERY_S:
            self._talked = now
            talk(f"training {self._order.name}: {_said(told)} · {now - self.began:.0f} s")


def _said(told: Told) -> str:
    steps = f"{told.step:,}/{told.of:,} steps" if told.of else f"{told.step:,} steps"
    looked = told.looked
    return steps + (
        "" if looked is None else f" · loss {looked.loss:.2f} · misses {looked.held_out:.0%} of what changes"
    )


@contextmanager
def _interruptible(bar: _Bar) -> Iterator[None]:
    def interrupt(number: int, frame: FrameType | None) -> None:
        if bar.began is None or bar.stopping:
            signal.default_int_handler(number, frame)
        bar.stopping = True
        talk("aether: stopping; the best model so far is kept. Ctrl-C again drops it")

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
