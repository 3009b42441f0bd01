"""`aether log follow`: events of all sessions as they are committed, and a place kept in them.

Invariant: the place is moved only after the lines were written and flushed, so a kill repeats lines and skips none."""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Collection
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.cli.events import event_line, event_row
from runtime.cli.output import LogUrl, command, document, reading

if TYPE_CHECKING:
    from telemetry.log import EventLog, Subscription
    from telemetry.log.projection.cursor import Cursor

IDLE_S = 0.5
"""How often an idle follower looks whether anybody still reads what it prints."""


@command
def follow(
    begin: Annotated[
        int | None,
        typer.Option("--from", min=0, metavar="POSITION", help="Begin after this position.  [default: now]"),
    ] = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="TYPE", help="Only this type of event; may be given again.")
    ] = None,
    session: Annotated[str | None, typer.Option(metavar="SESSION", help="Only events of this session.")] = None,
    name: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME", help="Keep the place under this name, and go on from it next time."),
    ] = None,
    log: LogUrl = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON document a line.")] = False,
) -> None:
    """Print events of all sessions, one a line, as they are committed, until Ctrl-C.

    With --as, --from counts only until that name has a place. The place is moved after the lines are out: what came
    last before a kill is printed again.

    Example: aether log follow --from 0 --type session.closed --as billing
    """
    from runtime.settings import read_settings
    from runtime.telemetry.cursors import cursor_of

    with reading(log) as store:
        stream = _checked(store, types or (), session, name)
        with nullcontext() if name is None else cursor_of(store, name, read_settings().settings) as cursor:
            kept = None if cursor is None else cursor.position
            start = store.position() if begin is None else begin
            subscription = store.subscribe(after=start if kept is None else kept, types=types or ())
            _print(subscription, stream, cursor, as_json=as_json)


def _print(subscription: Subscription, stream: str | None, cursor: Cursor | None, *, as_json: bool) -> None:
    """Until it is interrupted or nobody reads any more."""
    done = subscription.position
    try:
        while True:
            batch = subscription.next(timeout_s=IDLE_S)
            for recorded in batch.events:
                if stream in (None, recorded.stream):
                    if as_json:
                        document(event_row(recorded))
                    else:
                        typer.echo(f"{recorded.position:>8}  {recorded.stream}  {event_line(recorded)}")
                done = recorded.position
            done = batch.position
            if cursor is not None and done != cursor.position:
                _settle()
                cursor.move(done)
            if not batch.events and _nobody_reads():
                raise BrokenPipeError
    finally:
        if cursor is not None:
            cursor.move(done)


def _settle() -> None:
    """Puts what was printed on disk where it goes to a file: the place must not outlive it in a power cut."""
    out = sys.stdout.fileno()
    if stat.S_ISREG(os.fstat(out).st_mode):
        os.fsync(out)


def _nobody_reads() -> bool:
    """Whether the other end of the pipe is closed, which a writer is told only when it writes."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # errors are always told
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _checked(store: EventLog, types: Collection[str], session: str | None, name: str | None) -> str | None:
    """The stream of `session`. Raises `UsageError` and `NotFound` for what cannot be followed."""
    from runtime.errors import UsageError
    from runtime.explain import nearest
    from runtime.sessions import check_there, stream_of
    from runtime.telemetry.cursors import check_name
    from telemetry.events.registry import CLASSES

    if name is not None:
        check_name(name)
    for name in types:
        if name not in CLASSES:
            raise UsageError(f"there is no type of event {name!r}{nearest(name, tuple(CLASSES))}")
    if session is None:
        return None
    check_there(store, stream_of(session))
    return stream_of(session)
