"""Spans and records as OTLP's protobuf, from ours, without an object for each field.

Knows the numbers of OTLP's fields; loads no SDK and no protobuf. The SDK's encoder makes two messages of every
attribute, which takes longer than all else that an exporter does (docs/design/0030). Invariant: it gives what the SDK's
encoder gives for the same spans and records, message for message; a test compares them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from telemetry.otel.record import LogRecord
from telemetry.otel.span import Attribute, Attributes, Link, Span, SpanEvent

BYTES, BIT32, BIT64 = 2, 5, 1
"""Wire types of protobuf."""


NO_PROTOBUF: Final = (OverflowError, UnicodeEncodeError, struct.error)
"""What an integer beyond 64 bits raises, and text that is no UTF-8."""


def _tag(number: int, kind: int) -> bytes:
    return varint(number << 3 | kind)


def varint(value: int) -> bytes:
    """Of protobuf; a negative number has ten bytes."""
    value &= (1 << 64) - 1
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


_SHORT: Final = tuple(varint(number) for number in range(1 << 14))
"""Of lengths and numbers that are met most."""


def _length(size: int) -> bytes:
    return _SHORT[size] if size < len(_SHORT) else varint(size)


def delimited(tag: bytes, content: bytes) -> bytes:
    """A field of text, of bytes or of a message."""
    return b"".join((tag, _length(len(content)), content))


FIRST, SECOND, THIRD, FOURTH = (_tag(number, BYTES) for number in range(1, 5))
_KINDS: Final = {"internal": b"\x30\x01", "client": b"\x30\x03"}
_FIXED: Final = struct.Struct("<Q").pack
_TIMES: Final = struct.Struct("<cQcQ").pack
_DOUBLE: Final = struct.Struct("<d").pack
_START, _END, _TIME, _OBSERVED = (_tag(number, BIT64) for number in (7, 8, 1, 11))
_ATTRIBUTES, _EVENTS, _LINKS, _STATUS = (_tag(number, BYTES) for number in (9, 11, 13, 15))
_NAME, _BODY, _OF_RECORD, _TRACE, _SPAN, _EVENT_NAME = (_tag(number, BYTES) for number in (5, 5, 6, 9, 10, 12))
_LOCAL: Final = _tag(16, BIT32) + (0x100).to_bytes(4, "little")
_REMOTE: Final = _tag(6, BIT32) + (0x300).to_bytes(4, "little")
"""Flags: that it is known whether a parent or a linked span is remote, and that it is."""
_UNSET: Final = delimited(_STATUS, b"")


def request(spans_or_records: Iterable[bytes], *, resource: bytes, scope: bytes) -> bytes:
    """An export request of one resource and scope; these are the fields of theirs that stand beside."""
    inner = scope + b"".join([delimited(SECOND, item) for item in spans_or_records])
    return delimited(FIRST, resource + delimited(SECOND, inner))


def span_bytes(span: Span) -> bytes:
    """A Span of OTLP."""
    name = span.name.encode()
    parts = [
        b"\x0a\x10",
        span.trace_id.to_bytes(16, "big"),
        b"\x12\x08",
        span.span_id.to_bytes(8, "big"),
        b"" if span.parent_id is None else b"\x22\x08" + span.parent_id.to_bytes(8, "big"),
        _NAME,
        _length(len(name)),
        name,
        _KINDS[span.kind],
        _TIMES(_START, span.start, _END, span.end),
        _attributes(_ATTRIBUTES, span.attributes),
    ]
    if span.events:
        parts += [delimited(_EVENTS, _event(event)) for event in span.events]
    if span.links:
        parts += [delimited(_LINKS, _link(link)) for link in span.links]
    if span.error is None:
        parts.append(_UNSET)
    else:
        parts.append(delimited(_STATUS, delimited(SECOND, span.error.encode()) + b"\x18\x02"))
    parts.append(_LOCAL)
    return b"".join(parts)


def record_bytes(record: LogRecord) -> bytes:
    """A LogRecord of OTLP, observed when it happened."""
    parts = [
        _TIME,
        _FIXED(record.time),
        delimited(_BODY, b"" if record.body is None else _any(record.body)),
        _attributes(_OF_RECORD, record.attributes),
    ]
    if record.trace_id:
        parts.append(delimited(_TRACE, record.trace_id.to_bytes(16, "big")))
    if record.span_id:
        parts.append(delimited(_SPAN, record.span_id.to_bytes(8, "big")))
    parts += [_OBSERVED, _FIXED(record.time), delimited(_EVENT_NAME, record.name.encode())]
    return b"".join(parts)


def _event(event: SpanEvent) -> bytes:
    attributes = _attributes(THIRD, event.attributes)
    return b"".join((_TIME, _FIXED(event.at), delimited(SECOND, event.name.encode()), attributes))


def _link(link: Link) -> bytes:
    ids = b"\x0a\x10" + link.trace_id.to_bytes(16, "big") + b"\x12\x08" + link.span_id.to_bytes(8, "big")
    return b"".join((ids, _attributes(FOURTH, link.attributes), _REMOTE))


def _attributes(tag: bytes, attributes: Attributes) -> bytes:
    parts: list[bytes] = []
    for key, value in attributes.items():
        head, found = _key(key), _any(value)
        size = _length(len(found))
        parts += (tag, _length(len(head) + len(size) + len(found)), head, size, found)
    return b"".join(parts)


@lru_cache(maxsize=4096)
def _key(key: str) -> bytes:
    """The beginning of a KeyValue, up to its value's length."""
    return delimited(FIRST, key.encode()) + SECOND


def _any(value: Attribute | bytes) -> bytes:
    """An AnyValue."""
    if isinstance(value, str):
        text = value.encode()
        return b"".join((b"\x0a", _length(len(text)), text))
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 63:
            raise OverflowError(f"{value} is no int64")
        return b"\x18" + (_SHORT[value] if 0 <= value < len(_SHORT) else varint(value))
    if isinstance(value, float):
        return b"\x21" + _DOUBLE(value)
    if isinstance(value, bytes):
        return delimited(_tag(7, BYTES), value)
    return _array(value)


def _array(values: Sequence[str] | Sequence[bool] | Sequence[int] | Sequence[float]) -> bytes:
    return delimited(b"\x2a", b"".join([delimited(FIRST, _any(value)) for value in values]))
