"""Removing a stream's beginning from a log that other hosts write at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from telemetry.errors import EventsPruned, LogError, WrongExpectedVersion
from telemetry.log import EventLog
from telemetry.log.imports import import_archive
from telemetry.log.retention.archive import digest_of, write_archive
from tests.contract.stores import PostgresStore, fill, note, notes
from tests.contract.test_fork import fork
from tests.contract.test_postgres import connection_of
from tests.contract.test_prune import prune

OTHERS, APPENDS = 4, 30


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[PostgresStore]:
    place = PostgresStore(request)
    yield place
    place.close()


@pytest.fixture
def hosts(store: PostgresStore) -> tuple[EventLog, EventLog]:
    """Two writers of one log."""
    return store.open(), store.open()


def test_a_host_that_remembers_a_removed_stream_goes_on_from_its_anchor(
    hosts: tuple[EventLog, EventLog], tmp_path: Path
) -> None:
    here, there = hosts
    fill(there, "a", 3)
    fill(there, "b", 3)
    prune(here, tmp_path, "a")
    prune(here, tmp_path, "b")
    assert there.append("a", [note(command="on")], expected_version=3, epoch=1)[0].id == "a@4"
    with pytest.raises(WrongExpectedVersion):
        here.append("b", [note(command="forged")], expected_version=0, epoch=1)
    fill(there, "c", 2)
    assert prune(there, tmp_path, "c").id == "system@3"
    with pytest.raises(EventsPruned):
        next(there.read("a"))
    assert here.verify().ok, str(here.verify())


def test_a_fork_that_another_host_makes_meanwhile_keeps_its_parent(
    hosts: tuple[EventLog, EventLog], tmp_path: Path
) -> None:
    """It comes after the first look for forks, and before the lock is taken."""
    here, there = hosts
    events = fill(there, "a", 3)
    write_archive(here, "a", tmp_path)
    path = tmp_path / "a.parquet"
    first_look = here.read_all

    def look(**given: object) -> Iterator[object]:
        yield from first_look(**given)  # type: ignore[arg-type]  # what it was called with
        fork(there, "a", 2, "child")

    here.read_all = look  # type: ignore[method-assign,assignment]  # the moment between the two
    with pytest.raises(LogError, match="child began as its forks"):
        here.prune("a", to=3, hash_=events[-1].hash.hex(), archive=path.name, digest=digest_of(path))
    assert len(list(there.read("child"))) == 3
    assert there.verify().ok


def test_streams_are_removed_and_put_back_beside_hosts_that_write(store: PostgresStore, tmp_path: Path) -> None:
    here = store.open()
    fill(here, "a", 20, each=5)
    before = list(here.read("a"))

    def write(name: str) -> None:
        host = store.open()
        for number in range(APPENDS):
            host.append(name, notes(2, command=f"{number}"), expected_version=2 * number, epoch=1)

    writers = [threading.Thread(target=write, args=(f"w{number}",)) for number in range(OTHERS)]
    for writer in writers:
        writer.start()
    for _ in range(5):
        prune(here, tmp_path, "a")
        import_archive(here, tmp_path / "a.parquet")
    for writer in writers:
        writer.join()
    prune(here, tmp_path, "a", to=50)
    report = here.verify()
    assert report.ok, str(report)
    assert list(here.read("a", after=50)) == before[50:]
    assert [len(list(here.read(f"w{number}"))) for number in range(OTHERS)] == [2 * APPENDS] * OTHERS


def test_a_connection_that_is_cut_while_events_are_removed_leaves_them(
    hosts: tuple[EventLog, EventLog], tmp_path: Path
) -> None:
    here, there = hosts
    fill(here, "a", 3)
    before = list(here.read_all())
    write_archive(here, "a", tmp_path)
    victim = connection_of(here).info.backend_pid
    with psycopg.connect(here.url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s)", (victim,))
    with pytest.raises(LogError, match="Nothing was changed"):
        prune(here, tmp_path, "a")
    assert list(there.read_all()) == before
    assert prune(here, tmp_path, "a").position == 4
    assert there.verify().ok
