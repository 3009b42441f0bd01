"""A span as it follows from events, before any SDK knows of it.

Invariant: equal events give equal spans, to the bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Attribute: TypeAlias = str | bool | int | float | Sequence[str] | Sequence[bool] | Sequence[int] | Sequence[float]
Attributes: TypeAlias = Mapping[str, Attribute]


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened within a span; `at` in UTC ns."""

    name: str
    at: int
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Link:
    """A span of another trace, or of another branch of this one, that this one rests on."""

    trace_id: int
    span_id: int
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """`start` and `end` in UTC ns, `start` ≤ `end`. `error` says in words why its status is an error."""

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
