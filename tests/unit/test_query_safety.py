"""A query reads the views of its log and does nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from telemetry.errors import InvalidQuery, QueryRefused
from telemetry.log import EventLog, open_log
from telemetry.query.engine import Engine
from telemetry.query.functions import CHANGING, HARMLESS, REFUSED, TABLE_FUNCTIONS
from telemetry.query.statement import read_statement
from telemetry.query.traces.writer import Traces
from tests.in_turns import fill_in_turns

WRITING = [
    "COPY (SELECT 1) TO '{folder}/evil.csv'",
    "COPY events TO '{folder}/evil.parquet'",
    "COPY (SELECT 1) TO '{file}'",
    "WITH x AS (COPY (SELECT 1) TO '{folder}/evil.csv') SELECT * FROM x",
    "WITH x AS (COPY (SELECT 1) TO '{file}') SELECT * FROM x",
    "SELECT * FROM (WITH x AS (COPY (SELECT 1) TO '{file}') FROM x) AS y",
    "SELECT (WITH x AS (COPY (SELECT 1) TO '{file}') SELECT count(*) FROM x)",
    "WITH x AS (INSERT INTO tail.events FROM tail.events RETURNING *) FROM x",
    "WITH x AS (DELETE FROM tail.events RETURNING *) FROM x",
    "WITH x AS (UPDATE tail.events SET cycle = 1 RETURNING *) FROM x",
    "INSERT INTO tail.events FROM tail.events",
    "DELETE FROM tail.events",
    "MERGE INTO tail.events USING events e ON true WHEN MATCHED THEN DELETE",
    "CREATE TABLE t AS FROM events",
    "CREATE OR REPLACE VIEW events AS SELECT 1",
    "DROP VIEW events",
    "ALTER VIEW events RENAME TO e",
    "EXPORT DATABASE '{folder}/all'",
    "IMPORT DATABASE '{folder}'",
    "ATTACH '{folder}/evil.db'",
    "ATTACH '{folder}/evil.db' AS evil",
    "CREATE SECRET s (TYPE s3)",
    "CHECKPOINT",
    "VACUUM",
    "BEGIN",
]
SETTING = [
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{folder}/evil.duckdb_extension'",
    "PRAGMA database_list",
    "PRAGMA enable_profiling",
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "RESET lock_configuration",
    "SET VARIABLE x = 1",
    "USE main",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "CALL pragma_version()",
    "SELECT * FROM enable_logging()",
    "SELECT * FROM register_external_resource('a', 'b')",
    "SELECT * FROM add_grammar_extension('x')",
]
READING = [
    "SELECT * FROM '{file}'",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('{file}')",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_parquet('{file}')",
    "SELECT * FROM parquet_metadata('{file}')",
    "SELECT * FROM read_json('http://127.0.0.1:9/')",
    "SELECT * FROM read_csv('s3://bucket/key')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM glob('/*')",
    "SELECT (SELECT max(content) FROM read_text('/etc/passwd'))",
    "SELECT * FROM events WHERE type IN (SELECT content FROM read_text('/etc/passwd'))",
    "SELECT * FROM events JOIN LATERAL (SELECT * FROM read_text('/etc/passwd')) ON true",
    "FROM (PIVOT read_text('/etc/passwd') ON filename IN ('a') USING count(*))",
    "SELECT * FROM tail.events",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_settings",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM (WITH duckdb_settings AS (SELECT 1) FROM duckdb_settings), duckdb_settings",
    "WITH duckdb_settings AS (FROM duckdb_settings) FROM duckdb_settings",
    "SELECT getenv('HOME')",
    "SELECT current_setting('allowed_paths')",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('events')",
    "SELECT * FROM json_execute_serialized_sql('{{}}')",
    "SELECT * FROM secret_of_the_caller",
    "SHOW TABLES",
    "SHOW ALL TABLES",
]
MANY = ["SELECT 1; SELECT 2", "SELECT 1; DROP VIEW events", "EXPLAIN SELECT 1", "EXPLAIN ANALYZE SELECT 1"]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventLog]:
    with closing(open_log(tmp_path_factory.mktemp("safety") / "log.db")) as log:
        yield log


@pytest.fixture(scope="module")
def folder(log: EventLog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the rows of half of the log lie."""
    folder = tmp_path_factory.mktemp("traces")
    fill_in_turns(log, ("maze",))
    with Traces(log, folder) as traces:
        traces.drain(to=log.position())
    fill_in_turns(log, ("lava",))
    return folder


@pytest.fixture
def engine(log: EventLog, folder: Path) -> Iterator[Engine]:
    with Engine(log, traces=str(folder)) as engine:
        yield engine


@pytest.mark.parametrize("sql", [*WRITING, *SETTING, *READING, *MANY])
def test_what_is_not_one_select_over_the_views_is_refused_and_nothing_changes(
    engine: Engine, log: EventLog, folder: Path, sql: str
) -> None:
    secret_of_the_caller = ["a variable of the caller is no table"]
    before, end = _contents(folder), log.position()
    file = next(folder.rglob("*.parquet"))
    with pytest.raises((QueryRefused, InvalidQuery)):
        engine.ask(sql.format(folder=folder, file=file)).read()
    assert _contents(folder) == before
    assert log.position() == end
    with engine.ask("SELECT count(*) AS n FROM events") as answer:
        assert answer.read().to_pylist() == [{"n": end}]
    assert secret_of_the_caller


@pytest.mark.parametrize(
    "sql", [*WRITING[:2], *WRITING[7:9], *WRITING[17:21], *SETTING[:3], *SETTING[5:8], *READING[1:3]]
)
def test_without_the_check_of_its_tree_it_would_meet_the_locked_configuration_or_the_transaction(
    engine: Engine, folder: Path, sql: str
) -> None:
    with engine.ask("SELECT count(*) FROM events"):
        before = _contents(folder)
        file = next(folder.rglob("*.parquet"))
        with pytest.raises(duckdb.Error):
            engine._connection.execute(sql.format(folder=folder, file=file)).fetchall()
        assert _contents(folder) == before


def test_a_copy_inside_with_is_a_select_to_duckdb_and_could_write_over_what_may_be_read(tmp_path: Path) -> None:
    """Why neither the statement's type nor the allowed folders are enough. A DuckDB in which this fails needs less."""
    target = tmp_path / "readable" / "evil.csv"
    target.parent.mkdir()
    sql = f"WITH x AS (COPY (SELECT 1) TO '{target}') SELECT * FROM x"
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"SET allowed_directories = ['{target.parent}']")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        (statement,) = connection.extract_statements(sql)
        assert statement.type == duckdb.StatementType.SELECT
        connection.execute(sql).fetchall()
    assert target.exists()


def test_of_every_function_that_has_effects_it_is_said_what_becomes_of_it() -> None:
    with duckdb.connect(":memory:") as connection:
        found = connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() WHERE has_side_effects OR stability = 'VOLATILE'"
        ).fetchall()
    assert {name for (name,) in found} <= REFUSED | CHANGING | HARMLESS


def test_of_every_function_that_tells_of_the_moment_it_is_known_that_it_does() -> None:
    """Those with arguments depend on the time zone, which is UTC and locked."""
    with duckdb.connect(":memory:") as connection:
        found = connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() "
            "WHERE stability = 'CONSISTENT_WITHIN_QUERY' AND len(parameters) = 0"
        ).fetchall()
    assert {name for (name,) in found} <= REFUSED | CHANGING | {"current_database", "current_schema"}


def test_of_all_functions_that_give_tables_only_those_that_make_them_of_their_arguments_pass() -> None:
    with duckdb.connect(":memory:") as connection:
        found = connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type IN ('table', 'table_macro')"
        ).fetchall()
        names = {name for (name,) in found}
        assert names > TABLE_FUNCTIONS - {"unnest"}
        for name in sorted(names - TABLE_FUNCTIONS):
            with pytest.raises(QueryRefused):
                read_statement(f'SELECT * FROM "{name}"()', parser=connection)


@pytest.mark.parametrize(
    "sql",
    [
        "FROM events",
        "WITH RECURSIVE r AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM r WHERE a < 3) SELECT * FROM r",
        "WITH a AS (SELECT 1 AS n), b AS (FROM a) SELECT * FROM b UNION ALL SELECT cycle FROM events",
        "WITH events AS (FROM events WHERE cycle = 1) SELECT count(*) FROM events",
        "SELECT e.type, s FROM events e, unnest(e.refs) AS t(s)",
        "SELECT * FROM cycles ASOF JOIN surprises USING (stream, position)",
        "SELECT type, row_number() OVER (PARTITION BY stream ORDER BY version) FROM main.events QUALIFY true",
        "FROM (PIVOT events ON phase IN ('sense', 'learn') USING count(*) GROUP BY stream)",
        "FROM (UNPIVOT phases ON events, elapsed_ns)",
        "VALUES (1), (2)",
        "DESCRIBE actions",
        "SUMMARIZE phases",
        "SELECT count(*) FROM events TABLESAMPLE 10%",
        "SELECT list_transform([1, 2], lambda x: x + 1), payload ->> '$.cycle', CASE WHEN true THEN 1 END FROM events",
        "SELECT * EXCLUDE (payload) REPLACE (cycle + 1 AS cycle) FROM events ORDER BY ALL LIMIT 3",
        "SELECT key, value FROM events, json_each(payload)",
        "SELECT j.key FROM (SELECT payload FROM events LIMIT 1) e, LATERAL json_each(e.payload) j",
    ],
)
def test_what_only_selects_is_answered(engine: Engine, sql: str) -> None:
    with engine.ask(sql) as answer:
        assert answer.read().num_columns


def _contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
