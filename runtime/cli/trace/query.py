"""`aether trace query`: one SELECT over the rows of the log, or a question kept under a name.

Invariant: rows go out as they are found; what is not printed whole is said to be cut."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from runtime.cli.output import LogUrl, command, reading, talk

if TYPE_CHECKING:
    from runtime.telemetry.query import QueryResult

ROWS = 50
"""Of a table, when nobody says otherwise."""
LONG_WAY = 50_000
"""Events from which on it is said that rows are made of them first: about a second's work."""


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


@command
def query(
    sql: Annotated[
        str | None,
        typer.Argument(
            metavar="QUERY", help="A SELECT, the name of a saved query, or - for stdin.", show_default=False
        ),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="NAME=VALUE", help="Value of the query's $NAME; may be given again."),
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="List views and saved queries, or show the one that QUERY names.")
    ] = False,
    format_: Annotated[
        Format | None,
        typer.Option(
            "--format", help="How rows are printed; json is a document a line.  [default: table, or json into a pipe]"
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write.  [default: stdout]")] = None,
    rows: Annotated[int, typer.Option(min=0, help="Rows of a table; 0 prints all.")] = ROWS,
    as_of: Annotated[
        int | None, typer.Option("--as-of", min=0, metavar="POSITION", help="Answer as of this position of the log.")
    ] = None,
    traces: Annotated[
        str | None,
        typer.Option(metavar="FOLDER|URL", help="Where rows lie in Parquet.  [default: beside the log, if there]"),
    ] = None,
    memory: Annotated[str | None, typer.Option(metavar="SIZE", help="What it may take, such as 4GB.")] = None,
    log: LogUrl = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Answer one SELECT over the log's rows: what lies in Parquet, and what came since.

    Views are events, sessions, cycles, phases, actions and more: --list names them all, and --list VIEW its columns.
    A query only reads; Ctrl-C stops it.

    Example: aether trace query "SELECT type, count(*) AS n FROM events GROUP BY type ORDER BY n DESC"
    """
    from runtime.errors import UsageError

    if list_:
        from runtime.cli.trace.catalogue import show

        show(sql, as_json=as_json or format_ is Format.JSON)
        return
    if sql is None:
        raise UsageError("what is asked? A SELECT, or the name of a saved query. Try: aether trace query --list")
    form = Format.JSON if as_json and format_ is None else format_
    if form is None:
        form = Format.TABLE if out is None and sys.stdout.isatty() else _of_file(out)
    given = dict(_pair(text) for text in param or ())
    asked = sys.stdin.read() if sql == "-" else sql
    from runtime.settings import read_settings
    from runtime.telemetry.query import query as ask

    settings = read_settings({"log": log}).settings
    with (
        reading(log) as store,
        ask(
            asked,
            parameters=given,
            log=store,
            traces=traces,
            as_of=as_of,
            memory=memory,
            settings=settings,
            seen=_seen(quiet=form is not Format.TABLE and not sys.stderr.isatty()),
        ) as result,
        _target(out, form, Path(store.url)) as target,
    ):
        _write(result, form, target, rows=rows)


def _write(result: QueryResult, form: Format, target: BinaryIO, *, rows: int) -> None:
    from runtime.cli.trace import rows as written

    if form is Format.TABLE:
        printed, more = written.table(result, target, limit=rows)
        shown = f"first {printed} rows; all of them: --rows 0, or --format json" if more else _count(printed, "row")
        talk(f"({shown}, as of position {result.as_of})")
    elif form is Format.JSON:
        written.json_lines(result, target)
    elif form is Format.CSV:
        written.csv_lines(result, target)
    else:
        written.parquet(result, target)


@contextmanager
def _target(out: Path | None, form: Format, log: Path) -> Iterator[BinaryIO]:
    """Where rows go: a file that is there when it is whole, and else not."""
    from runtime.errors import UsageError

    if out is None:
        if form is Format.PARQUET and sys.stdout.isatty():
            raise UsageError("Parquet is nothing for a terminal. Try: --out FILE.parquet")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if out.exists() and out.resolve() == log.resolve():
        raise UsageError(f"{out} is the log itself; nothing was written. Name another file")
    aside = out.with_name(f"{out.name}.new")
    try:
        with aside.open("wb") as file:
            yield file
        aside.replace(out)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}. What stood there stands") from error
    finally:
        aside.unlink(missing_ok=True)


def _of_file(out: Path | None) -> Format:
    """By the file's name; JSON for every other, and for a pipe."""
    kinds = {".csv": Format.CSV, ".parquet": Format.PARQUET}
    return Format.JSON if out is None else kinds.get(out.suffix, Format.JSON)


def _seen(*, quiet: bool) -> Callable[[int, int], None]:
    """Says once that rows are being made, where that takes a while."""
    said = quiet

    def seen(done: int, total: int) -> None:
        nonlocal said
        if not said and total >= LONG_WAY:
            said = True
            talk(
                f"making rows of {total:,} events that are not in Parquet. To keep them: aether trace export --parquet"
            )

    return seen


def _pair(text: str) -> tuple[str, str]:
    from runtime.errors import UsageError

    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--param {text}: it looks like --param NAME=VALUE")
    return name.removeprefix("$"), value


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
