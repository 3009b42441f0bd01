"""`aether trace export`: the log to a collector, to files or to the console, and a place kept in it.

Invariant: what was sent is said as it stands when the command ends, however it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.cli.output import LogUrl, answer, command, reading, talk
from runtime.cli.trace.keep import keep

if TYPE_CHECKING:
    from runtime.settings import Telemetry
    from runtime.telemetry.exporting import Target
    from telemetry.log import EventLog
    from telemetry.otel.export.exporter import Exporter

IDLE_S = 0.25
"""How long a step waits for news at the log's end, at most."""


class Record(StrEnum):
    STORED = "stored"
    DIGEST = "digest"
    NONE = "none"


@command
def export(
    otlp: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A collector: http://machine:4318 or grpc://machine:4317 (https, grpcs). Headers and certificates are "
            "those of the standard OTEL_EXPORTER_OTLP_ variables.  [default: otlp of [telemetry]]",
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A folder of OTLP files: traces.jsonl and logs.jsonl.")
    ] = None,
    parquet: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|URL", help="Rows for queries as Parquet there; `beside` is the folder beside the log."
        ),
    ] = None,
    console: Annotated[bool, typer.Option("--console", help="Print them, as the SDK's console exporters do.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with what comes, until Ctrl-C, however long the collector is away.")
    ] = False,
    record: Annotated[
        Record | None,
        typer.Option(
            help="How each event goes out as a log record.  [default: stored to files, digest to a collector, none to "
            "the console]"
        ),
    ] = None,
    spans: Annotated[bool, typer.Option("--spans/--no-spans", help="Whether events go out as spans.")] = True,
    begin: Annotated[
        int, typer.Option("--from", min=0, metavar="POSITION", help="Begin after this position, where it has no place.")
    ] = 0,
    name: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME", help="Keep the place under this name.  [default: one for each target]"),
    ] = None,
    patience: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="Without --follow: how long a collector may take nothing."),
    ] = 60.0,
    log: LogUrl = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document at the end.")] = False,
) -> None:
    """Send the log to a collector as OpenTelemetry spans and log records, or keep its rows in Parquet, and go on next
    time where it ended.

    The place moves only after the collector has taken what is before it: whatever is killed, nothing is lost, and what
    is sent again has the ids that it had. A collector that is away is waited for; what it refuses is named in a file
    beside the place, and what is too large for it goes by reference.

    Example: aether trace export --otlp http://localhost:4318 --follow
    """
    from runtime.settings import read_settings
    from runtime.telemetry.cursors import check_name
    from runtime.telemetry.exporting import exporting
    from runtime.telemetry.traces import traces_url
    from telemetry.errors import ExportFailed

    if name is not None:
        check_name(name)
    settings = read_settings({"log": log}).settings
    if parquet is not None:
        _check_alone(otlp, file, record, name, console=console, begin=begin)
        with reading(log) as store:
            keep(store, traces_url(store, settings, parquet), follow=follow, as_json=as_json)
        return
    target = _target(otlp, file, console=console, telemetry=settings.telemetry)
    with (
        reading(log) as store,
        _shown(target, quiet=as_json) as shown,
        exporting(
            store,
            target,
            settings,
            cursor=name,
            begin=begin,
            record=None if record is None else record.value,
            spans=spans and settings.telemetry.spans,
            patience_s=None if follow else patience,
            interval_s=None if follow else 0.0,
            troubled=shown.troubled,
        ) as exporter,
    ):
        try:
            _run(store, exporter, shown, follow=follow)
        except ExportFailed:
            if not as_json:
                _finish(store, target, exporter, as_json=False)
            raise
        except KeyboardInterrupt:
            exporter.close()
            _finish(store, target, exporter, as_json=as_json)
            raise
        _finish(store, target, exporter, as_json=as_json)


def _check_alone(*others: object, console: bool, begin: int) -> None:
    """Raises `UsageError` where --parquet stands with what does not go with it."""
    from runtime.errors import UsageError

    if console or begin or any(other is not None for other in others):
        raise UsageError(
            "--parquet goes with --follow, --log and --json alone: rows are of the whole log, and their place in it "
            "lies with them. Nothing was written"
        )


def _target(otlp: str | None, file: Path | None, *, console: bool, telemetry: Telemetry) -> Target:
    """Raises `UsageError` for none and for several."""
    from runtime.errors import UsageError
    from runtime.telemetry.exporting import Target, targets

    named = [Target("otlp", otlp)] if otlp is not None else []
    named += [Target("file", str(file.absolute()))] if file is not None else []
    named += [Target("console")] if console else []
    if len(named or targets(telemetry)) != 1:
        raise UsageError(
            "say where to: one of --otlp URL, --file DIR, --parquet FOLDER and --console. Each target has a place of "
            "its own in the log; nothing was sent"
        )
    return (named or targets(telemetry))[0]


def _run(log: EventLog, exporter: Exporter, shown: _Shown, *, follow: bool) -> None:
    head = log.position()
    while follow or exporter.position < head:
        exporter.step(wait_s=IDLE_S if follow else 0.0)
        shown.stands(exporter, log.position() if follow else head)


class _Shown:
    """A live line on a terminal, and what troubles an export on stderr."""

    def __init__(self, name: str, update: Callable[[str], None] | None, *, quiet: bool) -> None:
        self._name = name
        self._update = update
        self._quiet = quiet
        self._why = ""

    def troubled(self, why: str) -> None:
        """Each reason once, until something goes out again."""
        if why and not self._quiet and self._update is None:
            talk(f"{self._name}: {why}. What waits is safe in the log; trying again")
        elif self._why and not why and not self._quiet and self._update is None:
            talk(f"{self._name}: goes on")
        self._why = why

    def stands(self, exporter: Exporter, head: int) -> None:
        if self._update is not None:
            trouble = f" · {self._why}; trying again" if self._why else ""
            waiting = max(0, head - exporter.position)
            self._update(f"{self._name}: {_words(exporter)} · {waiting:,} events wait{trouble}")


@contextmanager
def _shown(target: Target, *, quiet: bool) -> Iterator[_Shown]:
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield _Shown(target.name, None, quiet=quiet)
        return
    with console.status(f"{target.name}: connecting") as status:
        yield _Shown(target.name, status.update, quiet=False)


def _words(exporter: Exporter) -> str:
    parts = [f"{exporter.spans.taken:,} spans", f"{exporter.records.taken:,} records"]
    counts = (exporter.spans, exporter.records)
    if by_reference := sum(each.by_reference for each in counts):
        parts.append(f"{by_reference:,} by reference")
    if refused := sum(each.refused for each in counts):
        parts.append(f"{refused:,} refused")
    return ", ".join(parts)


def _finish(log: EventLog, target: Target, exporter: Exporter, *, as_json: bool) -> None:
    lag = exporter.lag()
    refused = exporter.refused_file if exporter.refused_file.exists() else None
    if as_json:
        row = {
            "target": target.name,
            "position": exporter.position,
            "waiting": lag.events,
            "spans": exporter.spans.taken,
            "records": exporter.records.taken,
            "repeats": exporter.spans.repeats + exporter.records.repeats,
            "by_reference": exporter.spans.by_reference + exporter.records.by_reference,
            "refused": exporter.spans.refused + exporter.records.refused,
            "refused_file": None if refused is None else str(refused),
        }
        answer([row], as_of=log.position())
        return
    say = talk if target.kind == "console" else typer.echo
    say(f"{target.name}: {_words(exporter)}, up to position {exporter.position:,}; {lag}")
    if refused is not None:
        talk(f"what it refused is named in {refused}")
