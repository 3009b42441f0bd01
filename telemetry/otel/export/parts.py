"""What the exporter asks of a single span or record: its weight, its name, and what is left of it by reference.

Invariant: by reference nothing is cut silently: what is left says which attributes went by digest, and the log holds
them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from telemetry.otel import names
from telemetry.otel.export.refused import Named
from telemetry.otel.record import LogRecord, event_of, record_of
from telemetry.otel.span import Attribute, Attributes, Span

BY_DIGEST_BYTES: Final = 1024
"""Attributes above this go by digest where a span is too large; what names and counts is far shorter."""
_SPAN_BYTES: Final = 100
_ATTRIBUTE_BYTES: Final = 16
"""What protobuf adds to a span and to an attribute, about."""


def span_bytes(span: Span) -> int:
    """What it takes on the wire, about."""
    size = _SPAN_BYTES + len(span.name) + _attributes_bytes(span.attributes)
    size += sum(_SPAN_BYTES + _attributes_bytes(event.attributes) for event in span.events)
    return size + sum(_SPAN_BYTES + _attributes_bytes(link.attributes) for link in span.links)


def _attributes_bytes(attributes: Attributes) -> int:
    size = 0
    for key, value in attributes.items():
        size += len(key) + _ATTRIBUTE_BYTES + (len(value) if isinstance(value, str) else _other_bytes(value))
    return size


def _other_bytes(value: Attribute) -> int:
    if not isinstance(value, Sequence):
        return 8
    return sum(_ATTRIBUTE_BYTES + (len(one) if isinstance(one, str) else 8) for one in value)


def span_reference(span: Span) -> Span | None:
    """The span with digests in place of its long attributes; None when it has none."""
    attributes = _digested(span.attributes)
    events = tuple(event._replace(attributes=_digested(event.attributes)) for event in span.events)
    same = all(new.attributes is old.attributes for new, old in zip(events, span.events, strict=True))
    if same and attributes is span.attributes:
        return None
    return span._replace(attributes=attributes, events=events)


def _digested(attributes: Attributes) -> Attributes:
    long = [key for key, value in attributes.items() if _text_bytes(value) > BY_DIGEST_BYTES]
    if not long:
        return attributes
    return {**attributes, **{key: _digest(attributes[key]) for key in long}, names.BY_REFERENCE: long}


def _text_bytes(value: Attribute) -> int:
    return len(value) if isinstance(value, str) else _other_bytes(value)


def _digest(value: Attribute) -> str:
    content = (value if isinstance(value, str) else repr(value)).encode()
    return f"sha256:{hashlib.sha256(content).hexdigest()} of {len(content)} bytes"


def record_reference(record: LogRecord) -> LogRecord | None:
    """The record without its payload, which has its digest; None where it has no payload."""
    if record.body is None:
        return None
    without = record_of(event_of(record), detail="digest")
    return without if without.body is None else None


def named_span(span: Span, why: str) -> Named:
    about = span.attributes.get(names.CONVERSATION, "")
    return Named("spans", f"{span.name} {about}".strip(), f"{span.trace_id:032x}", f"{span.span_id:016x}", why)


def named_record(record: LogRecord, why: str) -> Named:
    return Named("records", event_of(record).id, f"{record.trace_id:032x}", f"{record.span_id:016x}", why)
