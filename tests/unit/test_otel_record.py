"""The record of an event, and the event of a record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from telemetry.errors import InvalidEvent
from telemetry.events import Recorded
from telemetry.log import open_log
from telemetry.log.export import event_of as event_of_line
from telemetry.log.export import export_lines
from telemetry.otel import names
from telemetry.otel.files import logs_line
from telemetry.otel.ids import cycle_span_id, trace_id
from telemetry.otel.record import Detail, LogRecord, event_of, is_ours, record_of, size_bytes
from tests.aether import ROOT
from tests.contract.stores import note

GOLDEN = sorted((ROOT / "tests" / "golden").glob("*.jsonl"))


def golden(name: str = "maze") -> list[Recorded]:
    lines = (ROOT / "tests" / "golden" / f"{name}.jsonl").read_bytes().splitlines()
    return [event_of_line(line) for line in lines]


@pytest.mark.parametrize("name", [path.stem for path in GOLDEN if "must-fail" not in path.stem])
def test_every_golden_event_comes_back_bit_for_bit(name: str) -> None:
    for event in golden(name):
        assert event_of(record_of(event, detail="stored")) == event


def test_a_record_says_when_and_what_in_the_trace_of_its_cycle() -> None:
    event = golden()[5]
    record = record_of(event, detail="stored")
    assert (record.time, record.name) == (event.at, "reason.proposed")
    assert (record.trace_id, record.span_id) == (trace_id("session/maze", 1), cycle_span_id("session/maze", 1))
    assert record.attributes["gen_ai.conversation.id"] == "maze"
    assert record.body == event.payload.decode()
    assert is_ours(record)


def test_with_digests_alone_no_payload_travels_but_everything_else() -> None:
    for event in golden():
        record = record_of(event, detail="digest")
        assert record.body is None
        back = event_of(record)
        assert (back.encoding, back.payload) == ("withheld", b"plain")
        assert (back.header(), back.digest, back.hash) == (event.header(), event.digest, event.hash)
        assert record_of(back, detail="stored") == record, "what was withheld is recorded as withheld again"


def test_the_content_of_a_blob_travels_and_names_its_reference(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log.db")
    log.append("a", [note("x" * 50_000)], expected_version=0, epoch=1)
    (event,) = log.read("a")
    log.close()
    assert event.encoding == "blob"
    record = record_of(event, detail="stored")
    assert record.body == (event.content or b"").decode()
    assert event_of(record) == event
    assert event_of(record_of(event, detail="digest")).payload == b"blob"
    lost = replace(event, content=None)
    assert event_of(record_of(lost, detail="stored")).encoding == "withheld"


def test_bytes_that_are_no_text_travel_as_bytes() -> None:
    import hashlib

    raw = bytes(range(256))
    event = replace(golden()[5], payload=raw, encoding="aes-gcm", digest=hashlib.sha256(raw).digest())
    record = record_of(event, detail="stored")
    assert record.body == raw
    assert event_of(record) == event


ODD = [
    {"cause": "@7"},
    {"cause": "session/maze@"},
    {"cause": "session/maze@07"},
    {"cause": "session/maze@7 "},
    {"cause": "session/maze@" + "9" * 5_000},
    {"cause": "session/maze@٧"},
    {"cause": "session/maze@x@7"},
    {"cause": "session/other@7"},
    {"phase": "odd"},
    {"refs": '["session/b@1", "x"]'},
    {"stream": "model/maze"},
    {"stream": "session/"},
    {"type": "dream.seen", "phase": "dream"},
    {"keys": '["k"]', "mode": "import", "epoch": 2**63 - 1, "elapsed_ns": 2**63 - 1, "at": 2**63 - 1},
]


@pytest.mark.parametrize("detail", ["stored", "digest"])
@pytest.mark.parametrize("columns", ODD, ids=str)
def test_no_column_is_taken_for_another(columns: dict[str, str | int], detail: Detail) -> None:
    event = replace(golden()[5], **columns)  # type: ignore[arg-type]  # columns of their kinds
    assert event_of(record_of(event, detail=detail)).header() == event.header()


def test_an_altered_or_foreign_record_is_refused_and_says_why() -> None:
    record = record_of(golden()[5], detail="stored")
    cells = orjson.loads(record.attributes[names.RECORD])

    def having(place: int, cell: object) -> LogRecord:
        packed = orjson.dumps([*cells[:place], cell, *cells[place + 1 :]]).decode()
        return replace(record, attributes={**record.attributes, names.RECORD: packed})

    for odd, words in (
        (replace(record, body='{"altered":1}'), "its payload has the digest"),
        (replace(record, attributes={}), "no record of an event"),
        (replace(record, attributes={**record.attributes, names.RECORD: "[1]"}), "a newer version may have written it"),
        (replace(record, attributes={names.RECORD: record.attributes[names.RECORD]}), "no record of an event"),
        (having(1, "6"), "its version is '6'"),
        (having(6, -1), "its epoch is -1"),
        (having(7, True), "its cycle is True"),
        (having(12, None), "its encoding is None"),
        (having(15, "%%%"), "no record of an event"),
        (replace(record, body=None, name="session.forked"), "cannot be put together without"),
        (replace(record, time=-1), "its at is -1"),
    ):
        with pytest.raises(InvalidEvent, match=words):
            event_of(odd)


@pytest.mark.parametrize("name", ["maze", "lava", "refund"])
def test_a_record_takes_hardly_more_room_than_an_exported_line(name: str) -> None:
    events = golden(name)
    records = [record_of(event, detail="stored") for event in events]
    line = logs_line(records, resource={names.LOG_ID: "x"})
    assert len(line) <= 1.1 * sum(map(len, export_lines(events)))


def test_a_records_size_is_not_below_what_protobuf_takes() -> None:
    from opentelemetry._logs import LogRecord as SdkRecord
    from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.sdk.resources import Resource

    for event in golden("refund"):
        for detail in ("stored", "digest"):
            record = record_of(event, detail=detail)
            sdk = SdkRecord(
                timestamp=record.time,
                observed_timestamp=record.time,
                body=record.body,
                attributes=record.attributes,
                event_name=record.name,
            )
            request = encode_logs([ReadableLogRecord(sdk, Resource.get_empty())])
            (one,) = request.resource_logs[0].scope_logs[0].log_records
            assert one.ByteSize() <= size_bytes(record) <= one.ByteSize() + 150
