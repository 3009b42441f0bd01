"""Where spans and records go. Knows what a sink answers; knows no log.

Invariant: `Taken` is said only of what an exporter called a success."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from telemetry.otel.export.answers import Again, Answer, Taken
from telemetry.otel.record import LogRecord
from telemetry.otel.span import Attributes, Span

if TYPE_CHECKING:
    from opentelemetry.sdk._logs.export import LogRecordExporter
    from opentelemetry.sdk.trace.export import SpanExporter


_LOUD: Final = ("http.trace_exporter", "http._log_exporter", "grpc.exporter")


class Sink(Protocol):
    """For one thread at a time."""

    name: str
    """For people; it holds no secret."""

    def spans(self, spans: Sequence[Span]) -> Answer: ...

    def records(self, records: Sequence[LogRecord]) -> Answer: ...

    def close(self) -> None:
        """May be called twice, and while another thread waits for an answer."""


class AnySink:
    """Any two exporters of OpenTelemetry. All that they say of a failure is that it was one, so it is tried again."""

    def __init__(self, spans: SpanExporter, records: LogRecordExporter, *, name: str, resource: Attributes) -> None:
        from telemetry.otel.export.sdk import Converter

        self.name = name
        self._spans, self._records = spans, records
        self._closed = False
        self._as_sdk = Converter(resource)

    def spans(self, spans: Sequence[Span]) -> Answer:
        from opentelemetry.sdk.trace.export import SpanExportResult

        done = self._spans.export(self._as_sdk.spans(spans))
        return Taken() if done is SpanExportResult.SUCCESS else Again(f"{self.name} did not take {len(spans)} spans")

    def records(self, records: Sequence[LogRecord]) -> Answer:
        from opentelemetry.sdk._logs.export import LogRecordExportResult

        done = self._records.export(self._as_sdk.records(records))
        if done is LogRecordExportResult.SUCCESS:
            return Taken()
        return Again(f"{self.name} did not take {len(records)} records")

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._spans.shutdown()
            self._records.shutdown()  # type: ignore[no-untyped-call]  # the SDK's


@contextmanager
def quietly() -> Iterator[None]:
    """Meanwhile the SDK's exporters of spans and records print nothing of failures: their answers say more. Several
    threads may be inside, each for its time."""

    def nothing(_: logging.LogRecord) -> bool:
        return False

    loggers = [logging.getLogger(f"opentelemetry.exporter.otlp.proto.{name}") for name in _LOUD]
    for logger in loggers:
        logger.addFilter(nothing)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(nothing)


def console(*, resource: Attributes) -> AnySink:
    """The SDK's own console exporters, on stdout."""
    from opentelemetry.sdk._logs.export import ConsoleLogRecordExporter
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter

    return AnySink(ConsoleSpanExporter(), ConsoleLogRecordExporter(), name="console", resource=resource)
