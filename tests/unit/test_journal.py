"""A session's way to the log: folded when recorded, on disk when committed."""

from __future__ import annotations

import asyncio

import pytest

from loops.journal import Journal
from loops.state import REDUCER, state_hash
from telemetry.errors import LogDamaged, LogUnwritable, WrongExpectedVersion
from telemetry.events import sense, session
from telemetry.log import EventLog
from tests.local import Local

NULL = """
name = "null"
environment = { id = "null:" }
memory = { recall = 0 }
"""


async def give_up(error: LogUnwritable) -> None:
    raise error


def journal(log: EventLog, stream: str = "session/j") -> Journal:
    return Journal(log, stream, stall=give_up)


def observed(step: int) -> sense.Observed:
    return sense.Observed(digest="0" * 64, step=step)


def test_what_is_recorded_is_folded_at_once_and_on_disk_only_after_the_barrier(log: EventLog) -> None:
    one = journal(log)
    one.record("1.open", (session.CycleOpened(cycle=1),))
    one.record("1.sense", (observed(0),), elapsed_ns=5)
    assert (one.state.cycle, one.version, one.committed) == (1, 2, 0)
    assert log.head(one.stream) is None
    written = asyncio.run(one.commit())
    assert [r.type for r in written] == ["session.cycle_opened", "sense.observed"]
    assert [(r.cycle, r.cause, r.elapsed_ns) for r in written] == [(1, "", 0), (1, "session/j@1", 5)]
    assert one.positions == {"session.cycle_opened": 1, "sense.observed": 2}
    assert asyncio.run(one.commit()) == ()


def test_a_state_and_a_scene_that_were_looked_at_stay_as_they_were_seen(log: EventLog) -> None:
    one = journal(log)
    one.record("1.open", (session.CycleOpened(cycle=1),))
    state, scene = one.state, one.scene
    assert (one.state, one.scene) == (state, scene)
    one.record("1.sense", (observed(0),))
    assert (state.observed, scene.observed, scene.ids) == (None, None, {"session.cycle_opened": "session/j@1"})
    assert one.state.observed == "0" * 64
    assert one.scene == scene.see("session/j@2", observed(0))


def test_a_command_of_the_open_cycle_is_known_again_after_loading_and_one_of_an_older_cycle_is_not(
    log: EventLog,
) -> None:
    one = journal(log)
    one.record("1.open", (session.CycleOpened(cycle=1),))
    one.record("1.sense", (observed(0),))
    one.record("2.open", (session.CycleOpened(cycle=2),))
    one.record("2.sense", (observed(1),))
    asyncio.run(one.commit())
    two = journal(log)
    two.load()
    assert (two.state, two.scene, two.version, two.positions) == (
        one.state,
        one.scene,
        one.version,
        one.positions,
    )
    assert [two.recorded(c) for c in ("2.open", "2.sense", "2.feel", "1.sense")] == [True, True, False, False]
    assert two.cycle_is_open


def test_two_writers_of_one_epoch_cannot_both_append(log: EventLog) -> None:
    one, two = journal(log), journal(log)
    one.record("a", (session.CycleOpened(cycle=1),))
    two.record("b", (session.CycleOpened(cycle=1),))
    asyncio.run(one.commit())
    with pytest.raises(WrongExpectedVersion):
        asyncio.run(two.commit())


def test_a_log_whose_recorded_state_hash_does_not_come_out_is_not_gone_on_with(log: EventLog) -> None:
    one = journal(log)
    one.record("1.open", (session.CycleOpened(cycle=1),))
    one.record("1.close", (session.CycleClosed(cycle=1, state_hash="0" * 64, reducer=REDUCER),))
    asyncio.run(one.commit())
    with pytest.raises(LogDamaged, match=r"session/j@2: folding gives state .* Nothing was written.*aether replay j"):
        journal(log).load()


def test_a_hash_of_another_reducer_is_not_comparable_and_stops_nobody(log: EventLog) -> None:
    one = journal(log)
    one.record("1.open", (session.CycleOpened(cycle=1),))
    one.record("1.close", (session.CycleClosed(cycle=1, state_hash="0" * 64, reducer=REDUCER + 1),))
    asyncio.run(one.commit())
    journal(log).load()


def test_loading_a_session_gives_the_state_it_ended_in(local: Local) -> None:
    row = local.run("null", NULL, cycles=4)
    loaded = journal(local.log, "session/null")
    loaded.load()
    assert state_hash(loaded.state) == row.state_hash
    assert not loaded.cycle_is_open
