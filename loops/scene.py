"""The content the current cycle works on: what was seen, proposed, judged, decided, and what it rests on.

Knows events of this cycle and what the last one left; refuses older history. It is a fold like the state,
but not hashed, because it holds arrays and ids. Invariant: it stays as small as two cycles' events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from loops.spaces import Spaces
from telemetry.events import Event, Unknown, execute, feel, learn, reason, sense, session
from telemetry.events.values import Action, Appraisal, Digest, EventId

Outcome = execute.Succeeded | execute.Failed | execute.UnknownOutcome | execute.Cancelled


@dataclass(frozen=True, slots=True)
class Transition:
    """What was seen, what was done, what was seen next, within one episode."""

    before: sense.Observed
    action: Action
    after: sense.Observed


class Scene(NamedTuple):
    """A tuple, because it is copied at every event: ten times faster than replacing a frozen dataclass."""

    spaces: Spaces | None = None
    cycles: int | None = None
    """The budget the session was opened with."""
    observed: sense.Observed | None = None
    transition: Transition | None = None
    """The one that this cycle's observation completes."""
    learned: Transition | None = None
    """The one the world model learnt last."""
    expected: reason.Predicted | None = None
    """What was predicted for this cycle's observation."""
    surprised: sense.Surprised | None = None
    recalled: sense.Recalled | None = None
    request: feel.Appraised | None = None
    proposals: tuple[reason.Proposed, ...] = ()
    appraisals: tuple[Appraisal, ...] = ()
    judged_before: tuple[Appraisal, ...] = ()
    """The last cycle's appraisals, which colour this cycle's affect."""
    predicted: reason.Predicted | None = None
    decided: reason.Decided | None = None
    intended: execute.Intended | None = None
    granted: frozenset[Digest] = frozenset()
    """Arguments that a person allowed this cycle."""
    outcome: Outcome | None = None
    ids: dict[str, EventId] = {}
    """Event ids by type, and by type and proposal; the latest of each. Never changed in place."""

    def see(self, event_id: EventId, event: Event | Unknown) -> Scene:
        """The scene after `event`."""
        before = self._next_cycle() if isinstance(event, session.CycleOpened) else self
        ids = {**before.ids, event.type: event_id}
        if isinstance(event, reason.Proposed):
            ids[f"{event.type}/{event.proposal}"] = event_id
        elif isinstance(event, feel.Appraised) and event.appraisal.proposal is not None:
            ids[f"{event.type}/{event.appraisal.proposal}"] = event_id
        return before._replace(ids=ids, **before._change(event))

    def _change(self, event: Event | Unknown) -> dict[str, Any]:
        match event:
            case session.Opened():
                return {"spaces": Spaces.model_validate(event.spaces), "cycles": event.cycles}
            case sense.Observed():
                return self._observe(event)
            case sense.Surprised():
                return {"surprised": event}
            case sense.Recalled():
                return {"recalled": event}
            case feel.Appraised() if event.appraisal.of == "request":
                return {"request": event}
            case feel.Appraised():
                return {"appraisals": (*self.appraisals, event.appraisal)}
            case reason.Proposed():
                return {"proposals": (*self.proposals, event)}
            case reason.Predicted():
                return {"predicted": event}
            case reason.Decided():
                return {"decided": event}
            case execute.Intended():
                return {"intended": event}
            case execute.Succeeded() | execute.Failed() | execute.UnknownOutcome() | execute.Cancelled():
                return {"outcome": event}
            case execute.ApprovalGiven() if event.granted:
                return {"granted": self.granted | {event.arguments}}
            case learn.BeliefUpdated():
                return {"learned": self.transition}
        return {}

    def _next_cycle(self) -> Scene:
        """Keeps what the next cycle needs of this one: what was seen, done and expected."""
        return Scene(
            spaces=self.spaces,
            cycles=self.cycles,
            observed=self.observed,
            learned=self.learned,
            judged_before=self.appraisals,
            expected=self.predicted if self.acted else None,
            intended=self.intended if self.acted else None,
            ids={"reason.predicted": self.ids["reason.predicted"]} if "reason.predicted" in self.ids else {},
        )

    @property
    def acted(self) -> bool:
        return self.intended is not None and isinstance(self.outcome, execute.Succeeded)

    def _observe(self, event: sense.Observed) -> dict[str, Any]:
        done, before = self.intended, self.observed
        begins = event.step == 0
        continues = not begins and done is not None and before is not None and before.episode == event.episode
        return {
            "observed": event,
            "transition": Transition(before, done.action, event) if continues and done and before else None,
            "expected": None if begins else self.expected,
            "intended": None,
        }


CAUSES: dict[str, tuple[str, ...]] = {
    "sense.observed": ("session.cycle_opened",),
    "sense.recalled": ("sense.observed",),
    "sense.surprised": ("reason.predicted", "sense.observed"),
    "feel.felt": ("sense.surprised", "sense.observed"),
    "feel.inhibited": ("feel.appraised",),
    "feel.alternative_offered": ("feel.inhibited",),
    "reason.proposed": ("feel.appraised", "sense.observed"),
    "reason.predicted": ("reason.proposed",),
    "reason.decided": ("reason.proposed",),
    "execute.approval_asked": ("reason.decided",),
    "execute.intended": ("reason.decided",),
    "execute.dispatched": ("execute.intended",),
    "execute.succeeded": ("execute.dispatched",),
    "execute.failed": ("execute.dispatched",),
    "execute.unknown": ("execute.dispatched",),
    "execute.cancelled": ("reason.decided",),
    "learn.rewarded": ("execute.succeeded",),
    "learn.remembered": ("sense.observed",),
    "learn.belief_updated": ("sense.observed",),
    "session.cycle_closed": ("session.cycle_opened",),
}
"""The event that leads to one of each type: the first of these that the scene has seen."""


def cause_of(scene: Scene, event: Event) -> str:
    """The id of the event that led to `event`, or '' when it has none in this scene."""
    proposal: int | None = None
    kinds: tuple[str, ...] = CAUSES.get(event.type, ())
    match event:
        case feel.Appraised():
            proposal = event.appraisal.proposal
            kinds = ("sense.observed",) if proposal is None else ("reason.proposed",)
        case feel.Inhibited() | reason.Predicted() | reason.Decided():
            proposal = event.proposal
    for kind in kinds:
        found = scene.ids.get(kind if proposal is None else f"{kind}/{proposal}")
        if found is not None:
            return found
    return ""


def refs_of(scene: Scene, event: Event) -> tuple[str, ...]:
    """What else `event` rests on: recalled episodes, the model, the rules."""
    match event:
        case reason.Decided() if scene.recalled is not None:
            return tuple(hit.event for hit in scene.recalled.hits)
        case reason.Predicted() | learn.BeliefUpdated():
            return (f"model:{event.model}",)
        case feel.Appraised():
            return tuple(f"rule:{ground.rule}" for ground in event.appraisal.grounds)
    return ()
