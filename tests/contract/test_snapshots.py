"""What stands beside a log as a cache: the newest at or below a version, and nothing once it is dropped."""

from __future__ import annotations

import pytest

from telemetry.errors import LogClosed, LogUnwritable
from telemetry.log import EventLog
from tests.contract.stores import Store, fill


def kept(log: EventLog, stream: str, *, to: int = 100) -> list[tuple[int, bytes]]:
    return list(log.snapshots(stream, to=to))


def test_snapshots_come_newest_first_and_none_above_the_version_asked_for(log: EventLog) -> None:
    for version in (9, 30, 4, 100):
        log.put_snapshot("session/ä b", version, b"%d" % version)
    log.put_snapshot("session/other", 31, b"another's")
    assert kept(log, "session/ä b") == [(100, b"100"), (30, b"30"), (9, b"9"), (4, b"4")]
    assert kept(log, "session/ä b", to=99) == [(30, b"30"), (9, b"9"), (4, b"4")]
    assert kept(log, "session/ä b", to=4) == [(4, b"4")]
    assert kept(log, "session/ä b", to=3) == kept(log, "session/ä") == []


def test_a_snapshot_is_replaced_by_another_of_its_version(log: EventLog) -> None:
    log.put_snapshot("a", 7, b"first")
    log.put_snapshot("a", 7, b"\x00second" * 100_000)
    assert kept(log, "a") == [(7, b"\x00second" * 100_000)]


def test_what_was_dropped_is_gone_and_can_be_taken_anew(log: EventLog) -> None:
    for stream in ("a", "b", "c"):
        log.put_snapshot(stream, 7, b"x")
    log.drop_snapshots("a")
    log.drop_snapshots("a")
    assert [len(kept(log, stream)) for stream in "abc"] == [0, 1, 1]
    log.drop_snapshots()
    log.drop_snapshots()
    assert [len(kept(log, stream)) for stream in "abc"] == [0, 0, 0]
    log.put_snapshot("a", 8, b"y")
    assert kept(log, "a") == [(8, b"y")]


def test_snapshots_outlive_the_log_that_took_them_and_only_its_writer_changes_them(store: Store) -> None:
    log = store.open()
    log.put_snapshot("a", 7, b"x")
    log.close()
    reader = store.open(mode="read")
    assert kept(reader, "a") == [(7, b"x")]
    with pytest.raises(LogUnwritable, match="opened for reading"):
        reader.put_snapshot("a", 8, b"y")
    with pytest.raises(LogUnwritable, match="opened for reading"):
        reader.drop_snapshots()


def test_snapshots_are_no_part_of_the_log(store: Store) -> None:
    log = store.open()
    fill(log, "a", 3)
    seal, position = log.seal(), log.position()
    log.put_snapshot("a", 3, b"x")
    assert (log.seal(), log.position()) == (seal, position)
    assert log.verify(seal=seal).ok
    log.drop_snapshots()
    assert log.verify(seal=seal).ok


def test_a_closed_log_takes_no_snapshot(store: Store) -> None:
    log = store.open()
    log.close()
    with pytest.raises(LogClosed):
        log.put_snapshot("a", 7, b"x")
