"""What a collector must have of a log, and what it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as Received
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from telemetry.log import EventLog
from telemetry.otel.content import Content
from telemetry.otel.record import LogRecord, event_of
from telemetry.otel.spans import SpanFold

Ids = Counter[tuple[str, str]]
"""Of a span: its trace's id and its own, in hex; how often each is there."""


def spans_of_log(log: EventLog) -> Ids:
    """Of every span that follows from it."""
    spans = SpanFold(log, content=Content()).fold(log.read_all())
    return Counter((f"{span.trace_id:032x}", f"{span.span_id:016x}") for span in spans)


def spans_received(spans: Iterable[Span]) -> Ids:
    return Counter((span.trace_id.hex(), span.span_id.hex()) for span in spans)


def events_received(records: Iterable[Received]) -> Counter[str]:
    """Ids of the events whose records arrived, how often each did. Raises `InvalidEvent` for one that was altered."""
    return Counter(event_of(_record(record)).id for record in records)


def body_of(record: Received) -> str | bytes | None:
    """None where no payload came: the SDK writes an empty value then."""
    kind = record.body.WhichOneof("value")
    return None if kind is None else getattr(record.body, kind)


def _record(record: Received) -> LogRecord:
    return LogRecord(
        record.time_unix_nano,
        record.event_name,
        int.from_bytes(record.trace_id, "big"),
        int.from_bytes(record.span_id, "big"),
        body_of(record),
        {attribute.key: attribute.value.string_value for attribute in record.attributes},
    )
