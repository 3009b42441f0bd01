"""The content the current cycle works on: what was seen, proposed, judged, decided, and what it rests on.

Knows events of this cycle, what the last one left, and the conversation that is in the context; refuses older
history. It is a fold like the state, but not hashed, because it holds arrays and ids. Invariant: it stays as small
as two cycles' events and the context's budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from loops import dialogue
from loops.dialogue import Dialogue, Outcome
from loops.spaces import Spaces
from telemetry.events import Event, Unknown, execute, feel, learn, reason, sense, session
from telemetry.events.event import phase_of
from telemetry.events.values import Action, Appraisal, EventId, Playbook, Usage


@dataclass(frozen=True, slots=True)
class Transition:
    """What was seen, what was done, what was seen next, within one episode."""

    before: sense.Observed
    action: Action
    after: sense.Observed


class Doubt(NamedTuple):
    """An effect of which nobody knows whether it happened."""

    event: EventId
    """The one that says so."""
    intended: execute.Intended


class Scene(NamedTuple):
    """A tuple, because it is copied at every event: ten times faster than replacing a frozen dataclass."""

    spaces: Spaces | None = None
    cycles: int | None = None
    """The budget the session was opened with."""
    person: str | None = None
    playbook: Playbook | None = None
    dialogue: Dialogue = ()
    """The conversation as far as it was not left out by compaction."""
    summary: str = ""
    """What stands for the turns that were left out."""
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
    requests: tuple[reason.Requested, ...] = ()
    """What models were asked this cycle."""
    answers: tuple[reason.Answered, ...] = ()
    unanswered: tuple[reason.Unanswered, ...] = ()
    proposals: tuple[reason.Proposed, ...] = ()
    appraisals: tuple[Appraisal, ...] = ()
    judged_before: tuple[Appraisal, ...] = ()
    """The last cycle's appraisals, which colour this cycle's affect."""
    inhibited: feel.Inhibited | None = None
    """The best proposal that was held back."""
    alternative: feel.AlternativeOffered | None = None
    predicted: reason.Predicted | None = None
    decided: reason.Decided | None = None
    intended: execute.Intended | None = None
    effects: tuple[execute.Intended, ...] = ()
    """What was intended this cycle, by ordinal."""
    asked: execute.ApprovalAsked | None = None
    approval: execute.ApprovalGiven | None = None
    """A person's answer to it."""
    outcome: Outcome | None = None
    outcomes: tuple[EventId, ...] = ()
    """Outcomes of tool calls that are still to be sensed."""
    doubts: tuple[Doubt, ...] = ()
    """Effects of any cycle, as long as nobody found out about them."""
    settled: Dialogue = ()
    """What was found out about them, to be told with the next observation: by then every call is answered."""
    ids: dict[str, EventId] = {}
    """Event ids by type, and by type and proposal; the latest of each. Never changed in place."""

    def see(self, event_id: EventId, event: Event | Unknown) -> Scene:
        """The scene after `event`."""
        if isinstance(event, Unknown):
            return self._replace(ids={**self.ids, event.type: event_id})
        phase = phase_of(event.type)
        before = self._next_cycle() if phase == "session" and isinstance(event, session.CycleOpened) else self
        ids = {**before.ids, event.type: event_id}
        number = _number(phase, event)
        if number is not None:
            ids[f"{event.type}/{number}"] = event_id
        changes = before._change(phase, event_id, event)
        if before.spaces is not None and before.spaces.action.kind == "tools":
            changes |= before._converse(event_id, event)
        return before._replace(ids=ids, **changes)

    def _change(self, phase: str, event_id: EventId, event: Event) -> dict[str, Any]:
        # By phase first: pydantic's models answer `isinstance` slowly where the answer is no, and this runs for every
        # event of every session.
        match phase:
            case "session":
                return self._framed(event)
            case "sense":
                return self._sensed(event)
            case "feel":
                return self._felt(event)
            case "reason":
                return self._reasoned(event)
            case "execute":
                return self._executed(event_id, event)
            case "learn" if isinstance(event, learn.BeliefUpdated):
                return {"learned": self.transition}
        return {}

    def _framed(self, event: Event) -> dict[str, Any]:
        if not isinstance(event, session.Opened):
            return {}
        spaces = Spaces.model_validate(event.spaces)
        return {"spaces": spaces, "cycles": event.cycles, "person": event.person, "playbook": event.playbook}

    def _sensed(self, event: Event) -> dict[str, Any]:
        match event:
            case sense.Observed():
                return self._observe(event)
            case sense.Surprised():
                return {"surprised": event}
            case sense.Recalled():
                return {"recalled": event}
        return {}

    def _felt(self, event: Event) -> dict[str, Any]:
        match event:
            case feel.Appraised() if event.appraisal.of == "request":
                return {"request": event}
            case feel.Appraised():
                return {"appraisals": (*self.appraisals, event.appraisal)}
            case feel.Inhibited():
                return {"inhibited": self.inhibited or event}
            case feel.AlternativeOffered():
                return {"alternative": event}
        return {}

    def _reasoned(self, event: Event) -> dict[str, Any]:
        match event:
            case reason.Proposed():
                return {"proposals": (*self.proposals, event)}
            case reason.Predicted():
                return {"predicted": event}
            case reason.Decided():
                return {"decided": event}
        return {}

    def _executed(self, event_id: EventId, event: Event) -> dict[str, Any]:
        match event:
            case execute.Intended():
                return {"intended": event, "effects": (*self.effects, event)}
            case execute.Succeeded() | execute.Failed() | execute.Cancelled():
                return {"outcome": event}
            case execute.UnknownOutcome():
                intended = (one for one in self.effects if one.effect == event.effect)
                return {"outcome": event, "doubts": (*self.doubts, *(Doubt(event_id, one) for one in intended))}
            case execute.Reconciled():
                return {"doubts": tuple(doubt for doubt in self.doubts if doubt.intended.effect != event.effect)}
            case execute.ApprovalAsked():
                return {"asked": event}
            case execute.ApprovalGiven() if self.asked is not None and event.arguments == self.asked.arguments:
                return {"approval": event}
        return {}

    def _converse(self, event_id: EventId, event: Event) -> dict[str, Any]:
        """What an event adds to the conversation."""
        match event:
            case sense.Observed():
                turns = (*self.settled, *dialogue.heard(event_id, event))
                return {"dialogue": (*self.dialogue, *turns), "outcomes": (), "settled": ()}
            case sense.ContextCompacted():
                dropped = frozenset(event.dropped)
                kept = tuple(turn for turn in self.dialogue if turn.event not in dropped)
                return {"dialogue": kept, "summary": event.summary}
            case reason.Requested():
                return {"requests": (*self.requests, event)}
            case reason.Answered():
                return {"answers": (*self.answers, event)}
            case reason.Unanswered():
                return {"unanswered": (*self.unanswered, event)}
            case reason.Decided():
                turns = dialogue.decided(event_id, event, self.answers, self.inhibited)
                return {"dialogue": (*self.dialogue, *turns)}
            case execute.Succeeded() | execute.Failed() | execute.UnknownOutcome() | execute.Cancelled():
                assert self.decided is not None, "an outcome follows a decision"
                turn = dialogue.settled(event_id, event, self.decided.action)
                if turn is not None:
                    return {"dialogue": dialogue.answered(self.dialogue, turn), "outcomes": (*self.outcomes, event_id)}
            case execute.Reconciled(effect=effect):
                doubted = (doubt.intended.action for doubt in self.doubts if doubt.intended.effect == effect)
                found = tuple(dialogue.reconciled(event_id, event, action) for action in doubted)
                return {"settled": (*self.settled, *found)}
        return {}

    def _next_cycle(self) -> Scene:
        """Keeps what the next cycle needs of this one: what was seen, done and expected."""
        return Scene(
            spaces=self.spaces,
            cycles=self.cycles,
            person=self.person,
            playbook=self.playbook,
            dialogue=self.dialogue,
            summary=self.summary,
            outcomes=self.outcomes,
            doubts=self.doubts,
            settled=self.settled,
            observed=self.observed,
            learned=self.learned,
            judged_before=self.appraisals,
            expected=self.predicted if self.acted else None,
            intended=self.intended if self.acted else None,
            ids={"reason.predicted": self.ids["reason.predicted"]} if "reason.predicted" in self.ids else {},
        )

    @property
    def usage(self) -> Usage:
        """What models cost this cycle."""
        spent = [*(answer.usage for answer in self.answers), *(failure.usage for failure in self.unanswered)]
        return Usage(
            model_calls=len(self.requests),
            input_tokens=sum(usage.input_tokens for usage in spent),
            output_tokens=sum(usage.output_tokens for usage in spent),
            cost_usd=sum(usage.cost_usd for usage in spent),
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
    "sense.context_compacted": ("sense.observed",),
    "reason.requested": ("feel.appraised", "sense.observed"),
    "reason.answered": ("reason.requested",),
    "reason.unanswered": ("reason.requested",),
    "reason.proposed": ("reason.answered", "feel.appraised", "sense.observed"),
    "reason.predicted": ("reason.proposed",),
    "reason.decided": ("reason.proposed",),
    "execute.approval_asked": ("reason.decided",),
    "execute.approval_given": ("execute.approval_asked",),
    "execute.intended": ("reason.decided",),
    "execute.dispatched": ("execute.intended",),
    "execute.succeeded": ("execute.dispatched", "execute.intended"),
    "execute.failed": ("execute.dispatched", "execute.intended"),
    "execute.unknown": ("execute.dispatched", "execute.intended"),
    "execute.cancelled": ("execute.approval_given", "reason.decided"),
    "learn.rewarded": ("execute.succeeded",),
    "learn.feedback_received": ("sense.observed",),
    "learn.remembered": ("sense.observed",),
    "learn.belief_updated": ("sense.observed",),
    "session.cycle_closed": ("session.cycle_opened",),
}
"""The event that leads to one of each type: the first of these that the scene has seen."""


def _number(phase: str, event: Event) -> int | None:
    """The place of `event` among those of its type in one cycle, where a later event refers to it by that."""
    match phase:
        case "reason" if isinstance(event, reason.Proposed):
            return event.proposal
        case "feel" if isinstance(event, feel.Appraised):
            return event.appraisal.proposal
        case "execute" if isinstance(event, execute.Intended | execute.Dispatched):
            return event.ordinal
    return None


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
        case execute.Dispatched() | execute.Succeeded() | execute.Failed() | execute.UnknownOutcome():
            proposal = event.ordinal
        case execute.Reconciled(effect=effect):
            return next((doubt.event for doubt in scene.doubts if doubt.intended.effect == effect), "")
    for kind in kinds:
        found = scene.ids.get(kind if proposal is None else f"{kind}/{proposal}")
        if found is not None:
            return found
    return ""


def refs_of(scene: Scene, event: Event) -> tuple[str, ...]:
    """What else `event` rests on: recalled episodes, the model, the rules."""
    match event:
        case reason.Decided():
            playbook = () if scene.playbook is None else (f"model:{scene.playbook.id}",)
            return *(() if scene.recalled is None else tuple(hit.event for hit in scene.recalled.hits)), *playbook
        case reason.Predicted() | learn.BeliefUpdated():
            return (f"model:{event.model}",)
        case feel.Appraised():
            return tuple(f"rule:{ground.rule}" for ground in event.appraisal.grounds)
    return ()
