"""A model that goes first to a share of the sessions is held against what the others act by, in the same fleet.

Knows whose episodes are whose; the rule, `verdict` knows. Invariant: what is judged follows from the log alone, and an
episode counts only where it was lived from its beginning to its end by one of the two after the canary was sent."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pydantic import JsonValue

from runtime.entry import enter, stream_of_model
from runtime.learning.judging.outcomes import TYPES as OUTCOME
from runtime.learning.judging.outcomes import episodes
from runtime.learning.judging.sequential import Design
from runtime.learning.judging.trial import Trial
from runtime.learning.judging.verdict import Judgement, Outcome, judge_apart
from runtime.learning.scheduled.schedule import Sessions
from runtime.lineage.records import acting, base_of
from runtime.models.registry.promotion import follow
from runtime.models.registry.store import Registry
from runtime.models.registry.succession import succession
from runtime.models.standing import base_id
from runtime.scenario import ScenarioFile
from runtime.sessions import opened
from telemetry.errors import InvalidEvent
from telemetry.events import Recorded, learn, session
from telemetry.events.values import EventId, ModelId
from telemetry.log import EventLog, open_log

ADOPTED: Final = "learn.model_adopted"
TYPES: Final = (*OUTCOME, ADOPTED)


class Sent(NamedTuple):
    """A canary that is out."""

    model: ModelId
    incumbent: ModelId
    event: EventId
    """What sent it."""
    position: int


def sent(log: EventLog, name: str, *, base: ModelId) -> Sent | None:
    """The canary of the models `name`; None where none is out. `base` is the policy that stands before any model."""
    stands = succession(log, name)
    if stands.canary is None:
        return None
    for recorded in log.read_back(stream_of_model(name), types=("learn.model_promoted",)):
        event = recorded.event
        if isinstance(event, learn.ModelPromoted) and event.model == stands.canary:
            return Sent(event.model, event.incumbent or stands.standing or base, recorded.id, recorded.position)
    return None


@dataclass(slots=True)
class _Life:
    """A session since the canary was sent: by what it acts, and what it has lived of its episode. `whole`: the episode
    began after that, and by that model."""

    model: ModelId
    whole: bool
    lived: list[Recorded] = field(default_factory=list)


@dataclass(slots=True)
class Flight:
    """The episodes of a canary and of the others, as they end."""

    canary: Sent
    sessions: Sessions
    budget: int
    position: int = 0
    """Up to where the log was seen."""
    ended: list[tuple[bool, Outcome]] = field(default_factory=list)
    """Whether it was the canary's, and what it came to."""
    lives: dict[str, _Life] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.position = self.canary.position

    def follow(self, log: EventLog) -> None:
        """Takes in what was committed since."""
        end = log.position()
        for recorded in log.read_all(after=self.position, to=end, types=("session.opened", *TYPES)):
            if recorded.stream in self.sessions:
                self._see(log, recorded)
        self.position = max(self.position, end)

    def judge(self, design: Design) -> Judgement:
        """The looks of `design` are in episodes of either side."""
        return judge_apart(self.ended, design, budget=self.budget)

    def _see(self, log: EventLog, recorded: Recorded) -> None:
        life = self.lives.get(recorded.stream)
        if life is None:
            acts = acting(log, recorded.stream, before=recorded.version + (recorded.type == "session.opened"))
            if acts is None:
                return
            life = self.lives[recorded.stream] = _Life(acts.model, whole=recorded.type == "session.opened")
        try:
            event = recorded.event
        except InvalidEvent:  # erased: what the episode came to cannot be told
            life.whole = False
            return
        match event:
            case session.Opened():
                pass
            case learn.ModelAdopted(model=model):
                life.model, life.whole = model or base_of(opened(log, recorded.stream)), life.whole and not life.lived
            case session.Closed():
                self._end(self.lives.pop(recorded.stream), recorded)
            case learn.Rewarded(ends_episode=True):
                self._end(life, recorded)
            case _:
                life.lived.append(recorded)

    def _end(self, life: _Life, last: Recorded) -> None:
        found = next(episodes((*life.lived, last), budget=self.budget), None)
        if life.whole and found is not None and found.outcome is not None:
            self.ended.append((life.model == self.canary.model, found.outcome))
        life.lived, life.whole = [], True


def flight_of(log: EventLog, file: ScenarioFile, name: str) -> Flight | None:
    """Of the canary of the models `name` that is out; None where none is. Raises `UsageError` where nothing ends an
    episode."""
    canary = sent(log, name, base=base_id(file))
    if canary is None:
        return None
    budget = Trial(file, canary.model, canary.incumbent).budget()
    return Flight(canary, Sessions(log, file.scenario.name), budget)


def settle(flight: Flight, judgement: Judgement, *, url: str, registry: Registry) -> EventId | None:
    """Enters what was decided: the canary goes to all, or is taken back. None while nothing is decided.

    Raises as `enter` does, and `Unavailable` where the registry's pointer cannot follow: the log has said it then."""
    if judgement.decision == "go_on":
        return None
    model, incumbent, event, _ = flight.canary
    figures: dict[str, JsonValue] = {**judgement.figures}
    said: learn.ModelPromoted | learn.ModelRolledBack
    if judgement.decision == "promote":
        said = learn.ModelPromoted(model=model, incumbent=incumbent, figures=figures, why=judgement.why)
    else:
        said = learn.ModelRolledBack(model=model, to=incumbent, why=judgement.why, figures=figures)
    entered = enter(url, said, refs=(event,), run=f"canary.{event}")
    name = model.partition("@")[0]
    with closing(open_log(url, mode="read")) as log:
        follow(registry, name, log)
    return entered
