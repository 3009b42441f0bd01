"""`aether log archive` and `aether log prune`: sessions in files of their own, and out of the log."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.cli.output import Json, LogUrl, answer, command, reading, talk, writing

if TYPE_CHECKING:
    from telemetry.log import EventLog

Sessions = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SESSION…]", help="Ids of closed sessions, as `aether session list` prints them."),
]
Before = Annotated[
    datetime | None,
    typer.Option(
        metavar="DATE", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Every session closed before this time (UTC)."
    ),
]


@command
def archive(
    folder: Annotated[Path, typer.Option(metavar="FOLDER", help="Where each session gets a Parquet file of its own.")],
    sessions: Sessions = None,
    closed_before: Before = None,
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """Write closed sessions to Parquet, a file each, and read each file back to the session's last hash.

    Example: aether log archive --closed-before 2027-01-01 --folder archive
    """
    from runtime.retention import archive as write

    with reading(log) as store:
        rows = []
        for made in write(store, _chosen(store, sessions, closed_before), folder):
            rows.append(made.model_dump())
            if not as_json:
                what = f"{made.events:,} events in {made.bytes:,} bytes" if made.new else "there already, verified"
                typer.echo(f"{made.session}: {what}: {made.file}")
        as_of = store.position()
    if as_json:
        answer(rows, as_of=as_of)
    elif not rows:
        talk("no session was closed before then; nothing was written")


@command
def prune(
    folder: Annotated[Path, typer.Option(metavar="FOLDER", help="Where `aether log archive` wrote them.")],
    sessions: Sessions = None,
    closed_before: Before = None,
    to: Annotated[
        int | None, typer.Option(metavar="VERSION", help="Only up to this version of one session, a closed cycle.")
    ] = None,
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """Remove archived sessions from the log. Each archive is read whole before; `aether log import` brings one back.

    Example: aether log prune 7f3a9c01d2e4 --folder archive
    """
    from runtime.errors import UsageError
    from runtime.retention import prune as remove

    with writing(log) as store:
        chosen = _chosen(store, sessions, closed_before)
        if to is not None and len(chosen) != 1:
            raise UsageError("--to is a version of one session: name just one. Nothing was removed")
        rows = []
        for name in chosen:
            gone = remove(store, name, folder, to=to)
            rows.append(gone.model_dump())
            if not as_json:
                left = f", {gone.left:,} events are left" if gone.left else ""
                typer.echo(f"{gone.session}: removed up to version {gone.version}{left} ({gone.fact})")
        as_of = store.position()
    if as_json:
        answer(rows, as_of=as_of)
    elif not rows:
        talk("no session was closed before then; nothing was removed")
    else:
        talk(f"To get one back: aether log import {rows[-1]['file']}")


def _chosen(log: EventLog, sessions: list[str] | None, moment: datetime | None) -> list[str]:
    from runtime.errors import UsageError
    from runtime.retention import closed_before

    if bool(sessions) == (moment is not None):
        raise UsageError("name sessions, or give --closed-before. Nothing was done")
    return list(sessions) if sessions else list(closed_before(log, moment)) if moment else []
