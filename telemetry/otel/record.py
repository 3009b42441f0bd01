"""The record: one OTLP log record an event, from which the event can be had again, bit for bit.

Knows what OTLP keeps of a log record; knows no SDK, no file and no wire. Invariant: `event_of(record_of(event))` is the
event, or where its payload did not travel the event with its payload withheld; the chain goes on over both.

    time, name            `at`, `type`
    trace_id, span_id     the trace of its cycle, and that trace's root
    body                  the payload as stored, of a blob its content; none where it does not travel
    attributes            the conversation or stream, and RECORD: every other column but those, as a JSON list"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, TypeAlias

import orjson

from telemetry.errors import InvalidEvent
from telemetry.events.envelope import WITHHELD, Recorded
from telemetry.events.event import phase_of
from telemetry.log.export import check_columns
from telemetry.log.rows import STRUCTURE, blob_digest, blob_reference
from telemetry.otel import names
from telemetry.otel.ids import cycle_span_id, trace_id

Detail: TypeAlias = Literal["stored", "digest"]
"""Whether the payloads travel as they are stored, or only their digests."""

SESSION: Final = "session/"
"""What the name of a session's stream begins with; the rest is its conversation id."""

EMPTY: Final = hashlib.sha256().digest()

_VERSION: Final = re.compile(r"[1-9][0-9]{0,17}")
_CELLS: Final = 16
_ATTRIBUTE_BYTES: Final = 16
_RECORD_BYTES: Final = 80
"""What protobuf adds to an attribute and to a record, at most."""


@dataclass(frozen=True, slots=True)
class LogRecord:
    """What OTLP keeps of a log record, as far as an event fills it. `time` in UTC ns; an id of 0 is none."""

    time: int
    name: str
    trace_id: int
    span_id: int
    body: str | bytes | None
    attributes: Mapping[str, str]


def record_of(event: Recorded, *, detail: Detail) -> LogRecord:
    """With `digest` the payload travels of those events alone that say where streams go on from (`STRUCTURE`)."""
    stream, type_ = event.stream, event.type
    prefix = f"{stream}@"
    cause: str | int = event.cause
    if event.cause.startswith(prefix) and _VERSION.fullmatch(version := event.cause[len(prefix) :]):
        cause = int(version)  # most events are caused by one of their own stream
    cells = (
        event.position,
        event.version,
        event.schema,
        event.command,
        event.ordinal,
        event.elapsed_ns,
        event.epoch,
        event.cycle,
        None if event.phase == phase_of(type_) else event.phase,
        cause,
        event.refs,
        event.mode,
        event.payload.decode(errors="replace") if event.withheld else event.encoding,
        event.keys,
        base64.b64encode(event.digest).decode(),
        base64.b64encode(event.hash).decode(),
    )
    body = _body(event) if detail == "stored" or type_ in STRUCTURE else None
    named = {names.CONVERSATION: stream[len(SESSION) :]} if stream.startswith(SESSION) else {names.STREAM: stream}
    trace, span = _ids(stream, event.cycle)
    return LogRecord(event.at, type_, trace, span, body, {**named, names.RECORD: orjson.dumps(cells).decode()})


def is_ours(record: LogRecord) -> bool:
    """Whether it says to be the record of an event."""
    return names.RECORD in record.attributes


def event_of(record: LogRecord) -> Recorded:
    """The event of a record, withheld where its payload did not come with it.

    Raises `InvalidEvent` for what `record_of` does not make, and for what was altered."""
    attributes = record.attributes
    try:
        stream = attributes.get(names.STREAM)
        if stream is None:
            stream = SESSION + attributes[names.CONVERSATION]
        cells = orjson.loads(attributes[names.RECORD])
        if len(cells) != _CELLS:
            raise ValueError(f"it has {len(cells)} columns; a newer version may have written it")
        phase, cause, encoding = cells[8], cells[9], cells[12]
        digest, hash_ = (base64.b64decode(cell, validate=True) for cell in cells[14:])
        payload, content = _payload(record.body, encoding, digest)
        event = Recorded(
            position=cells[0],
            stream=stream,
            version=cells[1],
            type=record.name,
            schema=cells[2],
            command=cells[3],
            ordinal=cells[4],
            at=record.time,
            elapsed_ns=cells[5],
            epoch=cells[6],
            cycle=cells[7],
            phase=phase_of(record.name) if phase is None else phase,
            cause=f"{stream}@{cause}" if isinstance(cause, int) else cause,
            refs=cells[10],
            mode=cells[11],
            encoding=encoding if payload is not None else WITHHELD,
            keys=cells[13],
            payload=encoding.encode() if payload is None else payload,
            digest=digest,
            hash=hash_,
            content=content,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidEvent(f"it is no record of an event: {error}") from error
    check_columns(event)
    return event


def size_bytes(record: LogRecord) -> int:
    """At least what it takes on the wire as protobuf, for batches that are bounded in bytes."""
    body = record.body.encode() if isinstance(record.body, str) else record.body or b""
    size = _RECORD_BYTES + len(record.name) + len(body)
    return size + sum(len(name) + len(value.encode()) + _ATTRIBUTE_BYTES for name, value in record.attributes.items())


@lru_cache(maxsize=4_096)
def _ids(stream: str, cycle: int) -> tuple[int, int]:
    return trace_id(stream, cycle), cycle_span_id(stream, cycle)


def _body(event: Recorded) -> str | bytes | None:
    """What travels of a payload; nothing where it is withheld, or is a blob whose content is not here."""
    body: bytes | None = event.payload
    if event.withheld:
        return None
    if event.encoding == "blob":
        body = event.content
        if body is None or blob_reference(blob_digest(event.payload), len(body)) != event.payload:
            return None
    assert body is not None
    try:
        return body.decode()
    except UnicodeDecodeError:
        return body


def _payload(body: str | bytes | None, encoding: str, digest: bytes) -> tuple[bytes | None, bytes | None]:
    """The stored payload and the content; no payload where none travelled."""
    if body is None:
        return (b"", None) if digest == EMPTY else (None, None)
    raw = body.encode() if isinstance(body, str) else body
    if encoding != "blob":
        return raw, None
    return blob_reference(hashlib.sha256(raw).hexdigest(), len(raw)), raw
