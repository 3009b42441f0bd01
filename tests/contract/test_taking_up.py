"""A session is taken up from what its log keeps, on either store: the history, and the snapshot beside it."""

from __future__ import annotations

import asyncio

import pytest

from loops import snapshot as snapshots
from loops.journal import Journal
from loops.snapshot import newest
from loops.state import REDUCER, apply, state_hash
from telemetry.errors import ChainBroken, LogUnwritable
from telemetry.events import sense, session
from telemetry.events.values import Text, digest_of
from telemetry.log import EventLog
from tests.contract.stores import Store

STREAM = "session/a"


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot is due at every closed cycle."""
    monkeypatch.setattr(snapshots, "MIN_BYTES", 0)
    monkeypatch.setattr(snapshots, "SHARE", 0)


async def give_up(error: LogUnwritable) -> None:
    raise error


async def cycle(journal: Journal, number: int) -> None:
    """One cycle, closed on disk, and its snapshot taken."""
    seen = Text(name="said", text=f"{number} ä")
    journal.record(f"{number}.open", (session.CycleOpened(cycle=number),))
    journal.record(f"{number}.sense", (sense.Observed(observations=(seen,), digest=digest_of(seen), step=number),))
    closing = session.CycleClosed(cycle=number, state_hash="0" * 64, reducer=REDUCER)
    said = state_hash(apply(journal.state, closing))
    journal.record(f"{number}.close", (closing.model_copy(update={"state_hash": said}),))
    await journal.commit()
    await journal.rest()


def lived(log: EventLog, *, cycles: int = 3) -> Journal:
    """A session that lived some cycles, and was cut off in the next."""

    async def live() -> Journal:
        journal = Journal(log, STREAM, stall=give_up)
        for number in range(1, cycles + 1):
            await cycle(journal, number)
        journal.record(f"{cycles + 1}.open", (session.CycleOpened(cycle=cycles + 1),))
        await journal.commit()
        return journal

    return asyncio.run(live())


def loaded(log: EventLog) -> Journal:
    journal = Journal(log, STREAM, stall=give_up)
    journal.load()
    return journal


def where(journal: Journal) -> tuple[object, ...]:
    return journal.state, journal.scene, journal.version, journal.committed, journal.epoch, journal.positions


def test_a_session_stands_where_it_stood_with_its_snapshot_and_without(store: Store) -> None:
    log = store.open()
    stood = lived(log)
    log.close()
    log = store.open()
    snapshot, _ = newest(log, STREAM)
    assert snapshot is not None
    assert snapshot.standing.version == 9
    assert where(loaded(log)) == where(stood)
    log.drop_snapshots()
    assert newest(log, STREAM) == (None, 0)
    assert where(loaded(log)) == where(stood)


def test_a_session_is_not_taken_up_over_an_event_that_was_altered_since_its_snapshot(store: Store) -> None:
    log = store.open()
    lived(log)
    last = next(log.read_back(STREAM))
    log.close()
    store.alter(last, "payload", b'{"cycle":5}')
    with pytest.raises(ChainBroken, match=f"event {last.version} of {STREAM} .* Nothing was written"):
        loaded(store.open(mode="read"))
