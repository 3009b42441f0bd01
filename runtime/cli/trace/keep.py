"""`aether trace export --parquet`: rows of the log in Parquet, and how far they are.

Invariant: what is on disk is said as it stands when the command ends, however it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from runtime.cli.output import answer

if TYPE_CHECKING:
    from telemetry.log import EventLog
    from telemetry.query.traces.writer import Traces

IDLE_S = 0.25
"""How long a step waits for news at the log's end, at most."""


def keep(log: EventLog, url: str, *, follow: bool, as_json: bool) -> None:
    """Until the log's end as it is now, or Ctrl-C. What was seen by then is on disk."""
    from telemetry.query.traces.writer import Traces

    with Traces(log, url) as traces:
        began, head = traces.position, log.position()
        try:
            with _shown(traces, quiet=as_json) as stands:
                while follow or traces.seen < head:
                    traces.step(wait_s=IDLE_S if follow else 0.0)
                    stands(log.position() if follow else head)
        except KeyboardInterrupt:
            traces.commit()
            _finish(log, traces, began, as_json=as_json)
            raise
        traces.commit()
        _finish(log, traces, began, as_json=as_json)


@contextmanager
def _shown(traces: Traces, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A live line on a terminal."""
    from rich.console import Console

    console, name = Console(stderr=True), traces.place.name
    if quiet or not console.is_terminal:
        yield lambda _: None
        return
    with console.status(f"{name}: reading") as status:
        yield lambda head: status.update(f"{name}: rows up to position {traces.seen:,} of {head:,}")


def _finish(log: EventLog, traces: Traces, began: int, *, as_json: bool) -> None:
    waiting, events = log.position() - traces.position, traces.position - began
    if as_json:
        row = {"traces": traces.place.name, "position": traces.position, "events": events, "waiting": waiting}
        answer([row], as_of=log.position())
        return
    waits = f"{waiting:,} events wait" if waiting else "nothing waits"
    typer.echo(f"{traces.place.name}: rows of {events:,} events, up to position {traces.position:,}; {waits}")
