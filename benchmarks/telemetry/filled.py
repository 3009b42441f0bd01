"""Logs full of sessions that ran: the null scenario's whole loop, appended as a host does.

Knows how many events; invariant: what is in them came through the real runner, phases and journal."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.report import ROOT
from benchmarks.steps_ours import serving

SESSIONS = 20


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder on the disk that holds the checkout."""
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT / "build") as name:
        yield Path(name)


def filled(folder: Path, events: int) -> Path:
    """A log of `events` events, or up to a cycle a session more."""
    with serving(folder) as run:
        run("loop", SESSIONS, -(-events // SESSIONS))
    return folder / "log.db"
