"""Rows that follow from a log: one transaction with their cursor, thrown away and made again where they cannot be
trusted."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from telemetry.events import Recorded
from telemetry.log import EventLog, open_log
from telemetry.log.place import Rows
from telemetry.log.project import Projected
from tests.contract.stores import fill
from tests.projections import Chains, chains, undisturbed


class Failing(Chains):
    """Fails in the middle of a batch, once its first rows are changed."""

    def apply(self, rows: Rows, events: Sequence[Recorded]) -> None:
        super().apply(rows, events[: len(events) // 2])
        raise RuntimeError("the projection is wrong")


def file_of(log: EventLog) -> Path:
    return Path(f"{log.url}.projections") / "chains.db"


def position(log: EventLog) -> int:
    with closing(sqlite3.connect(file_of(log))) as connection:
        return int(connection.execute("SELECT position FROM cursor").fetchone()[0])


def test_rows_follow_the_log_and_go_on_where_another_handle_left_them(log: EventLog) -> None:
    fill(log, "a", 700)
    with Projected(log, Chains()) as projected:
        assert projected.catch_up() == 700
        assert chains(projected) == undisturbed(log)
    fill(log, "b", 30)
    again = Chains()
    with Projected(log, again) as projected:
        assert projected.catch_up() == 730
        assert again.batches == [30], "what was applied is not applied again"
        assert chains(projected) == undisturbed(log)
        assert projected.catch_up() == 730


def test_batches_are_bounded_and_their_borders_do_not_matter(log: EventLog) -> None:
    fill(log, "a", 1_300)
    projection = Chains()
    with Projected(log, projection) as projected:
        projected.catch_up()
        assert max(projection.batches) <= 512
        assert chains(projected) == undisturbed(log)


def test_the_cursor_moves_over_what_a_projection_does_not_follow(log: EventLog) -> None:
    fill(log, "a", 40)
    projection = Chains(types=("session.closed",))
    with Projected(log, projection) as projected:
        assert projected.catch_up() == 40
        assert chains(projected) == []


def test_a_batch_that_fails_leaves_rows_and_cursor_as_they_were(log: EventLog) -> None:
    fill(log, "a", 600)
    with Projected(log, Chains()) as projected:
        projected.catch_up()
        before = chains(projected)
    fill(log, "b", 20)
    with Projected(log, Failing()) as projected, pytest.raises(RuntimeError):
        projected.catch_up()
    assert position(log) == 600
    with Projected(log, Chains()) as projected:
        assert chains(projected) == before
        projected.catch_up()
        assert chains(projected) == undisturbed(log)


def test_rebuilding_from_the_first_event_gives_the_same_rows(log: EventLog) -> None:
    with Projected(log, Chains()) as projected:
        for number in range(5):
            fill(log, f"s{number}", 60 + number)
            projected.catch_up()
        before = chains(projected)
    shutil.rmtree(file_of(log).parent)
    with Projected(log, Chains()) as projected:
        projected.catch_up()
        assert chains(projected) == before == undisturbed(log)


def test_another_version_of_the_projection_makes_its_rows_again(log: EventLog) -> None:
    fill(log, "a", 50)
    with Projected(log, Chains(version=1)) as projected:
        projected.catch_up()
    newer = Chains(version=2)
    with Projected(log, newer) as projected:
        projected.catch_up()
        assert newer.batches == [50]


def test_rows_of_another_log_are_made_again(log: EventLog, tmp_path: Path) -> None:
    fill(log, "a", 50)
    with Projected(log, Chains()) as projected:
        projected.catch_up()
    with closing(open_log(tmp_path / "other.db")) as other:
        fill(other, "x", 60)
        shutil.copytree(file_of(log).parent, file_of(other).parent)
        with Projected(other, Chains()) as projected:
            projected.catch_up()
            assert chains(projected) == undisturbed(other)


@pytest.mark.parametrize("more", [0, 10, 90], ids=["behind the rows", "still behind", "beyond them"])
def test_rows_of_a_future_that_a_restored_copy_of_the_log_never_had_are_made_again(tmp_path: Path, more: int) -> None:
    path, copy = tmp_path / "log.db", tmp_path / "copy.db"
    with closing(open_log(path)) as log:
        fill(log, "a", 50)
    shutil.copy(path, copy)
    with closing(open_log(path)) as log:
        fill(log, "future", 40)
        with Projected(log, Chains()) as projected:
            projected.catch_up()
    shutil.copy(copy, path)
    with closing(open_log(path)) as log:
        if more:
            fill(log, "other", more)
        with Projected(log, Chains()) as projected:
            assert projected.catch_up() == 50 + more
            assert chains(projected) == undisturbed(log)


@pytest.mark.parametrize("damage", [b"no database", b""], ids=["another file", "an empty file"])
def test_a_file_that_cannot_be_read_is_made_again(log: EventLog, damage: bytes) -> None:
    fill(log, "a", 50)
    with Projected(log, Chains()) as projected:
        projected.catch_up()
    file_of(log).write_bytes(damage)
    with Projected(log, Chains()) as projected:
        projected.catch_up()
        assert chains(projected) == undisturbed(log)


def test_a_file_with_a_broken_page_is_made_again(log: EventLog) -> None:
    for number in range(80):
        fill(log, f"stream-{number}", 2)
    with Projected(log, Chains()) as projected:
        projected.catch_up()
    whole = file_of(log).read_bytes()
    file_of(log).write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with Projected(log, Chains()) as projected:
        projected.catch_up()
        assert chains(projected) == undisturbed(log)


def test_where_nothing_can_be_written_the_rows_are_made_in_memory(log: EventLog) -> None:
    fill(log, "a", 50)
    file_of(log).parent.write_text("a file, where the folder would be")
    with Projected(log, Chains()) as projected:
        assert projected.catch_up() == 50
        fill(log, "b", 5)
        assert projected.catch_up() == 55
        assert chains(projected) == undisturbed(log)


def test_several_handles_move_the_same_rows_beside_a_live_writer(log: EventLog) -> None:
    done = threading.Event()

    def keep() -> None:
        with closing(open_log(log.url, mode="read")) as reader, Projected(reader, Chains()) as projected:
            while not done.is_set():
                projected.catch_up()

    keepers = [threading.Thread(target=keep) for _ in range(3)]
    for keeper in keepers:
        keeper.start()
    for number in range(30):
        fill(log, f"s{number}", 10, each=4)
    done.set()
    for keeper in keepers:
        keeper.join()
    with Projected(log, Chains()) as projected:
        projected.catch_up()
        assert chains(projected) == undisturbed(log)
