"""Rows of a projection in a file beside the log: made again where they cannot be trusted, and in memory where nothing
can be written. What holds on every store, `tests/contract/test_project.py` says."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from telemetry.log import EventLog, open_log
from telemetry.log.projection.project import Projected
from tests.contract.stores import fill
from tests.projections import Chains, chains, undisturbed


def file_of(log: EventLog) -> Path:
    return Path(f"{log.url}.projections") / "chains.db"


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
