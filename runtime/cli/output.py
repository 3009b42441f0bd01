"""What commands print: data on stdout, talk on stderr, errors with their exit code.

Invariant: with `--json` everything on stdout is one JSON document, errors included."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Literal, ParamSpec

import typer

if TYPE_CHECKING:
    from telemetry.log import EventLog

P = ParamSpec("P")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of words.")]
LogUrl = Annotated[
    str | None,
    typer.Option("--log", metavar="URL", help="Path or URL of the log.  [default: aether.db in $AETHER_HOME]"),
]

MAX_SHOWN = 6
"""Ids that a line lists."""


def command(function: Callable[P, None]) -> Callable[P, None]:
    """Ends a command as the table of exit codes says; an exception nobody foresaw keeps its traceback."""

    @wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        from runtime.errors import EXPECTED, INTERRUPTED, exit_code_of
        from runtime.guard import check_rooms

        as_json = bool(kwargs.get("as_json"))
        try:
            check_rooms()
            function(*args, **kwargs)
        except EXPECTED as error:
            code = exit_code_of(error)
            if as_json:
                body = {"type": type(error).__name__, "message": str(error), "exit_code": code}
                document({"error": body})
            else:
                talk(f"aether: {error}")
            raise typer.Exit(code) from None
        except KeyboardInterrupt:
            talk("aether: interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            sys.stderr.close()
            raise typer.Exit(1) from None

    return guarded


def talk(text: str) -> None:
    """A line for people, on stderr."""
    typer.echo(text, err=True)


def told_of(untold: Sequence[str], *, what: str = "sessions") -> None:
    """Says that these are left out, as what the log says of them is withheld."""
    if untold:
        ids = ", ".join(untold[:MAX_SHOWN]) + (" …" if len(untold) > MAX_SHOWN else "")
        talk(f"{len(untold):,} {what} are left out, as what the log says of them is withheld: {ids}")


def document(body: Mapping[str, object]) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(body, ensure_ascii=False))


def answer(
    rows: Sequence[Mapping[str, object]],
    *,
    as_of: int | None,
    next_after: str | None = None,
    more: Mapping[str, object] | None = None,
) -> None:
    """The JSON answer of every listing: the log's position it is true of (None where it is of no log), the rows, where
    to go on, and `more`."""
    document({"as_of": as_of, "rows": list(rows), "next": next_after, **(more or {})})


def table(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> None:
    """Rows for people. Ids are printed whole: they are the next command's arguments."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        shown.add_column(column, no_wrap=True)
    for row in rows:
        shown.add_row(*(Text(_cell(column, row.get(column))) for column in columns))  # no markup in what is shown
    Console(soft_wrap=True).print(shown)


def _cell(column: str, value: object) -> str:
    if value is None:
        return "—"
    return str(value)[:12] if column == "state_hash" else str(value)


def reading(url: str | None) -> AbstractContextManager[EventLog]:
    """The log that a command reads, closed at its end."""
    return _opened(url, "read")


@contextmanager
def examining(url: str | None) -> Iterator[EventLog]:
    """The log that a command verifies or exports, which may be damaged and is not touched."""
    from runtime.settings import log_url, read_settings
    from telemetry.log.sqlite.rest import examined

    with examined(log_url(read_settings({"log": url}).settings)) as log:
        yield log


def writing(url: str | None) -> AbstractContextManager[EventLog]:
    """The log that a command writes, made where there is none, closed at its end."""
    return _opened(url, "write")


@contextmanager
def _opened(url: str | None, mode: Literal["read", "write"]) -> Iterator[EventLog]:
    from runtime.settings import log_url, read_settings
    from telemetry.log import open_log

    log = open_log(log_url(read_settings({"log": url}).settings), mode=mode)
    try:
        yield log
    finally:
        log.close()


@contextmanager
def progress_of(title: str, *, size_bytes: int | None, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Hears of every stretch of bytes that is done: a bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=size_bytes)
        yield lambda done: progress.advance(task, done)
