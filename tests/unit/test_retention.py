"""Sessions that are archived and removed: which may go, what is left, and that they come back whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runtime.effects import unknown_anywhere
from runtime.errors import NotFound, UsageError
from runtime.fork import fork
from runtime.ledger import LedgerRow, ledger
from runtime.replay import replay
from runtime.retention import Gone, archive, closed_before, prune
from runtime.sessions import all_heads, row_of
from telemetry.errors import ArchiveDamaged, EventsPruned, LogError, LogNotFound
from telemetry.log import EventLog, open_log
from telemetry.log.imports import import_archive, import_lines
from telemetry.log.retention.archive import name_of

GOLDEN = Path(__file__).parents[1] / "golden"
SESSIONS = ("lava", "maze", "refund")
CUT = 46
"""A closed cycle of the maze."""


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    """A log of three recorded sessions, all closed."""
    with closing(open_log(tmp_path / "log.db")) as log:
        for name in SESSIONS:
            with (GOLDEN / f"{name}.jsonl").open("rb") as file:
                import_lines(log, file)
        yield log


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "archive"


def rows(log: EventLog) -> list[LedgerRow]:
    with ledger(log) as found:
        return found.page()[0]


def rebuilt(log: EventLog, tmp_path: Path) -> list[LedgerRow]:
    """The rows as they come out when they are made from the first event that stands."""
    copy = tmp_path / "copy" / "log.db"
    copy.parent.mkdir()
    for end in ("", "-wal"):
        shutil.copy(tmp_path / f"log.db{end}", copy.with_name(f"log.db{end}"))
    with closing(open_log(copy, mode="read")) as fresh:
        found = rows(fresh)
    shutil.rmtree(copy.parent)
    return found


def test_closed_sessions_are_archived_and_those_that_are_there_verified(log: EventLog, folder: Path) -> None:
    made = list(archive(log, SESSIONS, folder))
    assert [(row.session, row.events, row.new) for row in made] == [
        ("lava", 142, True),
        ("maze", 147, True),
        ("refund", 143, True),
    ]
    head = log.head("session/maze")
    assert head is not None
    assert made[1].hash == head.hash.hex()
    assert made[1].bytes == (folder / name_of("session/maze")).stat().st_size
    assert not any(row.new for row in archive(log, SESSIONS, folder))


def test_a_session_that_can_go_on_is_neither_archived_nor_removed(log: EventLog, folder: Path) -> None:
    fork(log, "maze", at=CUT, new="open")
    for act in (lambda: list(archive(log, ["refund", "open"], folder)), lambda: prune(log, "open", folder)):
        with pytest.raises(UsageError, match=r"session open is suspended\. Nothing was done"):
            act()
    assert not folder.exists()
    with pytest.raises(NotFound, match=r"there is no session 'mase'.*maze"):
        list(archive(log, ["mase"], folder))


def test_sessions_are_chosen_by_when_they_were_closed(log: EventLog) -> None:
    ends = {name: next(log.read_back(f"session/{name}", types=("session.closed",))).at for name in SESSIONS}
    moment = datetime.fromtimestamp(sorted(ends.values())[1] / 1e9, UTC) + timedelta(milliseconds=1)
    assert set(closed_before(log, moment)) == set(sorted(ends, key=ends.__getitem__)[:2])
    assert list(closed_before(log, datetime(2000, 1, 1))) == []  # noqa: DTZ001 - without a zone it is UTC
    fork(log, "maze", at=CUT, new="open")
    assert set(closed_before(log, datetime(2100, 1, 1, tzinfo=UTC))) == set(SESSIONS)


def test_a_session_is_removed_and_comes_back_as_it_was(log: EventLog, folder: Path) -> None:
    before, told = list(log.read_all()), replay(log, "maze")
    list(archive(log, ["maze"], folder))
    gone = prune(log, "maze", folder)
    assert gone == Gone(
        session="maze", version=147, left=0, file=str(folder / "session%2Fmaze.parquet"), fact="system@1"
    )
    assert [head.stream for head in all_heads(log)] == ["session/lava", "session/refund"]
    for look in (lambda: replay(log, "maze"), lambda: fork(log, "maze", at=CUT), lambda: prune(log, "maze", folder)):
        with pytest.raises(EventsPruned, match=r"aether log import session%2Fmaze\.parquet"):
            look()
    import_archive(log, folder / "session%2Fmaze.parquet")
    assert [event for event in log.read_all() if event.stream != "system"] == before
    assert replay(log, "maze") == told


def test_a_prefix_is_removed_up_to_a_closed_cycle_only(log: EventLog, folder: Path) -> None:
    list(archive(log, ["maze"], folder))
    for version in (0, -1, 1, 50, 145, 9_999):
        with pytest.raises(UsageError, match=r"closes no cycle.* Nothing was removed"):
            prune(log, "maze", folder, to=version)
    assert prune(log, "maze", folder, to=CUT).left == 147 - CUT
    assert log.verify().ok
    with pytest.raises(EventsPruned):
        replay(log, "maze")
    head = log.head("session/maze")
    assert head is not None
    row = row_of(log, head)
    assert (row.status, row.cycles, row.scenario) == ("closed", 6, "")
    assert unknown_anywhere(log) == ([], None)
    assert prune(log, "maze", folder).left == 0


def test_nothing_is_removed_without_an_archive_that_holds_it(log: EventLog, folder: Path) -> None:
    before = list(log.read_all())
    with pytest.raises(LogNotFound, match="there is no archive at"):
        prune(log, "maze", folder)
    list(archive(log, SESSIONS, folder))
    path = folder / name_of("session/maze")
    whole = path.read_bytes()
    for content in (
        whole[:-100],
        whole[:5_000] + b"\x00" + whole[5_001:],
        (folder / name_of("session/lava")).read_bytes(),
    ):
        path.write_bytes(content)
        with pytest.raises(ArchiveDamaged):
            prune(log, "maze", folder)
    assert list(log.read_all()) == before
    path.write_bytes(whole)
    prune(log, "maze", folder)


def test_a_session_with_forks_stays(log: EventLog, folder: Path) -> None:
    fork(log, "maze", at=CUT, new="child")
    list(archive(log, ["maze"], folder))
    with pytest.raises(LogError, match="session/child began as its forks"):
        prune(log, "maze", folder)


def test_snapshots_go_with_what_they_are_of(log: EventLog, folder: Path) -> None:
    log.put_snapshot("session/maze", CUT, b"state")
    log.put_snapshot("session/lava", 10, b"state")
    list(archive(log, ["maze"], folder))
    prune(log, "maze", folder)
    assert list(log.snapshots("session/maze", to=200)) == []
    assert len(list(log.snapshots("session/lava", to=200))) == 1


def test_the_list_of_sessions_is_the_same_followed_on_and_made_anew(
    log: EventLog, folder: Path, tmp_path: Path
) -> None:
    whole = rows(log)
    list(archive(log, SESSIONS, folder))
    prune(log, "maze", folder, to=CUT)
    assert {row.session: row.scenario for row in rows(log)} == {"lava": "lava", "maze": "", "refund": "refund"}
    assert rows(log) == rebuilt(log, tmp_path)
    prune(log, "refund", folder)
    assert [row.session for row in rows(log)] == ["lava", "maze"]
    assert rows(log) == rebuilt(log, tmp_path)
    for name in ("maze", "refund"):
        import_archive(log, folder / name_of(f"session/{name}"))
        assert rows(log) == rebuilt(log, tmp_path)
    assert rows(log) == whole
