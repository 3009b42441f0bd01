"""Snapshots of sessions: taken when they are due, used when they hold, and never more than a cache."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from loops import snapshot as snapshots
from loops.journal import Journal
from loops.rebuild import ENVELOPE_BYTES, Standing, rebuild
from loops.snapshot import Keeper, Snapshot, code_digest, newest, read, write
from loops.state import REDUCER, apply, state_hash
from runtime.errors import VerificationFailed
from runtime.fork import fork
from runtime.replay import replay
from telemetry.errors import ChainBroken, LogUnwritable
from telemetry.events import Draft, Recorded, learn, session
from telemetry.log import EventLog
from tests.errands import SCENARIO, policy
from tests.local import Cut, Cutter, Local, story
from tests.model_server import ModelServer

LINE = """
name = "line"
environment = { id = "gymnasium:AetherLine-v0", max_frames = 4, episodes = 3, options = { mark = "snapshots" } }
reasoner = { hold = 3 }
memory = { when = "always", recall = 0 }
"""
CYCLES = 12


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot is due at every closed cycle."""
    monkeypatch.setattr(snapshots, "MIN_BYTES", 0)
    monkeypatch.setattr(snapshots, "SHARE", 0)


@pytest.fixture
def taken(local: Local) -> Local:
    """A session `line` that rests after six cycles, with a snapshot of each."""
    local.run("line", LINE, cycles=CYCLES, stop=iter([False] * 6 + [True]).__next__)
    for recorded in closed(local):
        keep(local.log, recorded)
    return local


def keep(log: EventLog, recorded: Recorded) -> None:
    """Puts a snapshot of where the session stood after this event of its own."""
    standing = rebuild(log.facts(recorded.stream, to=recorded.version))
    log.put_snapshot(recorded.stream, recorded.version, write(log, recorded.stream, standing, recorded.hash))


async def give_up(error: LogUnwritable) -> None:
    raise error


def loaded(log: EventLog, name: str = "line") -> Journal:
    journal = Journal(log, f"session/{name}", stall=give_up)
    journal.load()
    return journal


def where(journal: Journal) -> tuple[object, ...]:
    done = [f"{cycle}.{step}" for cycle in range(CYCLES + 1) for step in ("open", "sense", "decide", "intend", "close")]
    return (
        journal.state,
        journal.scene,
        journal.epoch,
        journal.version,
        journal.committed,
        journal.positions,
        journal.last_type,
        [journal.recorded(command) for command in done],
    )


def without_snapshots(log: EventLog, name: str = "line") -> tuple[object, ...]:
    """Where the session stands when all of it is folded."""
    log.drop_snapshots()
    return where(loaded(log, name))


def closed(local: Local, name: str = "line") -> list[Recorded]:
    return local.events(name, "session.cycle_closed")


def kept(log: EventLog, stream: str = "session/line") -> list[int]:
    return [version for version, _ in log.snapshots(stream, to=10**9)]


def used(log: EventLog, stream: str = "session/line") -> int | None:
    """The version of the snapshot that the session is taken up from."""
    snapshot, _ = newest(log, stream)
    return None if snapshot is None else snapshot.standing.version


# --- taken ---------------------------------------------------------------------------------------


def test_what_a_running_session_keeps_is_what_folding_its_log_gives(eager: None, local: Local) -> None:
    local.run("line", LINE, cycles=CYCLES, stop=iter([False] * 3 + [True]).__next__)
    local.run("line", LINE, cycles=CYCLES)
    contents = list(local.log.snapshots("session/line", to=10**9))
    assert contents
    for version, content in contents:
        snapshot = read(content)
        assert snapshot is not None
        assert snapshot.standing == rebuild(local.log.facts("session/line", to=version))._replace(size_bytes=0)


def test_a_session_taken_up_from_a_snapshot_stands_where_the_whole_history_leads(taken: Local) -> None:
    assert used(taken.log) == closed(taken)[-1].version
    assert where(loaded(taken.log)) == without_snapshots(taken.log)


def test_a_session_that_is_cut_off_anywhere_and_goes_on_from_a_snapshot_ends_as_the_undisturbed_one(
    eager: None, local: Local
) -> None:
    counter = Cutter()
    expected = local.run("whole", LINE, cycles=CYCLES, commits=counter)
    told, from_snapshots = story(local.events("whole")), 0
    for moment in range(1, counter.seen + 1):
        name = f"cut-{moment}"
        with pytest.raises(Cut):
            local.run(name, LINE, cycles=CYCLES, commits=Cutter(at=moment))
        from_snapshots += used(local.log, f"session/{name}") is not None
        row = local.run(name, LINE, cycles=CYCLES)
        assert row.state_hash == expected.state_hash, name
        assert story(local.events(name)) == told, name
    assert from_snapshots > counter.seen / 2


def test_what_a_running_conversation_keeps_is_what_folding_its_log_gives(
    eager: None, local: Local, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILL", str(tmp_path / "till"))
    with ModelServer() as server:
        server.always = policy
        local.run("talk", SCENARIO.format(url=server.url, errand="pay twice"))
    contents = list(local.log.snapshots("session/talk", to=10**9))
    assert contents
    for version, content in contents:
        snapshot = read(content)
        assert snapshot is not None
        assert snapshot.standing == rebuild(local.log.facts("session/talk", to=version))._replace(size_bytes=0)
        assert snapshot.standing.scene.dialogue


@pytest.mark.parametrize(("least", "share", "size"), [(1000, 4, 100), (1000, 4, 300), (500, 2, 0)])
def test_a_snapshot_is_due_when_the_bytes_since_the_last_exceed_the_least_and_a_multiple_of_its_size(
    log: EventLog, monkeypatch: pytest.MonkeyPatch, least: int, share: int, size: int
) -> None:
    monkeypatch.setattr(snapshots, "MIN_BYTES", least)
    monkeypatch.setattr(snapshots, "SHARE", share)
    event = log.append("a", [corrected("x" * 50)], expected_version=0, epoch=1)
    each = len(event[0].payload) + ENVELOPE_BYTES
    keeper = Keeper(log, "a")
    keeper._size_bytes = size
    for number in range(1, 20):
        keeper.wrote(event)
        assert keeper.due == (number * each > max(least, share * size))


def test_a_long_session_has_a_snapshot_about_every_mebibyte_and_a_short_one_has_none(local: Local) -> None:
    local.run("line", LINE, cycles=CYCLES)
    assert kept(local.log) == []

    async def long() -> None:
        journal = Journal(local.log, "session/long", stall=give_up)
        for cycle in range(1, 61):
            await one_cycle(journal, cycle, bytes_=100_000)
            await journal.rest()

    asyncio.run(long())
    sizes = {r.version: len(r.content or r.payload) for r in local.events("long")}
    bounds = [0, *reversed(kept(local.log, "session/long"))]
    between = [sum(sizes[v] for v in range(a + 1, b + 1)) for a, b in pairwise(bounds)]
    assert len(between) == 5
    assert all(snapshots.MIN_BYTES * 0.99 < size < snapshots.MIN_BYTES * 1.2 for size in between)


async def one_cycle(journal: Journal, cycle: int, *, bytes_: int) -> None:
    journal.record(f"{cycle}.open", (session.CycleOpened(cycle=cycle),))
    journal.record(f"{cycle}.note", (corrected("x" * bytes_).event,))
    closing = session.CycleClosed(cycle=cycle, state_hash="0" * 64, reducer=REDUCER)
    said = state_hash(apply(journal.state, closing))
    journal.record(f"{cycle}.close", (closing.model_copy(update={"state_hash": said}),))
    await journal.commit()


def corrected(why: str) -> Draft:
    return Draft(event=learn.Corrected(retry_of="session/a@1", why=why), command="c")


def test_a_snapshot_above_the_bound_is_not_kept(eager: None, local: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "MAX_SNAPSHOT_BYTES", 100)
    local.run("line", LINE, cycles=CYCLES)
    assert kept(local.log) == []


def test_a_session_goes_on_where_no_snapshot_can_be_stored(eager: None, local: Local, log: EventLog) -> None:
    folder = Path(f"{log.url}.snapshots")
    folder.write_text("a file where the folder should be")
    assert local.run("line", LINE, cycles=CYCLES).status == "closed"
    assert kept(log) == []
    assert folder.is_file()


# --- used ----------------------------------------------------------------------------------------


def resigned(change: Callable[[dict[str, Any]], None]) -> Callable[[bytes], bytes]:
    """An alteration by somebody who knows how a snapshot is written."""

    def alter(content: bytes) -> bytes:
        told = orjson.loads(content.partition(b"\n")[2])
        change(told)
        body = orjson.dumps(told)
        return hashlib.sha256(body).hexdigest().encode() + b"\n" + body

    return alter


def set_at(*path: str | int, to: object) -> Callable[[dict[str, Any]], None]:
    def change(told: Any) -> None:  # noqa: ANN401  parsed JSON
        for name in path[:-1]:
            told = told[name]
        told[path[-1]] = to

    return change


STATE, POSITIONS = Standing._fields.index("state"), Standing._fields.index("positions")
UNSOUND: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "one byte altered": lambda content: content[:-40] + bytes([content[-40] ^ 1]) + content[-39:],
    "of an older reducer": resigned(set_at("reducer", to=REDUCER - 1)),
    "of other code": resigned(set_at("code", to="0" * 64)),
    "of another log": resigned(set_at("log", to="another")),
    "of another stream": resigned(set_at("stream", to="session/other")),
    "of another event": resigned(set_at("hash", to="0" * 64)),
    "at another position": resigned(set_at("standing", POSITIONS, "session.cycle_closed", to=3)),
    "with another state": resigned(set_at("standing", STATE, "step", to=77)),
    "without a scene": resigned(set_at("standing", Standing._fields.index("scene"), to=None)),
}


@pytest.mark.parametrize("how", UNSOUND)
def test_a_snapshot_that_does_not_hold_is_passed_over_for_an_older_one(taken: Local, how: str) -> None:
    latest, before = kept(taken.log)[:2]
    ((version, content), *_) = taken.log.snapshots("session/line", to=latest)
    taken.log.put_snapshot("session/line", version, UNSOUND[how](content))
    assert used(taken.log) == before
    assert where(loaded(taken.log)) == without_snapshots(taken.log)


@pytest.mark.parametrize("how", UNSOUND)
def test_where_none_holds_the_session_is_folded_whole_and_its_snapshots_are_replaced(
    eager: None, taken: Local, how: str
) -> None:
    for version, content in list(taken.log.snapshots("session/line", to=10**9)):
        taken.log.put_snapshot("session/line", version, UNSOUND[how](content))
    old = kept(taken.log)
    assert used(taken.log) is None
    journal = loaded(taken.log)
    assert taken.run("line", LINE, cycles=CYCLES).status == "closed"
    assert not set(kept(taken.log)) & set(old)
    assert used(taken.log) in kept(taken.log)
    assert where(journal)[3] == taken.events("line", "session.suspended")[0].version


def test_a_snapshot_of_a_version_that_closed_no_cycle_is_passed_over(taken: Local) -> None:
    (first, second, *_) = closed(taken)
    (between,) = taken.log.read("session/line", after=second.version - 2, to=second.version - 1)
    taken.log.drop_snapshots()
    keep(taken.log, between)
    assert used(taken.log) is None
    keep(taken.log, first)
    assert used(taken.log) == first.version


def test_a_snapshot_survives_its_bytes(taken: Local) -> None:
    last = closed(taken)[-1]
    standing = rebuild(taken.log.facts("session/line", to=last.version))
    snapshot = read(write(taken.log, "session/line", standing, last.hash))
    assert snapshot == Snapshot(
        code=code_digest(),
        reducer=REDUCER,
        log=taken.log.id,
        stream="session/line",
        hash=last.hash.hex(),
        standing=standing._replace(size_bytes=0),
    )
    assert snapshot.anchor == (last.version, last.hash, last.position)


def test_the_folder_of_snapshots_may_be_removed_at_any_time(eager: None, taken: Local) -> None:
    before = where(loaded(taken.log))
    shutil.rmtree(f"{taken.log.url}.snapshots")
    assert used(taken.log) is None
    assert where(loaded(taken.log)) == before
    assert taken.run("line", LINE, cycles=CYCLES).status == "closed"
    assert used(taken.log) in kept(taken.log)


# --- what is altered -----------------------------------------------------------------------------


def alter(local: Local, version: int, column: str = "payload", value: object = b"{}") -> None:
    with closing(sqlite3.connect(local.log.url, isolation_level=None)) as other:
        other.execute(f"UPDATE events SET {column} = ? WHERE version = ?", (value, version))


def test_an_event_altered_after_the_snapshot_is_named_when_the_session_is_taken_up(taken: Local) -> None:
    head = taken.log.head("session/line")
    assert head is not None
    alter(taken, head.version)
    with pytest.raises(VerificationFailed, match=rf"event {head.version} of session/line .* Nothing was written"):
        taken.run("line", LINE, cycles=CYCLES)
    assert taken.log.head("session/line") == head


def test_an_event_altered_at_the_snapshot_is_named_when_the_session_is_taken_up(taken: Local) -> None:
    for recorded in closed(taken):
        alter(taken, recorded.version)
    assert used(taken.log) is None
    with pytest.raises(ChainBroken, match=f"event {closed(taken)[0].version} of session/line"):
        loaded(taken.log)


def test_an_event_altered_before_the_snapshot_is_found_by_verify_and_by_replay(taken: Local) -> None:
    alter(taken, 3)
    assert loaded(taken.log).version == taken.events("line")[-1].version
    assert not taken.log.verify().ok
    with pytest.raises(VerificationFailed, match="event 3 of session/line"):
        replay(taken.log, "line")


# --- forks ---------------------------------------------------------------------------------------


def test_a_fork_is_taken_up_from_its_parents_snapshot_at_or_below_the_cut(taken: Local) -> None:
    cuts = [recorded.version for recorded in closed(taken)]
    mine = kept(taken.log)
    for number, at in enumerate(cuts):
        name = fork(taken.log, "line", at=at, new=f"fork-{number}")
        below = [version for version in mine if version <= at]
        assert used(taken.log, f"session/{name}") == (max(below) if below else None)
        deeper = fork(taken.log, name, at=at, new=f"deeper-{number}")
        assert used(taken.log, f"session/{deeper}") == (max(below) if below else None)
    forks = [f"{kind}-{number}" for kind in ("fork", "deeper") for number in range(len(cuts))]
    standings = {name: where(loaded(taken.log, name)) for name in forks}
    for name, standing in standings.items():
        assert standing == without_snapshots(taken.log, name), name


def test_a_fork_that_goes_on_has_snapshots_of_its_own(eager: None, taken: Local) -> None:
    at = closed(taken)[3].version
    fork(taken.log, "line", at=at, new="f")
    taken.run("f", LINE, cycles=CYCLES)
    own = kept(taken.log, "session/f")
    assert own
    assert min(own) > at
    assert used(taken.log, "session/f") == max(own)
    assert where(loaded(taken.log, "f")) == without_snapshots(taken.log, "f")
