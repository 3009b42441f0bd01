"""Sending a log out, by a command or beside its sessions: which sink, which cursor, what of each event.

Knows settings and where cursors lie; how events go out, `telemetry.otel.export` knows. Invariant: the same target of
the same log has the same cursor, whoever sends."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from runtime.errors import UsageError
from runtime.settings import Settings, Telemetry
from runtime.telemetry.cursors import cursor_of, cursors_of
from telemetry.log import EventLog
from telemetry.otel import names
from telemetry.otel.content import Content, content_of
from telemetry.otel.export.address import protocol_of, shown
from telemetry.otel.export.exporter import BATCH_BYTES, Exporter, Passing, What
from telemetry.otel.export.refused import RefusedFile
from telemetry.otel.export.sink import quietly

if TYPE_CHECKING:
    from telemetry.otel.export.sink import Sink
    from telemetry.otel.record import Detail

Record = Literal["stored", "digest", "none"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a log goes: a collector's URL, a folder, or the console."""

    kind: Literal["otlp", "file", "console"]
    where: str = ""

    def __post_init__(self) -> None:
        """Raises `UsageError` for what is no address of a collector."""
        if self.kind == "otlp" and protocol_of(self.where) is None:
            raise UsageError(
                f"{shown(self.where)!r} is no address of a collector: http://machine:4318, or grpc://machine:4317, and "
                "https or grpcs under TLS. Nothing was sent"
            )

    @property
    def name(self) -> str:
        """For people."""
        return {"otlp": shown(self.where), "file": self.where, "console": "console"}[self.kind]

    @property
    def cursor(self) -> str:
        """Its cursor's name."""
        readable = re.sub(r"[^A-Za-z0-9]+", "-", self.name.partition("://")[2] or self.name).strip("-")[-40:]
        return f"{self.kind}-{readable}-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"

    @property
    def record(self) -> Record:
        """How events go there as records where nobody says."""
        return {"otlp": "digest", "file": "stored", "console": "none"}[self.kind]  # type: ignore[return-value]  # of a dict mypy forgets the literals


def targets(telemetry: Telemetry) -> list[Target]:
    """What the settings name. Raises `UsageError`."""
    found = [Target("otlp", telemetry.otlp)] if telemetry.otlp is not None else []
    if telemetry.file is not None:
        found.append(Target("file", str(telemetry.file.expanduser().absolute())))
    return found


def content(telemetry: Telemetry) -> Content:
    """Raises `UsageError` for a word that OpenTelemetry does not know."""
    try:
        return content_of(telemetry.content)
    except ValueError as error:
        raise UsageError(str(error)) from error


def refused_of(log: EventLog, name: str, settings: Settings) -> RefusedFile:
    """What the target of that cursor will not take."""
    return RefusedFile(cursors_of(log, settings) / f"{name}.refused.jsonl")


@contextmanager
def exporting(
    log: EventLog,
    target: Target,
    settings: Settings,
    *,
    cursor: str | None = None,
    begin: int = 0,
    record: Record | None = None,
    spans: bool | None = None,
    patience_s: float | None = None,
    interval_s: float | None = None,
    troubled: Callable[[str], None] = lambda _: None,
) -> Iterator[Exporter]:
    """An exporter to `target` that goes on where its cursor is, or after `begin`; what is left out the settings say.
    The console has a cursor only by name. Raises `UsageError`, and what `Cursor` does."""
    telemetry = settings.telemetry
    wanted = record or telemetry.record or target.record
    detail: Detail | None = None if wanted == "none" else wanted
    what = What(telemetry.spans if spans is None else spans, detail, content(telemetry))
    if not what.spans and what.record is None:
        raise UsageError("neither spans nor records would go out. Nothing was sent")
    name = cursor or (None if target.kind == "console" else target.cursor)
    with (
        quietly(),
        _no_place() if name is None else cursor_of(log, name, settings) as place,
        Exporter(
            log,
            place,
            _sink(target, telemetry, log),
            what,
            refused=refused_of(log, name or target.cursor, settings),
            begin=begin,
            interval_s=telemetry.interval_s if interval_s is None else interval_s,
            patience_s=patience_s,
            batch_bytes=min(BATCH_BYTES, telemetry.max_bytes // 2),
            troubled=troubled,
        ) as exporter,
    ):
        yield exporter


def _no_place() -> AbstractContextManager[Passing]:
    return nullcontext(Passing())


def _sink(target: Target, telemetry: Telemetry, log: EventLog) -> Sink:
    resource = {"service.instance.id": log.id, names.LOG_ID: log.id}  # not this process': repeats are equal
    if target.kind == "file":
        from telemetry.otel.export.to_files import FileSink

        return FileSink(Path(target.where), resource=resource)
    if target.kind == "console":
        from telemetry.otel.export.sink import console

        return console(resource=resource)
    if protocol_of(target.where) == "grpc":
        from telemetry.otel.export.over_grpc import GrpcSink

        return GrpcSink(target.where, resource=resource, max_bytes=telemetry.max_bytes)
    from telemetry.otel.export.over_http import HttpSink

    return HttpSink(target.where, resource=resource, max_bytes=telemetry.max_bytes)
