"""Spans and records of ours as the SDK's. Loads the SDK; nobody else of this package builds its values.

Invariant: what comes out says what went in, cut by none of the SDK's limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from opentelemetry._logs import LogRecord as SdkLogRecord
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from telemetry.otel import names
from telemetry.otel.export import wire
from telemetry.otel.record import LogRecord
from telemetry.otel.resource import resource
from telemetry.otel.span import Attributes, Span

SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_KINDS: Final = {"internal": SpanKind.INTERNAL, "client": SpanKind.CLIENT}
_UNSET: Final = Status(StatusCode.UNSET)
_NO_CONTEXT: Final = Context()
"""Of a record, which has its ids from the log and not from what runs here."""


class Converter:
    def __init__(self, about: Attributes) -> None:
        """`about` says whose telemetry it is, beside what the standard variables say."""
        self._resource = resource().merge(Resource(dict(about)))
        self._scope = InstrumentationScope(names.SCOPE, names.SCOPE_VERSION, names.SCHEMA_URL)

    def spans(self, spans: Sequence[Span]) -> list[ReadableSpan]:
        return [self._span(span) for span in spans]

    def records(self, records: Sequence[LogRecord]) -> list[ReadableLogRecord]:
        return [self._record(record) for record in records]

    def _span(self, span: Span) -> ReadableSpan:
        trace_id, parent = span.trace_id, span.parent_id
        return ReadableSpan(
            span.name,
            SpanContext(trace_id, span.span_id, False, SAMPLED),
            None if parent is None else SpanContext(trace_id, parent, False, SAMPLED),
            self._resource,
            span.attributes,
            [Event(event.name, event.attributes, event.at) for event in span.events] if span.events else (),
            [_link(link.trace_id, link.span_id, link.attributes) for link in span.links] if span.links else (),
            _KINDS[span.kind],
            None,
            _UNSET if span.error is None else Status(StatusCode.ERROR, span.error),
            span.start,
            span.end,
            self._scope,
        )

    def _record(self, record: LogRecord) -> ReadableLogRecord:
        """Observed when it happened, so that a repeat is the same to the bit."""
        made = SdkLogRecord(
            timestamp=record.time,
            observed_timestamp=record.time,
            context=_NO_CONTEXT,
            body=record.body,
            attributes=record.attributes,
            event_name=record.name,
        )
        made.trace_id, made.span_id = record.trace_id, record.span_id
        return ReadableLogRecord(made, self._resource, self._scope)


class Wire:
    """Requests as they go over the wire. What is of a resource and a scope, the SDK encodes, once; the rest `wire`."""

    def __init__(self, about: Attributes) -> None:
        as_sdk = Converter(about)
        (traces,) = encode_spans(as_sdk.spans([_ANY_SPAN])).resource_spans
        (logs,) = encode_logs(as_sdk.records([_ANY_RECORD])).resource_logs
        del traces.scope_spans[0].spans[:], logs.scope_logs[0].log_records[:]
        self._span_scope = traces.scope_spans[0].SerializeToString()
        self._record_scope = logs.scope_logs[0].SerializeToString()
        del traces.scope_spans[:], logs.scope_logs[:]
        self._spans_about, self._records_about = traces.SerializeToString(), logs.SerializeToString()

    def spans(self, spans: Sequence[Span]) -> bytes:
        return wire.request(map(wire.span_bytes, spans), resource=self._spans_about, scope=self._span_scope)

    def records(self, records: Sequence[LogRecord]) -> bytes:
        return wire.request(map(wire.record_bytes, records), resource=self._records_about, scope=self._record_scope)


_ANY_SPAN: Final = Span(1, 1, None, "", "internal", 1, 1, {})
_ANY_RECORD: Final = LogRecord(1, "", 0, 0, None, {})


def _link(trace_id: int, span_id: int, attributes: Attributes) -> Link:
    return Link(SpanContext(trace_id, span_id, True, SAMPLED), attributes)
