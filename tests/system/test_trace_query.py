"""`aether trace query` as a user runs it: on a terminal, into pipes and files, wrong, and interrupted."""

from __future__ import annotations

import csv
import io
import json
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import aetherloop
from telemetry.log import EventLog, open_log
from tests.aether import Aether, wait_until
from tests.in_turns import fill_in_turns, fill_with_shapes

BY_TYPE = "SELECT type, count(*) AS n FROM events GROUP BY type ORDER BY n DESC, type LIMIT 2"
ENDLESS = "SELECT count(*) FROM events a, events b, events c, events d, events e WHERE a.payload < e.payload"


@pytest.fixture
def log(aether: Aether) -> Iterator[EventLog]:
    """The log that the command finds, with sessions that were recorded once."""
    with closing(open_log(aether.log)) as store:
        fill_in_turns(store)
        yield store


def test_rows_go_to_a_pipe_as_a_document_a_line_and_talk_to_stderr(aether: Aether, log: EventLog) -> None:
    done = aether("trace", "query", BY_TYPE)
    assert (done.code, done.err) == (0, "")
    assert [json.loads(line)["type"] for line in done.out.splitlines()] == ["feel.appraised", "reason.proposed"]


def test_on_a_terminal_they_are_a_table_that_says_where_it_was_cut(aether: Aether, log: EventLog) -> None:
    with aether.start("trace", "query", "SELECT type, cycle FROM events", "--rows", "3", terminal=True) as started:
        shown = started.end().out.replace("\r", "").splitlines()
    assert shown[0].split() == ["type", "cycle"]
    assert len(shown) == 5
    assert shown[4].startswith("(first 3 rows; all of them: --rows 0, or --format json, as of position ")


def test_a_row_that_is_too_wide_for_the_terminal_is_a_block_and_nothing_in_it_moves_the_cursor(
    aether: Aether, log: EventLog
) -> None:
    sql = "SELECT chr(27) || '[2J' AS evil, repeat('x', 300) AS long, null AS missing"
    done = aether("trace", "query", sql, "--format", "table", env={"COLUMNS": "40"})
    assert done.out.splitlines() == ["— 1 —", "evil      [2J", f"long     {'x' * 59}…", "missing  —"]
    assert "(1 row, as of position" in done.err


def test_csv_and_parquet_hold_what_the_rows_hold(aether: Aether, log: EventLog, tmp_path: Path) -> None:
    sql = "SELECT event, sources, recorded_at, reward FROM rewards ORDER BY position"
    rows = [json.loads(line) for line in aether("trace", "query", sql).out.splitlines()]
    done = aether("trace", "query", sql, "--format", "csv")
    read = list(csv.DictReader(io.StringIO(done.out)))
    assert [(row["event"], json.loads(row["sources"]), row["recorded_at"], float(row["reward"])) for row in read] == [
        (row["event"], row["sources"], row["recorded_at"], row["reward"]) for row in rows
    ]
    file = tmp_path / "rewards.parquet"
    assert aether("trace", "query", sql, "--out", str(file)).code == 0
    assert pq.read_table(file)["event"].to_pylist() == [row["event"] for row in rows]
    assert [path.name for path in tmp_path.iterdir()] == ["rewards.parquet"]


def test_what_failed_leaves_the_file_that_stood_there(aether: Aether, log: EventLog, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    file.write_text("before", encoding="utf-8")
    done = aether("trace", "query", "SELECT payload::INT FROM events", "--out", str(file))
    assert (done.code, file.read_text(encoding="utf-8")) == (2, "before")
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert aether("trace", "query", "SELECT 1", "--out", str(aether.log)).code == 2


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["SELECT sesion FROM events"], 2, "there is no column 'sesion'; did you mean 'session'?"),
        (["COPY events TO 'x'"], 2, "only a SELECT is answered, and this is COPY"),
        (["SELECT 1; SELECT 2"], 2, "one SELECT at a time"),
        (["timelin"], 2, "there is no saved query 'timelin'; did you mean 'timeline'?"),
        (["timeline"], 2, "asks for $session: Its id. Try: --param session="),
        (["timeline", "-p", "session"], 2, "it looks like --param NAME=VALUE"),
        (["events"], 2, "events is a view and no saved query. Try: SELECT * FROM events"),
        ([], 2, "Try: aether trace query --list"),
        (["--list", "event"], 3, "there is no view or saved query 'event'; did you mean 'events'?"),
        (["SELECT 1", "--memory", "lots"], 2, "'lots' is no size; one looks like 512MB or 4GiB"),
        (["SELECT 1", "--as-of", "99999"], 2, "99999 is no position of"),
        (["SELECT 1", "--log", "/nowhere/a.db"], 3, "/nowhere/a.db"),
        (["SELECT 1", "--traces", "nowhere"], 3, "there are no traces in"),
        (["SELECT list(a.payload) FROM events a, events b, events c", "--memory", "64MiB"], 1, "more than the 64 MiB"),
    ],
)
def test_what_cannot_be_answered_ends_as_the_table_of_exit_codes_says(
    aether: Aether, log: EventLog, arguments: list[str], code: int, said: str
) -> None:
    done = aether("trace", "query", *arguments)
    assert (done.code, done.out) == (code, "")
    assert said in done.err


def test_an_error_is_a_document_where_documents_are_asked_for(aether: Aether, log: EventLog) -> None:
    done = aether("trace", "query", "SELECT 1 FROM nothing", "--json")
    assert done.code == 2
    assert done.json["error"]["type"] == "QueryRefused"


def test_ctrl_c_stops_it_at_once(aether: Aether, log: EventLog) -> None:
    with aether.start("trace", "query", ENDLESS, terminal=True) as started:
        aside = Path(aether.env["TMPDIR"])
        wait_until(lambda: any(aside.glob("aether-query-*")), what="the query's beginning")
        started.signal_group(signal.SIGINT)
        done = started.end()
    assert (done.code, "aether: interrupted" in done.out) == (130, True)
    assert list(aside.glob("aether-query-*")) == []


def test_a_saved_query_is_asked_by_its_name_and_one_of_ones_own_too(aether: Aether, log: EventLog) -> None:
    done = aether("trace", "query", "timeline", "-p", "session=maze", "-p", "cycle=2")
    assert {json.loads(line)["cycle"] for line in done.out.splitlines()} == {2}
    folder = aether.home / "queries"
    folder.mkdir()
    (folder / "long.sql").write_text("-- Mine.\n-- $least int = 1: Least.\nSELECT $least AS least", encoding="utf-8")
    assert aether("trace", "query", "long", "-p", "least=7").out == '{"least":7}\n'
    listed = aether("trace", "query", "--list", "--json").rows
    assert {"events", "timeline", "long"} <= {row["name"] for row in listed}
    assert "SELECT $least AS least" in aether("trace", "query", "--list", "long").out
    assert "recorded_at" in aether("trace", "query", "--list", "events").out


def test_python_gets_arrow_pandas_polars_and_batches(log: EventLog) -> None:
    sql = "SELECT type, count(*) AS n FROM events WHERE session = $session GROUP BY type ORDER BY n DESC, type"
    found = aetherloop.query(sql, parameters={"session": "maze"}, log=log)
    table = found.arrow()
    assert found.pandas()["n"].tolist() == table["n"].to_pylist() == found.polars()["n"].to_list()
    assert [column.type for column in found.columns] == ["VARCHAR", "BIGINT"]
    again = aetherloop.query(sql, parameters={"session": "maze"}, log=log, as_of=found.as_of)
    assert [row for batch in again.batches(rows=2) for row in batch.to_pylist()] == table.to_pylist()
    with aetherloop.query("SELECT * FROM events", log=log.url) as stopped:
        assert next(stopped.batches(rows=1)).num_rows == 1
    assert aetherloop.query("returns", log=log).arrow().num_rows == 3


def test_rows_that_are_kept_beside_the_log_are_found_there_and_what_came_since_is_added(
    aether: Aether, log: EventLog
) -> None:
    before = log.position()
    assert aether("trace", "export", "--parquet", "beside").code == 0
    fill_with_shapes(log)
    with aetherloop.query("SELECT count(*) AS n FROM events", log=log) as found:
        assert found.from_log == log.position() - before
        assert found.arrow().to_pylist() == [{"n": log.position()}]
    done = aether("trace", "query", "SELECT count(*) AS n FROM events", "--as-of", str(before))
    assert done.out == f'{{"n":{before}}}\n'
