"""From a session or a training forward: the models that learnt from it, their verdicts, and what acted by them.

Knows the chain from its other end. Invariant: a decision is found from a session exactly when the session is found
from the decision."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from runtime.entry import stream_of_model
from runtime.errors import NotFound
from runtime.lineage.learnt import MOST_LOOKED, learnt
from runtime.lineage.records import (
    ADOPTED,
    HOW,
    SAID,
    VERDICTS,
    About,
    Begun,
    about,
    begun,
    begun_at,
    readable,
    trainings,
)
from runtime.lineage.values import Links, Node, Shelf, one
from runtime.lineage.words import told
from runtime.models.using import PINNED
from runtime.sessions import opened
from telemetry.events import Recorded
from telemetry.events.learn import ModelAdopted, ModelPromoted, ModelRolledBack, ModelTrained
from telemetry.events.values import ModelId
from telemetry.log import EventLog

DECIDED = "reason.decided"


class _Act(NamedTuple):
    """A session that acts by a model from `since` on."""

    session: Begun
    since: Recorded


@dataclass(slots=True)
class _Turns:
    """Who acted by a model: since its training alone, and by adopting it at one of `at`, positions."""

    at: list[int] = field(default_factory=list)
    lived: list[_Act] = field(default_factory=list)
    judged: list[_Act] = field(default_factory=list)

    def add(self, act: _Act) -> None:
        (self.lived if act.session.opened.purpose is None else self.judged).append(act)


@dataclass(frozen=True, slots=True)
class Forward:
    """Walks from what is asked about. Of many sessions the first `limit` are named."""

    log: EventLog
    shelf: Shelf
    limit: int

    def of_session(self, stream: str, *, event: Recorded | None = None) -> Node:
        """What came of the session, or of what it did at `event` or after it."""
        head = self.log.head(stream)
        session = None if head is None else begun_at(self.log, head)
        if session is None:
            opened(self.log, stream)  # says what is missing
        since = 1 if event is None else event.version
        found = [
            training
            for training in trainings(self.log)
            if learnt(training, stream, since=since, session=session, shelf=self.shelf)
        ]
        links = tuple(one("learnt from by", node) for node in self._trainings(found))
        said = "" if links else "; no training on this log learnt from it"
        if event is not None:
            return Node(event.id, "event", f"{told(event, readable(event))}{said}", links=links)
        assert session is not None, "it was found, or its absence was raised"
        return Node(stream, "session", f"{told(session.recorded, session.opened)}{said}", links=links)

    def of_training(self, training: About) -> Node:
        (node,) = self._trainings([training])
        return node

    def of_model(self, model: ModelId) -> Node:
        """Raises `NotFound` for a model that this log does not know and nobody acted by."""
        node = self._models([model])[model]
        if not node.links and self.shelf(model) is None:
            raise NotFound(f"{self.log.name} says nothing of {model}")
        return node

    def _trainings(self, found: Collection[About]) -> list[Node]:
        made = self._models([training.event.model for training in found])
        return [
            Node(training.recorded.id, "event", told(*training), links=(one("made", made[training.event.model]),))
            for training in found
        ]

    def _models(self, models: Collection[ModelId]) -> dict[ModelId, Node]:
        turns, more = self._turns(models)
        return {model: self._model(model, found, more) for model, found in turns.items()}

    def _model(self, model: ModelId, turns: _Turns, more: str) -> Node:
        said = [
            one(HOW[found.recorded.type], Node(found.recorded.id, "event", told(*found)))
            for found in reversed(list(about(self.log, model, VERDICTS)))
        ]
        acts = [
            self._acts(how, found, more)
            for how, found in (("judged in", turns.judged), ("acted in", turns.lived))
            if found or how == "acted in"
        ]
        kept = "" if self.shelf(model) is not None else "; its weights are in no registry in reach"
        return Node(model, "model", f"trained model{kept}", links=(*said, *acts))

    def _acts(self, how: str, found: list[_Act], more: str) -> Links:
        found.sort(key=lambda act: act.since.position)
        return Links(how, tuple(self._first(act) for act in found[: self.limit]), len(found), more)

    def _first(self, act: _Act) -> Node:
        """The first decision of the session by the model, or since when it acts by it."""
        after = self.log.read(act.session.stream, after=act.since.version, types=(DECIDED, ADOPTED))
        first = next(after, None)
        scenario = f"scenario {act.session.opened.scenario}"
        since = "from its beginning" if act.since.type != ADOPTED else f"since {act.since.id}"
        if first is None or first.type != DECIDED:
            return Node(act.since.id, "session", f"{scenario}, {since}, before it decided anything")
        return Node(first.id, "decision", f"{scenario}, {since}: its first decision by it")

    def _turns(self, models: Collection[ModelId]) -> tuple[dict[ModelId, _Turns], str]:
        """Who acted by each, and what is to be said where not every session was looked at."""
        turns = {model: _Turns() for model in models}
        since: int | None = None
        for model, found in turns.items():
            trained = None
            for recorded, event in about(self.log, model, SAID):
                if isinstance(event, ModelTrained):
                    trained = event.to_position
                if isinstance(event, ModelPromoted):
                    found.at.append(recorded.position)
            since = min(since if since is not None else trained or 0, trained or 0)
        for model, position in self._taken_up_again(models):
            turns[model].at.append(position)
        sessions = begun(self.log, since=since or 0)
        for session in islice(sessions, MOST_LOOKED):
            self._look(session, turns)
        more = f"of the first {MOST_LOOKED:,} sessions by name; there are more" if next(sessions, None) else ""
        return turns, more

    def _taken_up_again(self, models: Collection[ModelId]) -> list[tuple[ModelId, int]]:
        """Models that stood again, and since when."""
        found = []
        for stream in {stream_of_model(model) for model in models}:
            for recorded in self.log.read(stream, types=("learn.model_rolled_back",)):
                event = readable(recorded)
                if isinstance(event, ModelRolledBack) and event.to in models:
                    found.append((event.to, recorded.position))
        return found

    def _look(self, session: Begun, turns: dict[ModelId, _Turns]) -> None:
        """Adds the session to each model that it acted by. Its adoptions are read only where it lived while one of
        them came to stand."""
        acted: dict[ModelId, Recorded] = {}
        pinned = session.opened.versions.get(PINNED)
        if pinned in turns:
            acted[pinned] = session.recorded
        first, last = session.recorded.position, session.last
        if any(first < position < last for found in turns.values() for position in found.at):
            for recorded in self.log.read(session.stream, types=(ADOPTED,)):
                event = readable(recorded)
                if isinstance(event, ModelAdopted) and event.model in turns:
                    acted.setdefault(event.model, recorded)
        for model, since in acted.items():
            turns[model].add(_Act(session, since))
