"""Questions see the rows that follow from a log up to a position, wherever these lie."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from telemetry.errors import InvalidQuery, QueryRefused, TracesDamaged, TracesRefused
from telemetry.events import Draft, session
from telemetry.log import EventLog, open_log
from telemetry.query.engine import Engine, ask
from telemetry.query.rows.catalogue import KINDS
from telemetry.query.rows.tables import rows_of
from telemetry.query.shape import Column
from telemetry.query.statement import read_statement
from telemetry.query.traces.writer import Traces
from telemetry.query.views import type_in_sql
from tests.in_turns import closings, fill_in_turns, fill_with_shapes, forked
from tests.questions import told


def keep(log: EventLog, folder: Path, *, to: int | None = None) -> str:
    with Traces(log, folder) as traces:
        traces.drain(to=log.position() if to is None else to)
    return str(folder)


@pytest.fixture
def lagging(log: EventLog, tmp_path: Path) -> str:
    """Traces of a log that has gone on in the middle of cycles."""
    fill_in_turns(log, ("maze", "refund"))
    folder = keep(log, tmp_path / "traces")
    fill_in_turns(log, ("lava",))
    fill_with_shapes(log)
    return folder


def test_without_parquet_every_view_holds_the_rows_that_follow_from_the_log(log: EventLog) -> None:
    fill_in_turns(log)
    fill_with_shapes(log)
    rows = rows_of(log, after=0)
    with Engine(log) as engine:
        for kind in KINDS:
            with engine.ask(f"SELECT * FROM {kind} ORDER BY position, event") as answer:
                assert answer.read().num_rows == rows[kind].num_rows, kind
        assert engine.from_log == log.position()


def test_while_parquet_lags_every_row_is_there_once(log: EventLog, lagging: str) -> None:
    with Engine(log, traces=lagging) as with_parquet, Engine(log) as without:
        assert 0 < with_parquet.from_log < without.from_log
        for kind in KINDS:
            sql = f"SELECT * FROM {kind} ORDER BY ALL"
            assert with_parquet.ask(sql).read() == without.ask(sql).read(), kind


def test_pinned_to_a_position_it_sees_what_stood_then_wherever_rows_lie(log: EventLog, lagging: str) -> None:
    for position in (1, 57, 130, 200, log.position() - 1):
        then = rows_of(log, after=0, to=position)
        for traces in (None, lagging):
            with Engine(log, traces=traces, as_of=position) as engine:
                for kind in ("events", "cycles", "actions", "model_calls", "surprises"):
                    found = engine.ask(f"SELECT event FROM {kind} ORDER BY position, event").read()
                    expected = then[kind].sort_by([("position", "ascending"), ("event", "ascending")])
                    assert found["event"].to_pylist() == expected["event"].to_pylist(), (position, kind, traces)


def test_what_was_completed_after_the_pin_is_not_seen_though_it_was_begun_before(log: EventLog) -> None:
    fill_in_turns(log, ("maze",))
    (first,) = told(log, "SELECT event, outcome_event, version FROM actions ORDER BY version LIMIT 1")
    (outcome,) = (event.position for event in log.read_all() if event.id == first["outcome_event"])
    assert told(log, "SELECT event FROM actions", as_of=outcome - 1) == []
    assert told(log, "SELECT event FROM actions", as_of=outcome) == [{"event": first["event"]}]


def test_the_pin_is_where_the_log_ends_when_it_is_asked_and_stays(log: EventLog) -> None:
    fill_in_turns(log, ("maze",))
    end = log.position()
    with Engine(log) as engine:
        fill_in_turns(log, ("lava",))
        with engine.ask("SELECT max(position) AS last FROM events") as answer:
            assert (answer.as_of, answer.read().to_pylist()) == (end, [{"last": end}])


def test_a_position_that_the_log_does_not_have_is_refused(log: EventLog) -> None:
    fill_in_turns(log, ("maze",))
    with pytest.raises(InvalidQuery, match=f"9999 is no position of .*, which ends at {log.position()}"):
        Engine(log, as_of=9999)


def test_every_column_of_every_view_can_be_written_without_quotes_and_has_the_type_that_is_said(log: EventLog) -> None:
    with Engine(log) as engine:
        for kind in KINDS.values():
            names = [column.name for column in kind.columns]
            with engine.ask(f"SELECT {', '.join(names)} FROM {kind.name} ORDER BY {names[-1]}") as answer:
                said = tuple(Column(one.name, type_in_sql(one.type)) for one in kind.columns)
                assert answer.columns == said, kind.name


def test_traces_of_another_log_or_of_another_history_are_refused(log: EventLog, tmp_path: Path) -> None:
    fill_in_turns(log, ("maze",))
    folder = keep(log, tmp_path / "traces")
    other = open_log(tmp_path / "other.db")
    fill_in_turns(other, ("maze",))
    with pytest.raises(TracesRefused, match="are not of"):
        Engine(other, traces=folder)
    other.close()


def test_a_file_of_the_traces_that_is_gone_is_said_to_be(log: EventLog, tmp_path: Path) -> None:
    fill_in_turns(log, ("maze",))
    folder = keep(log, tmp_path / "traces")
    for file in Path(folder).glob("events/**/*.parquet"):
        file.unlink()
    with pytest.raises(TracesDamaged, match="The log is intact"):
        told(log, "SELECT * FROM events", traces=folder)
    assert told(log, "SELECT count(*) AS n FROM rewards", traces=folder) == [{"n": 6}]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT cycl FROM events", "there is no column 'cycl'; did you mean 'cycle'?"),
        ("SELECT * FROM event", "there is no view 'event'; did you mean 'events'?"),
        ("SELECT e.tipe FROM events e", "there is no column 'tipe'; did you mean 'type'?"),
        ("SELECT flor(1)", "there is no function 'flor'; did you mean 'floor'?"),
        ("SELEC 1", 'syntax error at or near "SELEC"\nLINE 1: SELEC 1'),
        ("", "the query is empty"),
        ("SELECT type FROM events GROUP BY cycle", 'column "type" must appear in the GROUP BY clause'),
        ("SELECT payload::INTEGER FROM events", "Could not convert string"),
        ("SELECT 2::HUGEINT * 9223372036854775807 AS n", "'n' has more than 64 bits"),
        ("SELECT " + "(" * 5000 + "1" + ")" * 5000, "nested too deeply"),
        ("SELECT $a", "the query's parameter $a has no value"),
        ("SELECT ?", "parameters have names here"),
    ],
)
def test_what_is_wrong_with_a_query_is_said_with_what_may_have_been_meant(log: EventLog, sql: str, said: str) -> None:
    fill_in_turns(log, ("maze",))
    with pytest.raises((InvalidQuery, QueryRefused)) as raised:
        told(log, sql)
    assert said in str(raised.value)


def test_parameters_are_values_and_never_sql(log: EventLog) -> None:
    fill_in_turns(log, ("maze",))
    sql = "SELECT count(*) AS n FROM events WHERE session = $session AND cycle >= $cycle"
    assert told(log, sql, {"session": "maze", "cycle": "6"})[0]["n"] > 0
    assert told(log, sql, {"session": "maze' OR 'a' = 'a", "cycle": 0}) == [{"n": 0}]
    since = told(log, "SELECT count(*) AS n FROM events WHERE recorded_at < $t", {"t": datetime.now(UTC)})
    assert since == [{"n": log.position()}]
    with pytest.raises(InvalidQuery, match=r"no parameter \$sesion; did you mean 'session'"):
        told(log, sql, {"session": "maze", "cycle": 1, "sesion": "maze"})


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT random()",
        "SELECT current_date",
        "SELECT count(*) FROM events WHERE recorded_at > now()",
        "SELECT * FROM events LIMIT 3",
        "SELECT list(type) FROM events",
        "SELECT first(type) FROM events",
        "SELECT row_number() OVER () FROM events",
        "SELECT * FROM events USING SAMPLE 10%",
        "SELECT age(recorded_at) FROM events",
    ],
)
def test_what_may_answer_otherwise_another_time_is_not_repeatable(log: EventLog, sql: str) -> None:
    with pytest.raises(InvalidQuery, match="may answer otherwise another time"):
        ask(log, sql, repeatable=True)
    ask(log, sql).close()


def test_a_log_that_grows_is_read_while_it_is_written(log: EventLog) -> None:
    for number in range(3):
        log.append(
            "a", [Draft(event=session.CycleOpened(cycle=1), command=str(number))], expected_version=number, epoch=1
        )
        assert told(log, "SELECT count(*) AS n FROM events") == [{"n": number + 1}]


@pytest.mark.parametrize(
    ("sql", "narrow"),
    [
        ("SELECT * FROM events WHERE session = $session", {"events"}),
        ("SELECT * FROM events e WHERE 'session/maze' = e.stream AND cycle > 1", {"events"}),
        ("WITH a AS (FROM cycles WHERE session = $session) FROM a", {"cycles"}),
        ("SELECT * FROM events WHERE session = $session UNION ALL SELECT * FROM events WHERE stream = 'a'", {"events"}),
        ("SELECT * FROM events WHERE session = $session UNION ALL SELECT * FROM events", set()),
        ("SELECT * FROM events WHERE session = $session OR cycle = 1", set()),
        ("SELECT * FROM events WHERE NOT session = $session", set()),
        ("SELECT * FROM events e JOIN cycles c USING (stream) WHERE e.session = $session", set()),
        ("SELECT * FROM events AS e(session) WHERE session = $session", set()),
        ("WITH events AS (SELECT count(*) AS session FROM events) FROM events WHERE session = $session", set()),
        ("SELECT * FROM events WHERE session = $session::VARCHAR", set()),
        ("SELECT (SELECT max(c.cycle) FROM cycles c WHERE c.session = e.session) FROM events e", set()),
        ("SELECT * FROM events e WHERE other.session = $session", set()),
    ],
)
def test_a_view_is_narrow_only_where_all_that_reads_it_asks_for_one_session(sql: str, narrow: set[str]) -> None:
    assert set(read_statement(sql).narrow) == narrow


def test_what_is_asked_of_one_session_is_found_wherever_its_rows_lie(log: EventLog, tmp_path: Path) -> None:
    fill_in_turns(log, ("maze", "refund"))
    forked(log, "maze", "fork", at_version=next(iter(closings("maze"))))
    folder = keep(log, tmp_path / "traces")
    fill_in_turns(log, ("lava",))
    fill_with_shapes(log)
    for traces in (None, folder):
        with Engine(log, traces=traces) as narrow, Engine(log, traces=traces) as wide:
            for session_ in ("maze", "refund", "lava", "fork", "nobody"):
                for kind in ("events", "cycles", "lineage", "actions"):
                    found = narrow.ask(f"SELECT * FROM {kind} WHERE session = $s ORDER BY ALL", {"s": session_}).read()
                    sql = f"SELECT * FROM {kind} WHERE session || '' = $s ORDER BY ALL"
                    assert found == wide.ask(sql, {"s": session_}).read(), (session_, kind)
            assert narrow.ask("SELECT count(*) AS n FROM events").read().to_pylist() == [{"n": log.position()}]


def test_only_the_files_that_can_hold_a_sessions_rows_are_opened(log: EventLog, tmp_path: Path) -> None:
    fill_in_turns(log, ("maze",))
    keep(log, tmp_path / "traces")
    fill_in_turns(log, ("lava",))
    folder = keep(log, tmp_path / "traces")
    for file in Path(folder).glob("events/**/*.parquet"):
        if pq.read_table(file)["session"][0].as_py() == "lava":
            file.unlink()
    assert len(told(log, "SELECT * FROM events WHERE session = 'maze'", traces=folder)) == 147
    with pytest.raises(TracesDamaged):
        told(log, "SELECT * FROM events WHERE session = 'lava'", traces=folder)


def test_traces_that_lie_elsewhere_are_asked_through_their_file_system_alone(log: EventLog) -> None:
    fill_in_turns(log, ("maze",))
    url = f"memory://traces-{log.id}"
    with Traces(log, url) as traces:
        traces.drain(to=log.position())
    fill_in_turns(log, ("lava",))
    with Engine(log, traces=url) as engine:
        assert engine.from_log == 142
        assert engine.ask("SELECT count(*) AS n FROM events").read().to_pylist() == [{"n": log.position()}]
        with engine.ask("SELECT 1"), pytest.raises(duckdb.Error, match="disabled by configuration"):
            engine._connection.execute(f"COPY (SELECT 1) TO '{url}/evil.csv'")
