"""A subscriber's place in a log: on disk once it is moved, of one log, and of one process at a time."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from telemetry.errors import CursorRefused, LogUnwritable
from telemetry.log import EventLog, open_log
from telemetry.log.projection.cursor import Cursor
from tests.contract.stores import fill


def test_a_cursor_is_found_where_it_was_moved_to(log: EventLog, tmp_path: Path) -> None:
    fill(log, "a", 9)
    with Cursor(log, "billing", folder=tmp_path / "cursors") as cursor:
        assert cursor.position is None, "it was never moved"
        cursor.move(0)
        cursor.move(7)
    with Cursor(log, "billing", folder=tmp_path / "cursors") as cursor:
        assert cursor.position == 7
    with Cursor(log, "other", folder=tmp_path / "cursors") as cursor:
        assert cursor.position is None


def test_a_cursor_is_of_one_process_at_a_time(log: EventLog, tmp_path: Path) -> None:
    with Cursor(log, "a", folder=tmp_path), pytest.raises(CursorRefused, match="another process follows as a"):
        Cursor(log, "a", folder=tmp_path)
    Cursor(log, "a", folder=tmp_path).close()


def test_a_cursor_of_another_log_or_of_a_future_that_the_log_lost_is_refused(log: EventLog, tmp_path: Path) -> None:
    fill(log, "a", 9)
    with Cursor(log, "a", folder=tmp_path) as cursor:
        cursor.move(9)
    with closing(open_log(tmp_path / "other.db")) as other:
        fill(other, "a", 20)
        with pytest.raises(CursorRefused, match="of another log"):
            Cursor(other, "a", folder=tmp_path)
    log.close()
    shutil.copy(log.url, tmp_path / "copy.db")
    with closing(open_log(tmp_path / "copy.db")) as copy:
        with Cursor(copy, "a", folder=tmp_path) as cursor:
            cursor.move(10)
        with pytest.raises(CursorRefused, match="at position 10, and the log ends at 9"):
            Cursor(copy, "a", folder=tmp_path)


def test_a_cursor_that_cannot_be_read_is_refused_and_names_its_file(log: EventLog, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(CursorRefused, match=r"a\.json cannot be read"):
        Cursor(log, "a", folder=tmp_path)
    (tmp_path / "a.json").unlink()
    Cursor(log, "a", folder=tmp_path).close()


def test_where_nothing_can_be_written_it_says_so(log: EventLog, tmp_path: Path) -> None:
    (tmp_path / "cursors").write_text("a file, where the folder would be")
    with pytest.raises(LogUnwritable, match="follow without a cursor"):
        Cursor(log, "a", folder=tmp_path / "cursors")
