"""`aether trace compact`: small files of traces joined into larger ones."""

from __future__ import annotations

from typing import Annotated

import typer

from runtime.cli.output import Json, LogUrl, command, document, reading

Traces = Annotated[
    str | None,
    typer.Option(metavar="FOLDER|URL", help="Where the traces lie.  [default: beside the log]"),
]


@command
def compact(traces: Traces = None, log: LogUrl = None, as_json: Json = False) -> None:
    """Join the small files of traces into larger ones, and remove what was replaced an hour ago or more.

    The rows stay as they are. Whoever keeps traces joins many small files as they come; this joins all, and not
    beside a process that writes there.

    Example: aether trace compact
    """
    from runtime.settings import read_settings
    from runtime.telemetry.traces import traces_url
    from telemetry.query.traces.compact import compact as join
    from telemetry.query.traces.place import place_of

    if traces is None:
        with reading(log) as store:
            traces = traces_url(store, read_settings({"log": log}).settings)
    place = place_of(traces)
    done = join(place)
    if as_json:
        document({"traces": place.name, "before": done.before, "after": done.after, "removed": done.removed})
    else:
        typer.echo(f"{done.before} files are {done.after}; {done.removed} removed")
