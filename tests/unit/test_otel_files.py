"""Files of OTLP: what is written is what the specification says, and whole after a kill."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import Parse  # type: ignore[import-untyped]  # it ships no types
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from telemetry.errors import CursorRefused, LogUnwritable
from telemetry.otel.files import OtlpFile, logs_line, request_line, spans_line
from telemetry.otel.record import record_of
from telemetry.otel.span import Link, Span, SpanEvent
from tests.aether import ROOT
from tests.unit.test_otel_record import golden

EXAMPLES = ROOT.parent / "shared" / "data" / "otlp-examples"
RESOURCE = {"service.name": "aetherloop"}


def in_base64(value: Any) -> Any:  # noqa: ANN401  a JSON document
    """OTLP's JSON as protobuf's own reader takes it: ids in base64."""
    import base64

    if isinstance(value, dict):
        return {
            name: base64.b64encode(bytes.fromhex(inner)).decode()
            if name in ("traceId", "spanId", "parentSpanId")
            else in_base64(inner)
            for name, inner in value.items()
        }
    return [in_base64(inner) for inner in value] if isinstance(value, list) else value


def parsed(line: bytes, message: Any) -> Any:  # noqa: ANN401  protobuf ships no types
    return Parse(json.dumps(in_base64(json.loads(line))), message)


def test_a_line_of_records_is_otlp_and_holds_what_the_records_hold() -> None:
    records = [record_of(event, detail="stored") for event in golden()]
    line = logs_line(records, resource=RESOURCE)
    (resource_logs,) = parsed(line, LogsData()).resource_logs
    assert {one.key: one.value.string_value for one in resource_logs.resource.attributes} == RESOURCE
    (scope_logs,) = resource_logs.scope_logs
    for record, found in zip(records, scope_logs.log_records, strict=True):
        assert (found.time_unix_nano, found.event_name) == (record.time, record.name)
        assert int.from_bytes(found.trace_id, "big") == record.trace_id
        assert int.from_bytes(found.span_id, "big") == record.span_id
        assert found.body.string_value == record.body
        assert {one.key: one.value.string_value for one in found.attributes} == record.attributes


def test_a_line_of_spans_is_otlp_and_holds_what_the_spans_hold() -> None:
    span = Span(
        trace_id=2**127 + 5,
        span_id=7,
        parent_id=9,
        name="chat model",
        kind="client",
        start=1_795_246_932_000_000_001,
        end=1_795_246_932_000_000_009,
        attributes={"a": "é", "b": True, "c": 2**60, "d": 0.5, "e": ["x", "y"], "f": [1, 2], "g": float("nan")},
        events=[SpanEvent("seen", 1_795_246_932_000_000_002, {"n": 1})],
        links=[Link(3, 4, {"why": "fork"})],
        error="it said no",
    )
    plain = Span(trace_id=1, span_id=2, parent_id=None, name="root", kind="internal", start=1, end=1, attributes={})
    first, second = (
        parsed(spans_line([span, plain], resource=RESOURCE), TracesData()).resource_spans[0].scope_spans[0].spans
    )
    assert (first.trace_id.hex(), first.span_id.hex(), first.parent_span_id.hex()) == (
        "80000000000000000000000000000005",
        "0000000000000007",
        "0000000000000009",
    )
    assert (first.name, first.kind, first.start_time_unix_nano, first.end_time_unix_nano) == (
        "chat model",
        3,
        span.start,
        span.end,
    )
    values = {one.key: one.value for one in first.attributes}
    assert (values["a"].string_value, values["b"].bool_value, values["c"].int_value) == ("é", True, 2**60)
    assert [one.string_value for one in values["e"].array_value.values] == ["x", "y"]
    assert values["d"].double_value == 0.5
    assert values["g"].double_value != values["g"].double_value
    assert (first.events[0].name, first.events[0].attributes[0].value.int_value) == ("seen", 1)
    assert (first.links[0].trace_id[-1], first.links[0].span_id[-1]) == (3, 4)
    assert (first.status.code, first.status.message) == (2, "it said no")
    assert (second.kind, second.parent_span_id, second.status.code) == (1, b"", 0)


@pytest.mark.parametrize(
    ("name", "message"), [("logs", LogsData), ("events", LogsData), ("trace", TracesData), ("metrics", MetricsData)]
)
def test_the_examples_of_the_protocol_come_back_as_they_were(name: str, message: type[Any]) -> None:
    path = EXAMPLES / f"{name}.json"
    if not path.exists():
        pytest.skip("the protocol's examples are not here: ../shared/data/otlp-examples")
    said = path.read_bytes()
    request = parsed(said, message())
    line = request_line(request)
    assert line.count(b"\n") == 1
    again = parsed(line, message())
    assert again == request
    assert lowered(json.loads(line)) == lowered(json.loads(said))


def lowered(value: Any) -> Any:  # noqa: ANN401  a JSON document
    """With ids in one case, numbers in one form, as 64 bits may stand in a string, and without zeros, as by default."""
    if isinstance(value, dict):
        return {key: found for key, one in value.items() if (found := lowered(one)) != 0.0}
    if isinstance(value, list):
        return [lowered(one) for one in value]
    text = str(value).lower()
    return float(text) if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text) else text


@pytest.mark.parametrize("binary", [False, True])
def test_what_a_kill_cut_off_is_gone_when_the_file_is_opened_again(tmp_path: Path, binary: bool) -> None:
    requests = [b"x" * size + (b"" if binary else b"\n") for size in (3, 70_000, 200_000)]
    for kept in range(len(requests) + 1):
        for cut in (0, 1, 2, 100, 150_000):
            path = tmp_path / f"{kept}-{cut}"
            with OtlpFile(path, binary=binary) as file:
                for request in requests[:kept]:
                    file.append(request)
            whole = path.read_bytes()
            torn = requests[2].rstrip(b"\n") if not binary else (200_001).to_bytes(4, "big") + requests[2]
            path.write_bytes(whole + torn[:cut])
            with OtlpFile(path, binary=binary) as file:
                assert path.read_bytes() == whole
                file.append(requests[0])
            assert path.read_bytes() == whole + (b"\0\0\0\x03" if binary else b"") + requests[0]


def test_one_process_writes_a_file_at_a_time(tmp_path: Path) -> None:
    with OtlpFile(tmp_path / "new" / "logs.jsonl"), pytest.raises(CursorRefused, match="another process writes"):
        OtlpFile(tmp_path / "new" / "logs.jsonl")
    OtlpFile(tmp_path / "new" / "logs.jsonl").close()


def test_a_file_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(LogUnwritable, match="cannot be written"):
        OtlpFile(tmp_path)
