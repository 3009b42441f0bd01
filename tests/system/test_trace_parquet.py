"""`aether trace export --parquet` as a user runs it, and traces that are kept beside a run."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from telemetry.log import EventLog, open_log
from telemetry.query.traces.manifest import read
from telemetry.query.traces.place import place_of
from telemetry.query.traces.writer import Traces
from tests.aether import Aether, wait_until
from tests.in_turns import fill_in_turns
from tests.kept_rows import assert_kept


@pytest.fixture
def log(aether: Aether) -> Iterator[EventLog]:
    """The log that commands find where they look for one."""
    aether.home.mkdir()
    store = open_log(aether.log)
    fill_in_turns(store, ("refund",))
    yield store
    store.close()


def test_it_keeps_what_is_there_and_next_time_what_came_since(aether: Aether, log: EventLog) -> None:
    beside = Path(f"{log.url}.traces")
    ran = aether("trace", "export", "--parquet", "beside")
    assert (ran.code, ran.out) == (0, f"{beside}: rows of 143 events, up to position 143; nothing waits\n")
    fill_in_turns(log, ("lava",))
    again = aether("trace", "export", "--parquet", "beside", "--json")
    (row,) = again.rows
    assert row == {"traces": str(beside), "position": 285, "events": 142, "waiting": 0}
    assert assert_kept(place_of(beside), log) == 285


def test_it_follows_until_ctrl_c_and_what_it_has_seen_is_on_disk(aether: Aether, log: EventLog, tmp_path: Path) -> None:
    folder, terminal = tmp_path / "kept", {"TERM": "xterm"}
    command = ("trace", "export", "--parquet", str(folder), "--follow")
    with aether.start(*command, terminal=True, env=terminal) as started:
        wait_until(lambda: "up to position 143 of" in started.shown(), what="what was there is seen")
        fill_in_turns(log, ("lava",))
        wait_until(lambda: "up to position 285 of" in started.shown(), what="what came is seen")
        assert read(place_of(folder)) is None, "it is not on disk yet"
        started.signal_group(signal.SIGINT)
        ran = started.end()
    assert ran.code == 130
    assert "rows of 285 events, up to position 285; nothing waits" in ran.out
    assert assert_kept(place_of(folder), log) == 285


def test_a_second_keeper_is_exit_6_and_a_folder_of_another_log_exit_2(
    aether: Aether, log: EventLog, tmp_path: Path
) -> None:
    with Traces(log, tmp_path / "kept"):
        ran = aether("trace", "export", "--parquet", str(tmp_path / "kept"))
    assert ran.code == 6
    assert "writes the traces in" in ran.err
    other = aether("trace", "export", "--parquet", str(tmp_path / "kept"), "--log", str(tmp_path / "other.db"))
    assert other.code == 3, "there is no such log"
    with closing(open_log(tmp_path / "other.db")):
        other = aether("trace", "export", "--parquet", str(tmp_path / "kept"), "--log", str(tmp_path / "other.db"))
    assert other.code == 2
    assert "of another log" in other.err


@pytest.mark.parametrize("more", [("--console",), ("--from", "3"), ("--as", "x"), ("--record", "digest")])
def test_what_does_not_go_with_rows_is_exit_2(aether: Aether, log: EventLog, more: tuple[str, ...]) -> None:
    ran = aether("trace", "export", "--parquet", "beside", *more)
    assert ran.code == 2
    assert "--parquet goes with" in ran.err
    assert not Path(f"{log.url}.traces").exists()


def test_a_run_keeps_its_rows_beside_it(aether: Aether) -> None:
    env = {"AETHER_TELEMETRY_PARQUET": "beside"}
    ran = aether("run", "examples/maze.toml", "--sessions", "2", "--cycles", "10", "--json", env=env)
    assert ran.code == 0, ran.err
    assert ran.json["telemetry"] == []
    with closing(open_log(aether.log, mode="read")) as log:
        assert assert_kept(place_of(f"{log.url}.traces"), log) == log.position()
