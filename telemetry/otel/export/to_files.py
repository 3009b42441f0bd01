"""OTLP files in a folder, one signal a file. Invariant: `Taken` is said of what is on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from telemetry.otel import names
from telemetry.otel.export.answers import Answer, Taken
from telemetry.otel.files import OtlpFile, logs_line, spans_line
from telemetry.otel.record import LogRecord
from telemetry.otel.span import Attributes, Span

TRACES, LOGS = "traces.jsonl", "logs.jsonl"


class FileSink:
    """Appends. Loads no SDK."""

    def __init__(self, folder: Path, *, resource: Attributes) -> None:
        """A file is made with its first line. Raises `LogUnwritable`, and `CursorRefused` when another process writes
        there, once there is something to write."""
        self.name = str(folder)
        self._folder = folder
        self._resource = {"service.name": names.SERVICE, **resource}
        self._files: dict[str, OtlpFile] = {}

    def spans(self, spans: Sequence[Span]) -> Answer:
        return self._append(TRACES, spans_line(spans, resource=self._resource))

    def records(self, records: Sequence[LogRecord]) -> Answer:
        return self._append(LOGS, logs_line(records, resource=self._resource))

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _append(self, name: str, line: bytes) -> Answer:
        if name not in self._files:
            self._files[name] = OtlpFile(self._folder / name)
        self._files[name].append(line)
        return Taken()
