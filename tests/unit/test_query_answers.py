"""Answers are streamed, bounded, and of types that others read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from telemetry.errors import InvalidQuery, QueryStopped, QueryTooLarge
from telemetry.log import EventLog
from telemetry.query.engine import MIB, Engine, Limits, ask
from tests.in_turns import fill_in_turns
from tests.questions import told

ENDLESS = "SELECT a.payload FROM events a, events b, events c, events d, events e"


def test_sums_of_whole_numbers_are_whole_numbers_and_equal_names_are_told_apart(log: EventLog) -> None:
    fill_in_turns(log, ("maze",))
    with ask(log, "SELECT sum(cycle) AS n, 1 AS n, 2 AS n_1 FROM events") as answer:
        assert [column.name for column in answer.columns] == ["n", "n_1", "n_1_1"]
        table = answer.read()
        assert table.schema.types == [pa.int64(), pa.int32(), pa.int32()]


def test_spans_of_time_are_durations(log: EventLog) -> None:
    fill_in_turns(log, ("maze",))
    with ask(log, "SELECT max(recorded_at) - min(recorded_at) AS span, null::INTERVAL AS none FROM events") as answer:
        table = answer.read()
    assert table.schema.types == [pa.duration("us")] * 2
    (row,) = table.to_pylist()
    (ends,) = told(log, "SELECT max(recorded_at) AS last, min(recorded_at) AS first FROM events")
    assert row == {"span": ends["last"] - ends["first"], "none": None}


@pytest.mark.parametrize(
    "value", ["1::VARIANT", "'101'::BIT", "5::BIGNUM", "[5::HUGEINT]", "{'a': INTERVAL 1 DAY}", "union_value(u := 1)"]
)
def test_what_rows_cannot_carry_is_named_and_not_garbled(log: EventLog, value: str) -> None:
    with pytest.raises(InvalidQuery, match="which rows cannot carry"):
        told(log, f"SELECT {value} AS v")
    assert told(log, "SELECT 'BIT'::ENUM('BIT', 'x') AS v") == [{"v": "BIT"}]
    with pytest.raises(InvalidQuery, match="has months"):
        told(log, "SELECT INTERVAL 2 MONTH AS v")


def test_an_answer_without_rows_has_its_columns(log: EventLog) -> None:
    with ask(log, "SELECT type, cycle FROM events") as answer:
        (batch,) = answer.batches()
        assert (batch.num_rows, batch.schema.names) == (0, ["type", "cycle"])


def test_a_query_that_needs_more_memory_than_it_may_take_ends_with_what_to_do(log: EventLog) -> None:
    fill_in_turns(log)
    limits = Limits(memory_bytes=64 * MIB, disk_bytes=MIB)
    sql = "SELECT list(a.payload || b.payload) FROM events a, events b"
    with pytest.raises(QueryTooLarge, match="more than the 64 MiB of memory that it may take"):
        told(log, sql, limits=limits)
    assert told(log, "SELECT count(*) AS n FROM events", limits=limits) == [{"n": log.position()}]


def test_what_does_not_fit_in_memory_is_put_aside_on_disk_and_removed_after(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "aside"))
    (tmp_path / "aside").mkdir()
    limits = Limits(memory_bytes=64 * MIB, threads=1)
    sql = "SELECT repeat('x', 100) || (n * 7919 % 1000003) AS t FROM range(1000000) AS r(n) ORDER BY t DESC"
    with ask(log, sql, limits=limits) as answer:
        assert sum(batch.num_rows for batch in answer.batches()) == 1_000_000
    assert list((tmp_path / "aside").iterdir()) == []


def test_it_is_stopped_from_another_thread_and_the_next_question_is_answered(log: EventLog) -> None:
    fill_in_turns(log)
    with Engine(log) as engine:
        with engine.ask(f"SELECT count(*) FROM ({ENDLESS})") as answer:
            threading.Timer(0.2, answer.cancel).start()
            with pytest.raises(QueryStopped):
                answer.read()
        with engine.ask("SELECT count(*) AS n FROM events") as answer:
            assert answer.read().to_pylist() == [{"n": log.position()}]


def test_it_is_stopped_although_it_began_only_after_that(log: EventLog) -> None:
    fill_in_turns(log)
    with ask(log, f"SELECT count(*) FROM ({ENDLESS})") as answer:
        answer.cancel()
        with pytest.raises(QueryStopped):
            answer.read()


@pytest.mark.parametrize("where", ["engine.read_statement", "views.Views.make"])
def test_ctrl_c_in_the_middle_of_duckdbs_work_is_a_keyboard_interrupt(
    log: EventLog, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    fill_in_turns(log)
    alone = Limits(threads=1)  # what another of DuckDB's threads has begun goes on to its end, and DuckDB waits for it
    with Engine(log, limits=alone) as engine:
        work = "CREATE TABLE made_long AS SELECT count(*) AS n FROM range(1_000_000_000_000)"

        def make(*_: object, **__: object) -> None:
            threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()  # not before it is awaited
            engine._connection.execute(work)

        with monkeypatch.context() as it_takes_long:
            it_takes_long.setattr(f"telemetry.query.{where}", make)
            with pytest.raises(KeyboardInterrupt):
                engine.ask("SELECT count(*) AS n FROM events")
        with engine.ask("SELECT count(*) AS n FROM events") as answer:
            assert answer.read().to_pylist() == [{"n": log.position()}]


def test_who_reads_only_the_beginning_pays_for_no_more(log: EventLog) -> None:
    fill_in_turns(log)
    with ask(log, ENDLESS) as answer:
        batches = answer.batches(rows=100)
        assert next(batches).num_rows > 0
    assert next(batches, None) is None


def test_answers_of_any_size_take_bounded_memory(tmp_path: Path) -> None:
    """A gigabyte of rows is read in a process that may take a third of that."""
    script = (
        "import resource, sys\n"
        "from telemetry.log import open_log\n"
        "from telemetry.query.engine import MIB, Limits, ask\n"
        "log = open_log(sys.argv[1])\n"
        "ask(log, 'SELECT 1').close()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "sql = \"SELECT n, repeat('x', 1000) AS t FROM range(1000000) AS r(n)\"\n"
        "with ask(log, sql, limits=Limits(memory_bytes=128 * MIB)) as answer:\n"
        "    print(sum(batch.num_rows for batch in answer.batches()))\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "log.db")], capture_output=True, text=True, check=True
    )
    rows, grown_mib = done.stdout.split()
    assert (rows, int(grown_mib) < 330) == ("1000000", True), done.stdout
