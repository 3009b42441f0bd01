"""A trace as it is drawn: spans whose ends are not known yet, and what they rest on.

Knows how spans nest; knows no event by name. Invariant: a parent covers its children."""

from __future__ import annotations

from typing import Literal, TypeAlias

from telemetry.otel.ids import phase_span_id, span_id
from telemetry.otel.span import Attribute, Link, Span, SpanEvent

Kind: TypeAlias = Literal["internal", "client"]


class Draft:
    """A span that is being drawn."""

    __slots__ = ("attributes", "end", "error", "events", "id", "kind", "links", "name", "parent", "start")

    def __init__(
        self, id_: int, parent: Draft | None, name: str, start: int, end: int, kind: Kind = "internal"
    ) -> None:
        self.id = id_
        self.parent = parent
        self.name = name
        self.kind: Kind = kind
        self.start = start
        self.end = end
        self.attributes: dict[str, Attribute] = {}
        self.events: list[SpanEvent] = []
        self.links: list[Link] = []
        self.error: str | None = None

    def cover(self, start: int, end: int) -> None:
        """Makes it long enough to hold that time."""
        if start < self.start:
            self.start = start
        if end > self.end:
            self.end = end

    def span(self, trace: int) -> Span:
        parent = self.parent
        return Span(
            trace,
            self.id,
            None if parent is None else parent.id,
            self.name,
            self.kind,
            self.start,
            self.end,
            self.attributes,
            self.events,
            self.links,
            self.error,
        )


class Tree:
    """The spans of one trace, parents before their children."""

    def __init__(self, stream: str, trace: int, root: Draft) -> None:
        self.stream = stream
        self.trace = trace
        self.root = root
        self._drafts = [root]

    def phase(self, version: int, name: str, start: int, end: int) -> Draft:
        """A child of the root, from that event of the stream on."""
        return self._add(Draft(phase_span_id(self.stream, version), self.root, name, start, end))

    def child(self, parent: Draft, version: int, name: str, start: int, end: int, kind: Kind = "internal") -> Draft:
        """A span that begins with that event of the stream."""
        return self._add(Draft(span_id(self.stream, version), parent, name, start, end, kind))

    def _add(self, draft: Draft) -> Draft:
        self._drafts.append(draft)
        return draft

    def spans(self) -> list[Span]:
        for draft in reversed(self._drafts):  # children come after their parents
            if draft.parent is not None:
                draft.parent.cover(draft.start, draft.end)
        return [draft.span(self.trace) for draft in self._drafts]
