"""What a collector's answers become, over HTTP and over gRPC; and any exporter of OpenTelemetry as a sink."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from telemetry.otel.export.address import shown
from telemetry.otel.export.answers import Again, Answer, Barred, Faltered, Refused, Taken, TooLarge
from telemetry.otel.export.over_grpc import GrpcSink
from telemetry.otel.export.over_http import HttpSink, answer_of
from telemetry.otel.export.parts import span_bytes, span_reference
from telemetry.otel.export.sink import AnySink, Sink, quietly
from telemetry.otel.record import LogRecord
from telemetry.otel.span import Link, Span, SpanEvent
from tests.collector import Collector, Manner, collecting, records_of, spans_of
from tests.collectors import CollectorProcess, collector_process

SPAN = Span(
    trace_id=2**127 + 1,
    span_id=2**63 + 1,
    parent_id=7,
    name="chat tiny",
    kind="client",
    start=1_000,
    end=2_000,
    attributes={"a": "text", "b": 1, "c": 0.5, "d": True, "e": ["x", "y"]},
    events=(SpanEvent("said", 1_500, {"f": "g"}),),
    links=(Link(3, 4, {"why": "fork"}),),
    error="it broke",
)
RECORD = LogRecord(1_000, "session.opened", 2**127 + 1, 9, '{"a":1}', {"aetherloop.event": "[1]"})
Connect = Callable[[Collector], Sink]


def over_http(collector: Collector | CollectorProcess, *, url: str | None = None) -> HttpSink:
    return HttpSink(url or collector.url, resource={"aetherloop.log.id": "x"}, max_bytes=100_000, timeout_s=60)


def over_grpc(collector: Collector | CollectorProcess, *, url: str | None = None) -> GrpcSink:
    return GrpcSink(url or collector.grpc_url, resource={"aetherloop.log.id": "x"}, max_bytes=100_000, timeout_s=60)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@pytest.fixture(params=[over_http, over_grpc])
def sink(request: pytest.FixtureRequest, collector: Collector) -> Iterator[Sink]:
    with closing(request.param(collector)) as found:
        yield found


def test_a_span_arrives_as_it_was(collector: Collector, sink: Sink) -> None:
    assert sink.spans([SPAN]) == Taken()
    (span,) = spans_of(collector.requests)
    assert (span.trace_id, span.span_id, span.parent_span_id) == (
        SPAN.trace_id.to_bytes(16, "big"),
        SPAN.span_id.to_bytes(8, "big"),
        (7).to_bytes(8, "big"),
    )
    assert (span.name, span.start_time_unix_nano, span.end_time_unix_nano) == ("chat tiny", 1_000, 2_000)
    assert span.kind == span.SPAN_KIND_CLIENT
    assert (span.status.code, span.status.message) == (span.status.STATUS_CODE_ERROR, "it broke")
    values = {attribute.key: attribute.value for attribute in span.attributes}
    assert values["a"].string_value == "text"
    assert (values["b"].int_value, values["c"].double_value, values["d"].bool_value) == (1, 0.5, True)
    assert [one.string_value for one in values["e"].array_value.values] == ["x", "y"]
    assert [(event.name, event.time_unix_nano) for event in span.events] == [("said", 1_500)]
    assert [link.span_id for link in span.links] == [(4).to_bytes(8, "big")]


def test_a_record_arrives_as_it_was_and_a_repeat_is_the_same_to_the_bit(collector: Collector, sink: Sink) -> None:
    assert sink.records([RECORD]) == sink.records([RECORD]) == Taken()
    first, second = (request.SerializeToString() for request in collector.requests)
    assert first == second
    record = records_of(collector.requests)[0]
    assert (record.event_name, record.time_unix_nano, record.span_id) == (RECORD.name, 1_000, (9).to_bytes(8, "big"))
    assert record.body.string_value == RECORD.body
    assert {attribute.key: attribute.value.string_value for attribute in record.attributes} == RECORD.attributes


@pytest.mark.parametrize(
    ("manner", "kind"),
    [
        (Manner(status=503), Again),
        (Manner(status=500), Faltered),
        (Manner(status=413), TooLarge),
        (Manner(limit_bytes=10), TooLarge),
        (Manner(status=400), Refused),
        (Manner(status=401), Barred),
    ],
    ids=str,
)
def test_an_answer_means_the_same_over_both_protocols(
    collector: Collector, sink: Sink, manner: Manner, kind: type[Answer]
) -> None:
    collector.manner = manner
    assert isinstance(sink.spans([SPAN]), kind)
    assert isinstance(sink.records([RECORD]), kind)
    assert collector.asked == 2, "a request is asked once; what is tried again is not decided here"
    assert collector.requests == []


def test_a_collector_says_when_to_come_again(collector: Collector, sink: Sink) -> None:
    collector.manner = Manner(status=429, retry_after="7")
    answer = sink.spans([SPAN])
    assert isinstance(answer, Again)
    assert answer.after_s == 7.0


def test_a_request_whose_time_was_over_before_it_was_sent_is_not_taken(collector: Collector) -> None:
    """As of a process that stood still: what the SDK meets then it keeps to itself."""
    with closing(HttpSink(collector.url, resource={}, max_bytes=100_000, timeout_s=0)) as sink:
        assert sink.spans([SPAN]) == sink.records([RECORD]) == Again("the request was not sent")
    assert collector.asked == 0


def test_a_partial_success_is_no_success(collector: Collector, sink: Sink) -> None:
    collector.manner = Manner(rejects="poison")
    poisoned = SPAN._replace(name="poison")
    answer = sink.spans([SPAN, poisoned, SPAN])
    assert answer == Refused("1 hold 'poison'", 1)
    assert len(spans_of(collector.requests)) == 2


def test_a_span_that_is_too_large_goes_with_digests_of_its_long_attributes_and_says_which() -> None:
    text = "x" * 5_000
    large = SPAN._replace(attributes={"short": "y", "long": text, "many": ["z" * 800] * 3})
    reference = span_reference(large)
    assert reference is not None
    assert reference.attributes["short"] == "y"
    assert reference.attributes["aetherloop.by_reference"] == ["long", "many"]
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert reference.attributes["long"] == f"sha256:{digest} of 5000 bytes"
    assert span_bytes(reference) < 1_000 < span_bytes(large)
    assert span_reference(reference) is None
    assert span_reference(SPAN) is None


def test_what_protobuf_cannot_hold_is_refused_and_nothing_is_cut(collector: Collector, sink: Sink) -> None:
    for odd in (SPAN._replace(attributes={"a": 2**70}), SPAN._replace(name="\ud800")):
        assert isinstance(sink.spans([SPAN, odd]), Refused)
    assert collector.asked == 0


def test_a_request_above_the_limit_is_not_sent(collector: Collector, sink: Sink) -> None:
    large = LogRecord(1, "x", 1, 2, "y" * 200_000, {})
    assert isinstance(sink.records([large]), TooLarge)
    assert collector.asked == 0


@pytest.mark.parametrize("connect", [over_http, over_grpc])
def test_a_collector_that_is_not_there_may_come(connect: Callable[..., Sink]) -> None:
    with collecting() as gone:
        pass
    with closing(connect(gone)) as sink:
        answer = sink.spans([SPAN])
    assert isinstance(answer, Again)
    assert "refused" in answer.why.lower()


@pytest.mark.parametrize("connect", [over_http, over_grpc])
def test_a_killed_collector_is_found_again_where_it_was(connect: Callable[..., Sink]) -> None:
    with collector_process() as collector, closing(connect(collector)) as sink:
        assert sink.spans([SPAN]) == Taken()
        collector.kill()
        assert isinstance(sink.spans([SPAN]), Again)
        collector.start()
        answers = [sink.spans([SPAN]), sink.spans([SPAN])]
        assert answers[-1] == Taken()
        assert len(collector.spans) == 1 + answers.count(Taken())


def test_headers_are_the_standard_variables_and_shown_nowhere(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=hush%201")
    with closing(over_http(collector, url=collector.url.replace("//", "//me:hush@"))) as sink:
        collector.manner = Manner(status=401)
        answer = sink.spans([SPAN])
    assert collector.headers[0]["x-key"] == "hush 1"
    assert "hush" not in f"{answer} {sink.name}"


def test_a_redirection_and_a_stranger_are_no_success() -> None:
    def rejected(_: bytes) -> tuple[int, str]:
        return 0, ""

    assert isinstance(answer_of(302, {}, b"", rejected), Barred)
    assert isinstance(answer_of(404, {"content-type": "text/html"}, b"<html>", rejected), Barred)
    assert answer_of(204, {}, b"", rejected) == Taken()
    assert shown("http://me:hush@machine:4318/x?key=hush") == "http://machine:4318/x"


def test_any_two_exporters_of_opentelemetry_are_a_sink() -> None:
    spans, records = InMemorySpanExporter(), InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # the SDK's
    sink = AnySink(spans, records, name="memory", resource={})
    assert sink.spans([SPAN]) == sink.records([RECORD]) == Taken()
    assert [span.name for span in spans.get_finished_spans()] == [SPAN.name]
    assert [log.log_record.event_name for log in records.get_finished_logs()] == [RECORD.name]
    sink.close()
    assert isinstance(sink.spans([SPAN]), Again)


def test_several_that_go_out_quietly_leave_the_loggers_as_they_were_whoever_ends_first() -> None:
    logger = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    heard: list[logging.LogRecord] = []
    handler = Keeping(heard)
    logger.addHandler(handler)
    first, second = quietly(), quietly()
    try:
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        logger.error("while one is inside yet")
        second.__exit__(None, None, None)
        logger.error("afterwards")
    finally:
        logger.removeHandler(handler)
    assert [record.msg for record in heard] == ["afterwards"]
    assert logger.propagate


class Keeping(logging.Handler):
    def __init__(self, heard: list[logging.LogRecord]) -> None:
        super().__init__()
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        self._heard.append(record)
