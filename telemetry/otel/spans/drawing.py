"""A trace while its events are drawn onto it: what is open, and what was linked.

Knows spans and references; the rules know the events. Invariant: a trace links to an event at most once."""

from __future__ import annotations

from typing import Final, NamedTuple

import orjson

from telemetry.events import Recorded
from telemetry.otel import names
from telemetry.otel.content import Content
from telemetry.otel.span import Attribute, Link, SpanEvent
from telemetry.otel.spans.about import About
from telemetry.otel.spans.draft import Draft, Kind, Tree
from telemetry.otel.spans.messages import Message, Messages
from telemetry.otel.spans.references import SESSION, References

NO_EVENTS: Final = ("model:", "rule:")
"""How refs begin that name no event."""


class Tools(NamedTuple):
    """What drawing asks for beside the events."""

    content: Content
    references: References
    messages: Messages


class Drawing:
    """What the rules draw on. `content`: whether content may leave."""

    __slots__ = (
        "_linked", "about", "answers", "approval", "calls", "content", "conversation", "effect", "effects", "heard",
        "messages", "references", "said", "tree",
    )  # fmt: skip

    def __init__(self, tree: Tree, about: About, tools: Tools) -> None:
        self.tree = tree
        self.conversation = conversation_of(tree.stream)
        self.about = about
        self.content = tools.content.messages
        self.references = tools.references
        self.messages = tools.messages
        self.calls: dict[int, Draft] = {}
        """Model calls of the cycle by their number."""
        self.effects: dict[str, Draft] = {}
        """Effects of the cycle by their keys."""
        self.effect: Draft | None = None
        """The effect that an outcome was seen of last."""
        self.approval: Draft | None = None
        self.answers: dict[int, list[Message]] = {}
        """What models answered, by the ids of the calls' spans, where content may leave."""
        self.heard: list[Message] = []
        self.said: list[Message] = []
        """What people said to the agent in this trace, and what it came to, where content may leave."""
        self._linked: set[str] = set()

    def words(self, event: Recorded, kind: str, text: str | None) -> str:
        """What went wrong, for a status: its text only where content may leave."""
        return f"{kind}: {text}" if self.content and text else f"{kind}, see {event.id}"

    def leaf(self, phase: Draft, event: Recorded, name: str, start: int, end: int, kind: Kind = "internal") -> Draft:
        """A span below the phase's that begins with the event."""
        draft = self.tree.child(phase, event.version, name, start, end, kind)
        draft.attributes[names.EVENT] = event.id
        return draft

    def link(self, draft: Draft, event_id: str, relation: str, *, score: float | None = None) -> None:
        """To where the event is found, if it is found, it is not in this trace, and nothing here links to it yet."""
        if event_id in self._linked:
            return
        self._linked.add(event_id)
        target = self.references.target(event_id)
        if target is None or target[0] == self.tree.trace:
            return
        attributes: dict[str, Attribute] = {names.RELATION: relation, names.EVENT: event_id}
        if score is not None:
            attributes[names.SCORE] = score
        draft.links.append(Link(target[0], target[1], attributes))

    def rests_on(self, draft: Draft, refs: str) -> None:
        """Links to the events among the refs of an event, as they are stored."""
        for ref in orjson.loads(refs):
            if "@" in ref and not ref.startswith(NO_EVENTS):
                self.link(draft, ref, "rests_on")

    def score(
        self,
        draft: Draft,
        event: Recorded,
        at: int,
        name: str,
        *,
        value: float | None = None,
        label: str | None = None,
        why: str | None = None,
        more: dict[str, Attribute] | None = None,
    ) -> None:
        """An evaluation's result, as an event on the span; `why` goes with it only where content may leave."""
        attributes: dict[str, Attribute] = {names.EVALUATION_NAME: name, names.EVENT: event.id}
        if value is not None:
            attributes[names.SCORE] = float(value)
        if label is not None:
            attributes[names.SCORE_LABEL] = label
        if why and self.content:
            attributes[names.EXPLANATION] = why
        if more:
            attributes.update(more)
        draft.events.append(SpanEvent(names.EVALUATION, at, attributes))


def conversation_of(stream: str) -> str:
    """The session's id, as commands take it."""
    return stream.removeprefix(SESSION)
