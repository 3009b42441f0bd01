"""Questions in SQL over the rows of a log, as of one position of it.

Knows DuckDB and how it is kept to reading; knows no CLI. Invariant: an engine sees the rows that follow from the events
up to `as_of` and no others, wherever they lie: in Parquet, which may lag, or still only in the log.

What a question may do is bounded three times. Its parsed tree holds nothing but a SELECT over our views
(`statement`); it runs in a transaction that only reads; and DuckDB may open the files of these views and nothing else,
under a configuration that is locked. The last alone would not do: `COPY … TO` may write to what may be read."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final

import duckdb

from telemetry.errors import InvalidQuery
from telemetry.log import EventLog
from telemetry.query.answer import Answer
from telemetry.query.complaints import complaint, nearest
from telemetry.query.rows.catalogue import KINDS
from telemetry.query.statement import Scalar, Statement, read_statement
from telemetry.query.stored import stored_at
from telemetry.query.views import Seen, Views, quoted

MIB: Final = 1 << 20

INTERRUPTED: Final = "Query interrupted"
"""What DuckDB raises, as a bare RuntimeError, when Ctrl-C falls into its work on the main thread."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a question may take. What does not fit in memory is put aside on disk, where that helps."""

    memory_bytes: int = 1024 * MIB
    disk_bytes: int = 20 * 1024 * MIB
    threads: int | None = None
    """As many as the machine has cores when left out."""

    def __post_init__(self) -> None:
        if self.memory_bytes < LEAST_BYTES:
            raise InvalidQuery(f"a query is not answered in less than {in_words(LEAST_BYTES)} of memory")


LEAST_BYTES: Final = 64 * MIB
"""Below it DuckDB cannot read a row group of Parquet for each thread."""


class Engine:
    """A context: a connection of its own to an empty database, with views over the rows. Not for several threads at
    once; an answer is read to its end, or closed, before the next question."""

    def __init__(
        self,
        log: EventLog,
        *,
        traces: str | None = None,
        as_of: int | None = None,
        limits: Limits | None = None,
        once: bool = False,
    ) -> None:
        """`traces`: folder or fsspec URL where rows are kept in Parquet; with none, or nothing there, all rows are made
        from the log. `as_of`: a position of the log, its end where left out. `once`: one question will come, and
        nothing can be opened but the files that it is about.

        Raises `InvalidQuery` for a position that the log does not have, `TracesDamaged` and what reading it raises."""
        end = log.position()
        if as_of is not None and not 0 <= as_of <= end:
            raise InvalidQuery(f"{as_of} is no position of {log.name}, which ends at {end}")
        self.as_of = end if as_of is None else as_of
        self._limits = limits or Limits()
        self._confined = False
        with _interrupts(), ExitStack() as stack:
            aside = tempfile.TemporaryDirectory(prefix="aether-query-", ignore_cleanup_errors=True)
            stack.enter_context(aside)  # one that nobody closes goes with the process
            self._connection = stack.enter_context(self._connected(Path(aside.name)))
            self._stored = stored_at(log, traces)
            self._views = Views(self._connection, log, self._stored, as_of=self.as_of)
            if not once:
                self._confine([] if self._stored is None else self._stored.paths())
            self.from_log = self._views.from_log
            """Events up to `as_of` that are not in Parquet: rows are made of them for the views that are asked."""
            self._stack = stack.pop_all()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    def ask(
        self,
        sql: str,
        parameters: Mapping[str, Scalar] | None = None,
        *,
        repeatable: bool = False,
        seen: Seen | None = None,
        close: Callable[[], None] = lambda: None,
    ) -> Answer:
        """Checks and binds the question; its rows are found as the answer is read. `parameters` are values of its
        `$name`. `repeatable` refuses what may answer otherwise another time over the same rows. `seen` hears how many
        events have been made into rows, where that takes time. `close` is called with the answer's own.

        Raises `InvalidQuery`, `QueryRefused`, `QueryTooLarge`, and what reading the log raises."""
        with _interrupts():
            return self._asked(sql, parameters or {}, repeatable=repeatable, seen=seen, close=close)

    def _asked(
        self,
        sql: str,
        parameters: Mapping[str, Scalar],
        *,
        repeatable: bool,
        seen: Seen | None,
        close: Callable[[], None],
    ) -> Answer:
        self._roll_back()  # of an answer that was read and not closed, or interrupted
        statement = read_statement(sql, parser=self._connection)
        given = _fitting(statement, parameters)
        if repeatable and statement.unsettled:
            raise InvalidQuery(
                f"this query may answer otherwise another time over the same rows: {'; '.join(statement.unsettled)}"
            )
        columns = {column.name for view in statement.views for column in KINDS[view].columns}
        explain = partial(complaint, memory=in_words(self._limits.memory_bytes), columns=columns)
        try:
            relation = self._bound(statement, given, seen)
        except duckdb.Error as error:
            self._roll_back()
            raise explain(error) from None

        def end() -> None:
            self._roll_back()
            close()

        return Answer(
            relation,
            self._connection,
            as_of=self.as_of,
            views=statement.views,
            from_log=self.from_log,
            explain=explain,
            close=end,
        )

    def _bound(self, statement: Statement, given: Mapping[str, Scalar], seen: Seen | None) -> duckdb.DuckDBPyRelation:
        """The question over its views, in a transaction that only reads. Raises what DuckDB raises."""
        streams = _streams(statement, given)
        if not self._confined:
            self._confine(self._views.files(statement.views, streams))
        self._views.make(statement.views, streams=streams, seen=seen)
        self._connection.execute("BEGIN TRANSACTION READ ONLY")
        relation = self._connection.sql(statement.sql, params=dict(given) or None)
        assert relation is not None, "a SELECT gives a relation"
        return relation

    def _connected(self, aside: Path) -> duckdb.DuckDBPyConnection:
        """An empty database that looks for nothing outside: no extension, no variable of the caller's, no secret."""
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{self._limits.memory_bytes}B",
            "temp_directory": str(aside),
            "max_temp_directory_size": f"{self._limits.disk_bytes}B",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "allow_persistent_secrets": False,
            "python_enable_replacements": False,
        }
        if self._limits.threads is not None:
            config["threads"] = self._limits.threads
        return duckdb.connect(":memory:", config=config)

    def _confine(self, paths: Iterable[str]) -> None:
        """From here on nothing can be opened but `paths`, and nothing of this can be set otherwise."""
        self._confined = True
        if self._stored is not None and self._stored.filesystem is not None:
            self._connection.register_filesystem(self._stored.filesystem)
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute("SET enable_progress_bar = false")  # it would go to stdout
        self._connection.execute(f"SET allowed_paths = [{', '.join(map(quoted, paths))}]")
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")

    def _roll_back(self) -> None:
        with suppress(duckdb.TransactionException):  # there is none, or DuckDB has ended it
            self._connection.execute("ROLLBACK")


@contextmanager
def _interrupts() -> Iterator[None]:
    """Ctrl-C comes out as itself, wherever in DuckDB's work it falls."""
    try:
        yield
    except RuntimeError as error:
        if str(error) != INTERRUPTED:
            raise
        raise KeyboardInterrupt from None


def ask(
    log: EventLog,
    sql: str,
    parameters: Mapping[str, Scalar] | None = None,
    *,
    traces: str | None = None,
    as_of: int | None = None,
    repeatable: bool = False,
    limits: Limits | None = None,
    seen: Seen | None = None,
) -> Answer:
    """One question to an engine of its own, which ends with the answer. Meanings and errors are those of `Engine`."""
    engine = Engine(log, traces=traces, as_of=as_of, limits=limits, once=True)
    try:
        return engine.ask(sql, parameters, repeatable=repeatable, seen=seen, close=engine.close)
    except BaseException:
        engine.close()
        raise


def in_words(size_bytes: int) -> str:
    """Such as `512 MiB`."""
    return f"{size_bytes / MIB:.3g} MiB" if size_bytes < 1024 * MIB else f"{size_bytes / 1024 / MIB:.3g} GiB"


def _streams(statement: Statement, given: Mapping[str, Scalar]) -> dict[str, frozenset[str]]:
    """The only streams that are asked of a view, where that is so."""
    found = {view: [one.stream(given) for one in wanted] for view, wanted in statement.narrow.items()}
    return {view: frozenset(filter(None, streams)) for view, streams in found.items() if None not in streams}


def _fitting(statement: Statement, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Raises `InvalidQuery` where the values given are not those asked for."""
    if any(name.isdigit() for name in statement.parameters):
        raise InvalidQuery("parameters have names here: write $session instead of ? or $1")
    for name in sorted(statement.parameters - given.keys()):
        raise InvalidQuery(f"the query's parameter ${name} has no value. Try: --param {name}=VALUE")
    for name in sorted(given.keys() - statement.parameters):
        known = sorted(statement.parameters)
        hint = nearest(name, known) if known else "; it has none"
        raise InvalidQuery(f"the query has no parameter ${name}{hint}")
    return dict(given)
