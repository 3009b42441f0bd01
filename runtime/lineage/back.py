"""From a decision back to what it rests on: what was seen, the model, the verdict that let it act, its training, and
the sessions that it learnt from.

Knows the order of the chain; `runtime.why` knows a decision inside its session. Invariant: what is not there any more
is said at its place, and the rest is as it would be."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from runtime.errors import NotFound
from runtime.lineage.learnt import learnt_from
from runtime.lineage.records import (
    HOW,
    VERDICTS,
    About,
    Acting,
    about,
    acting,
    event_at,
    readable,
    refs_of,
)
from runtime.lineage.values import MISSING, Links, Node, Shelf, one, tried
from runtime.lineage.words import told
from runtime.sessions import PREFIX, opened
from runtime.why import why
from telemetry.events import Recorded, session, split_id
from telemetry.events.learn import ModelEvaluated, ModelPromoted, ModelTrained, TrainingProgressed
from telemetry.events.values import EventId, ModelId
from telemetry.log import EventLog

SEEN = ("heard", "saw", "recalled", "planned", "judged", "held back", "instead", "chose", "outcome", "reward")
"""Of a decision's facts those that a walk shows; `chat`'s /why shows all."""
SHOWN_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Back:
    """Walks from what is asked about. Of many sessions the first `limit` are named."""

    log: EventLog
    shelf: Shelf
    limit: int

    def of_event(self, recorded: Recorded) -> Node:
        """Of any event: of a session's, the decision of its cycle."""
        event = readable(recorded)
        match event:
            case ModelTrained():
                return self.trained(About(recorded, event))
            case ModelEvaluated():
                return self._evaluated(About(recorded, event))
            case TrainingProgressed(run=run):
                return Node(recorded.id, "event", told(recorded, event), links=self._ended(recorded, run))
            case _ if recorded.type in VERDICTS:
                return self._verdict(recorded)
        if not recorded.stream.startswith(PREFIX):
            return Node(recorded.id, "event", told(recorded, event))
        try:
            return self.of_session(recorded.stream, event=recorded)
        except NotFound:  # nothing was decided in its cycle
            before = recorded.version + 1
            return Node(recorded.id, "event", told(recorded, event), links=self._acted(recorded.stream, before))

    def of_session(self, stream: str, *, event: Recorded | None = None) -> Node:
        """The session's last decision, or that of the event's cycle. Raises `NotFound` where nothing was decided."""
        found = why(self.log, stream, event=None if event is None else event.id)
        seen: dict[str, list[Node]] = {}
        for fact in found.facts:
            if fact.label in SEEN:
                seen.setdefault(fact.label, []).append(Node(fact.event, "event", _short(fact.text)))
        rests = (Links(label, tuple(facts[: self.limit]), len(facts)) for label, facts in seen.items())
        text = f"decided in cycle {found.cycle} of session {found.session} ({self._scenario(stream)})"
        _, version = split_id(found.decision)
        return Node(found.decision, "decision", text, links=(*rests, *self._acted(stream, version)))

    def of_model(self, model: ModelId, *, before: int | None = None) -> Node:
        """A trained model as the log tells of it up to position `before`."""
        try:
            return self._model(model, before)
        except NotFound as error:
            return Node(model, "model", str(error), missing=True)

    def _acted(self, stream: str, before: int) -> tuple[Links, ...]:
        try:
            acted = acting(self.log, stream, before=before)
        except MISSING as error:
            return (one("acted by", Node(stream, "session", str(error), missing=True)),)
        return () if acted is None else (one("acted by", tried(acted.model, "model", lambda: self._acting(acted))),)

    def _acting(self, acted: Acting) -> Node:
        since = one("since", Node(acted.since.id, "event", told(acted.since, readable(acted.since))))
        if acted.base:
            return Node(acted.model, "model", "the policy that the scenario itself describes", links=(since,))
        model = self.of_model(acted.model, before=acted.since.position)
        return Node(model.id, model.kind, model.text, model.missing, (since, *model.links))

    def _scenario(self, stream: str) -> str:
        return tried(stream, "session", lambda: Node(stream, "session", opened(self.log, stream).scenario)).text

    def _model(self, model: ModelId, before: int | None) -> Node:
        trained = next(about(self.log, model, ("learn.model_trained",)), None)
        verdict = next(about(self.log, model, ("learn.model_promoted",), before=before), None) or next(
            about(self.log, model, VERDICTS), None
        )
        kept = self.shelf(model)
        links: list[Links] = []
        if verdict is not None:
            later = "later " if before is not None and verdict.recorded.position >= before else ""
            links.append(one(f"{later}{HOW[verdict.recorded.type]}", self._verdict(verdict.recorded)))
            last = next(about(self.log, model, VERDICTS), verdict)
            if last.recorded.position != verdict.recorded.position:
                links.append(one(f"since then {HOW[last.recorded.type]}", Node(last.recorded.id, "event", told(*last))))
        if trained is not None:
            links.append(one("made by", self.trained(trained)))
        elif kept is not None:
            text = f"on {kept.log}, positions {kept.from_position:,} to {kept.to_position:,}, data {kept.data[:12]}"
            return Node(model, "model", f"trained {text}; this log does not say so", links=tuple(links))
        elif verdict is None:
            raise NotFound(f"{self.log.name} does not say how {model} came to be, and no registry in reach has it")
        there = "" if kept is not None else "; its weights are in no registry in reach"
        return Node(model, "model", f"trained model{there}", links=tuple(links))

    def trained(self, found: About) -> Node:
        recorded, event = found
        assert isinstance(event, ModelTrained), "a training's event"
        sessions = learnt_from(self.log, found, shelf=self.shelf, limit=self.limit)
        named = tuple(self._named(ref) for ref in sessions.named)
        links = Links("learnt from", named, sessions.count, sessions.said)
        return Node(recorded.id, "event", told(recorded, event), links=(links,))

    def _named(self, ref: EventId) -> Node:
        """An event or a session that another event names."""

        def make() -> Node:
            if "@" not in ref:
                return Node(ref, "session", f"scenario {opened(self.log, ref).scenario}")
            recorded = event_at(self.log, ref)
            if recorded is None:
                raise NotFound(f"not on {self.log.name}: of the log of another place, or removed with its stream")
            event = readable(recorded)
            if isinstance(event, session.Opened | session.Closed):
                return Node(ref, "session", told(recorded, event))
            return Node(ref, "session", f"read up to its cycle {recorded.cycle}")

        return tried(ref, "session", make)

    def _verdict(self, recorded: Recorded) -> Node:
        event = readable(recorded)
        links: list[Links] = []
        model = getattr(event, "model", None)
        if isinstance(event, ModelPromoted):
            earlier = about(self.log, event.model, ("learn.model_promoted",), before=recorded.position)
            links += (
                one("first promoted", Node(first.recorded.id, "event", told(*first))) for first in islice(earlier, 1)
            )
        if isinstance(model, str):
            judged = next(about(self.log, model, ("learn.model_evaluated",), before=recorded.position), None)
            if judged is not None:
                links.append(one("judged by", self._evaluated(judged)))
        return Node(recorded.id, "event", told(recorded, event), links=tuple(links))

    def _evaluated(self, found: About) -> Node:
        recorded, event = found
        assert isinstance(event, ModelEvaluated), "an evaluation's event"
        refs = refs_of(recorded)
        named = tuple(self._arm(ref) for ref in refs[: self.limit])
        said = "" if refs else f"{event.pairs} pairs, more than an event names"
        incumbent = Node(event.incumbent, "model", "the incumbent")
        candidate = Node(event.model, "model", "the candidate")
        links = [one("of", candidate), one("against", incumbent), Links("acted in", named, len(refs), said)]
        return Node(recorded.id, "event", told(recorded, event), links=tuple(links))

    def _arm(self, ref: EventId) -> Node:
        node = self._named(ref)
        if node.missing:
            return node
        acted = acting(self.log, ref.partition("@")[0])
        return node if acted is None else Node(ref, "session", f"by {acted.model}: {node.text}")

    def _ended(self, recorded: Recorded, run: str) -> tuple[Links, ...]:
        """The end of the training that the event is of, where it has ended."""
        for later in self.log.read(recorded.stream, after=recorded.version, types=("learn.model_trained",)):
            event = readable(later)
            if later.command == f"trained.{run}" and isinstance(event, ModelTrained):
                return (one("ended as", Node(event.model, "model", told(later, event))),)
        return ()


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
