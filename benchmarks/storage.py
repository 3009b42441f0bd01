"""What an event costs on disk beside its payload.

The log is that of one real session of the null scenario, closed and so checkpointed into one file. Invariant: an
empty log's file, made by the same code, is taken off, so the figure does not flatter long sessions alone."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from benchmarks.scenarios import NULL, order
from runtime.hosting.hosts import Hosts
from runtime.settings import Settings
from telemetry.log import open_log

EVENTS_A_CYCLE = 14
"""What a cycle of the null scenario records; the session that is too short for the figure fails the assertion below."""


def measure_overhead(folder: Path, events: int) -> float:
    """(File − empty file − payloads) / events, in bytes, of a session of `events` events or one cycle more or less."""
    empty = folder / "empty.db"
    open_log(str(empty)).close()
    host = Hosts(Settings(home=folder))
    try:
        for session, error in host.run([order(NULL, cycles=-(-events // EVENTS_A_CYCLE))], watch=lambda _: None):
            if error is not None:
                raise RuntimeError(f"session {session} did not come to its end") from error
    finally:
        host.close()
    with closing(open_log(host.url, mode="read")) as log:
        sizes = [len(recorded.payload) for recorded in log.read_all()]
    assert len(sizes) >= events, f"{len(sizes)} events, of {events} asked for"
    return (_size(Path(host.url)) - _size(empty) - sum(sizes)) / len(sizes)


def _size(log: Path) -> int:
    wal = log.with_name(f"{log.name}-wal")
    assert not wal.exists() or wal.stat().st_size == 0, "a closed log lies in one file"
    return log.stat().st_size
