"""A span as it follows from events, before any SDK knows of it.

Invariant: equal events give equal spans, to the bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

Attribute: TypeAlias = str | bool | int | float | Sequence[str] | Sequence[bool] | Sequence[int] | Sequence[float]
Attributes: TypeAlias = Mapping[str, Attribute]


class SpanEvent(NamedTuple):
    """Something that happened within a span; `at` in UTC ns."""

    name: str
    at: int
    attributes: Attributes = {}


class Link(NamedTuple):
    """A span of another trace, or of another branch of this one, that this one rests on."""

    trace_id: int
    span_id: int
    attributes: Attributes = {}


class Span(NamedTuple):
    """`start` and `end` in UTC ns, `start` ≤ `end`. `error` says in words why its status is an error.

    A tuple, because a frozen dataclass of so many fields takes four times as long to make."""

    trace_id: int
    span_id: int
    parent_id: int | None
    name: str
    kind: Literal["internal", "client"]
    start: int
    end: int
    attributes: Attributes
    events: Sequence[SpanEvent] = ()
    links: Sequence[Link] = ()
    error: str | None = None
