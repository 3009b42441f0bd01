"""What is put on the wire here is what the SDK's encoder puts there."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from telemetry.otel.export.sdk import Converter, Wire
from telemetry.otel.record import LogRecord
from telemetry.otel.span import Link, Span, SpanEvent

TIMES = st.integers(1, 2**63 - 1)
TEXT = st.text(st.characters(codec="utf-8"), max_size=300)
SCALARS = st.one_of(TEXT, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))
LISTS = st.one_of(
    st.lists(TEXT, max_size=3), st.lists(st.integers(-5, 2**40), max_size=3), st.lists(st.floats(allow_nan=False))
)
ATTRIBUTES = st.dictionaries(TEXT, st.one_of(SCALARS, LISTS), max_size=6)
TRACES, IDS = st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1)
SPANS = st.builds(
    Span,
    trace_id=TRACES,
    span_id=IDS,
    parent_id=st.none() | IDS,
    name=TEXT,
    kind=st.sampled_from(["internal", "client"]),
    start=TIMES,
    end=TIMES,
    attributes=ATTRIBUTES,
    events=st.lists(st.builds(SpanEvent, TEXT, TIMES, ATTRIBUTES), max_size=2),
    links=st.lists(st.builds(Link, TRACES, IDS, ATTRIBUTES), max_size=2),
    error=st.none() | TEXT,
)
RECORDS = st.builds(
    LogRecord,
    time=TIMES,
    name=TEXT,
    trace_id=st.just(0) | TRACES,
    span_id=st.just(0) | IDS,
    body=st.none() | TEXT | st.binary(max_size=300),
    attributes=st.dictionaries(TEXT, TEXT, max_size=3),
)
ABOUT = {"aetherloop.log.id": "x"}
WIRE, AS_SDK = Wire(ABOUT), Converter(ABOUT)


@given(st.lists(SPANS, min_size=1, max_size=3))
@settings(deadline=None)
def test_spans_are_on_the_wire_as_the_sdk_puts_them(spans: Sequence[Span]) -> None:
    found = ExportTraceServiceRequest.FromString(WIRE.spans(spans))
    assert found == encode_spans(AS_SDK.spans(spans))


@given(st.lists(RECORDS, min_size=1, max_size=3))
@settings(deadline=None)
def test_records_are_on_the_wire_as_the_sdk_puts_them(records: Sequence[LogRecord]) -> None:
    found = ExportLogsServiceRequest.FromString(WIRE.records(records))
    assert found == encode_logs(AS_SDK.records(records))
