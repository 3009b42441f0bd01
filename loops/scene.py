"""The content the current cycle works on: what was seen, proposed, judged, decided, and what it rests on.

Knows events of this cycle, what the last one left, and the conversation that is in the context; refuses older
history. It is a fold like the state, but not hashed, because it holds arrays and ids. Invariant: it stays as small
as two cycles' events and the context's budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from loops import dialogue
from loops.dialogue import Dialogue, Outcome
from loops.spaces import Spaces
from telemetry.events import Event, Unknown, execute, feel, learn, reason, sense, session
from telemetry.events.values import Action, Appraisal, EventId, ModelId, Playbook, Usage

PINNED = "world_model"
"""What `session.opened` calls the trained model among the versions that it pins."""


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
    purpose: str | None = None
    playbook: Playbook | None = None
    model: ModelId | None = None
    """The trained model that the session acts by; None where it acts by what its scenario says alone."""
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
    planned: reason.Planned | None = None
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
    sent: tuple[execute.Dispatched, ...] = ()
    """To whom each of them was handed last, in the order of their first dispatch."""
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
        before = Scene(**_carried(self)) if type(event) is session.CycleOpened else self
        ids = {**before.ids}
        changes = _seen(before, ids, event_id, event)
        return before._replace(ids=ids, **changes)

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
        return _acted(self)


class SceneFold:
    """A scene that sees a long history, in place: four times as fast as a copy at each event."""

    def __init__(self, scene: Scene | None = None) -> None:
        # Cast, because it has a scene's fields, which is all that the functions below ask for.
        self.open = cast(Scene, SimpleNamespace(**(scene or Scene())._asdict()))
        """Not a tuple; its fields change with the next event."""
        vars(self.open)["ids"] = {**self.open.ids}

    def see(self, event_id: EventId, event: Event | Unknown) -> None:
        """As `Scene.see`."""
        fields = vars(self.open)
        if type(event) is session.CycleOpened:
            fields.update(_DEFAULTS | _carried(self.open))
        changes = _seen(self.open, fields["ids"], event_id, event)
        if changes:
            fields.update(changes)

    @property
    def scene(self) -> Scene:
        *fields, ids = vars(self.open).values()  # in the order of Scene's fields, of which `ids` is the last
        return Scene._make((*fields, {**ids}))


_DEFAULTS = Scene._field_defaults

Changes = dict[str, Any]
"""Fields of the scene and their new values."""


def _seen(scene: Scene, ids: dict[str, EventId], event_id: EventId, event: Event | Unknown) -> Changes:
    """What `event` changes; its id is put into `ids`."""
    # By class, from tables: pydantic's models answer `isinstance` slowly where the answer is no, and this runs for
    # every event of every session.
    kind = type(event)
    ids[event.type] = event_id
    if (number := _NUMBERS.get(kind)) is not None and (place := number(event)) is not None:
        ids[f"{event.type}/{place}"] = event_id
    change = _CHANGES.get(kind)
    changes = {} if change is None else change(scene, event_id, event)
    if (turn := _TURNS.get(kind)) is not None and scene.spaces is not None and scene.spaces.action.kind == "tools":
        changes |= turn(scene, event_id, event)
    return changes


_NUMBERS: Mapping[type, Callable[[Any], int | None]] = {
    reason.Proposed: lambda event: event.proposal,
    feel.Appraised: lambda event: event.appraisal.proposal,
    reason.Requested: lambda event: event.call,
    execute.Intended: lambda event: event.ordinal,
    execute.Dispatched: lambda event: event.ordinal,
}
"""The place of an event among those of its type in one cycle, where a later event refers to it by that."""


def _carried(scene: Scene) -> Changes:
    """What the next cycle needs of this one: what was seen, done and expected."""
    acted, predicted = _acted(scene), scene.ids.get("reason.predicted")
    return {
        "spaces": scene.spaces,
        "cycles": scene.cycles,
        "person": scene.person,
        "purpose": scene.purpose,
        "playbook": scene.playbook,
        "model": scene.model,
        "dialogue": scene.dialogue,
        "summary": scene.summary,
        "outcomes": scene.outcomes,
        "doubts": scene.doubts,
        "settled": scene.settled,
        "observed": scene.observed,
        "learned": scene.learned,
        "judged_before": scene.appraisals,
        "expected": scene.predicted if acted else None,
        "intended": scene.intended if acted else None,
        "ids": {} if predicted is None else {"reason.predicted": predicted},
    }


def _acted(scene: Scene) -> bool:
    return scene.intended is not None and isinstance(scene.outcome, execute.Succeeded)


def _opened(_: Scene, __: EventId, event: session.Opened) -> Changes:
    return {
        "spaces": Spaces.model_validate(event.spaces),
        "cycles": event.cycles,
        "person": event.person,
        "purpose": event.purpose,
        "playbook": event.playbook,
        "model": event.versions.get(PINNED),
    }


def _observed(scene: Scene, _: EventId, event: sense.Observed) -> Changes:
    done, before = scene.intended, scene.observed
    begins = event.step == 0
    continues = not begins and done is not None and before is not None and before.episode == event.episode
    return {
        "observed": event,
        "transition": Transition(before, done.action, event) if continues and done and before else None,
        "expected": None if begins else scene.expected,
        "intended": None,
    }


def _appraised(scene: Scene, _: EventId, event: feel.Appraised) -> Changes:
    if event.appraisal.of == "request":
        return {"request": event}
    return {"appraisals": (*scene.appraisals, event.appraisal)}


def _ended(_: Scene, __: EventId, event: Outcome) -> Changes:
    return {"outcome": event}


def _sent(scene: Scene, _: EventId, event: execute.Dispatched) -> Changes:
    if not any(before.ordinal == event.ordinal for before in scene.sent):
        return {"sent": (*scene.sent, event)}
    return {"sent": tuple(event if before.ordinal == event.ordinal else before for before in scene.sent)}


def _unknown(scene: Scene, event_id: EventId, event: execute.UnknownOutcome) -> Changes:
    intended = (one for one in scene.effects if one.effect == event.effect)
    return {"outcome": event, "doubts": (*scene.doubts, *(Doubt(event_id, one) for one in intended))}


def _reconciled(scene: Scene, _: EventId, event: execute.Reconciled) -> Changes:
    return {"doubts": tuple(doubt for doubt in scene.doubts if doubt.intended.effect != event.effect)}


def _approved(scene: Scene, _: EventId, event: execute.ApprovalGiven) -> Changes:
    return {"approval": event} if scene.asked is not None and event.arguments == scene.asked.arguments else {}


_CHANGES: Mapping[type, Callable[[Scene, EventId, Any], Changes]] = {
    session.Opened: _opened,
    sense.Observed: _observed,
    sense.Surprised: lambda _, __, event: {"surprised": event},
    sense.Recalled: lambda _, __, event: {"recalled": event},
    feel.Appraised: _appraised,
    feel.Inhibited: lambda scene, _, event: {"inhibited": scene.inhibited or event},
    feel.AlternativeOffered: lambda _, __, event: {"alternative": event},
    reason.Planned: lambda _, __, event: {"planned": event},
    reason.Proposed: lambda scene, _, event: {"proposals": (*scene.proposals, event)},
    reason.Predicted: lambda _, __, event: {"predicted": event},
    reason.Decided: lambda _, __, event: {"decided": event},
    execute.Intended: lambda scene, _, event: {"intended": event, "effects": (*scene.effects, event)},
    execute.Dispatched: _sent,
    execute.Succeeded: _ended,
    execute.Failed: _ended,
    execute.Cancelled: _ended,
    execute.UnknownOutcome: _unknown,
    execute.Reconciled: _reconciled,
    execute.ApprovalAsked: lambda _, __, event: {"asked": event},
    execute.ApprovalGiven: _approved,
    learn.BeliefUpdated: lambda scene, *_: {"learned": scene.transition},
    learn.ModelAdopted: lambda _, __, event: {"model": event.model},
}
"""What each event changes."""


def _heard(scene: Scene, event_id: EventId, event: sense.Observed) -> Changes:
    turns = (*scene.settled, *dialogue.heard(event_id, event))
    return {"dialogue": (*scene.dialogue, *turns), "outcomes": (), "settled": ()}


def _compacted(scene: Scene, _: EventId, event: sense.ContextCompacted) -> Changes:
    dropped = frozenset(event.dropped)
    kept = tuple(turn for turn in scene.dialogue if turn.event not in dropped)
    return {"dialogue": kept, "summary": event.summary}


def _chosen(scene: Scene, event_id: EventId, event: reason.Decided) -> Changes:
    turns = dialogue.decided(event_id, event, scene.answers, scene.inhibited)
    return {"dialogue": (*scene.dialogue, *turns)}


def _answered(scene: Scene, event_id: EventId, event: Outcome) -> Changes:
    assert scene.decided is not None, "an outcome follows a decision"
    turn = dialogue.settled(event_id, event, scene.decided.action)
    if turn is None:
        return {}
    return {"dialogue": dialogue.answered(scene.dialogue, turn), "outcomes": (*scene.outcomes, event_id)}


def _found_out(scene: Scene, event_id: EventId, event: execute.Reconciled) -> Changes:
    doubted = (doubt.intended.action for doubt in scene.doubts if doubt.intended.effect == event.effect)
    return {"settled": (*scene.settled, *(dialogue.reconciled(event_id, event, action) for action in doubted))}


_TURNS: Mapping[type, Callable[[Scene, EventId, Any], Changes]] = {
    sense.Observed: _heard,
    sense.ContextCompacted: _compacted,
    reason.Requested: lambda scene, _, event: {"requests": (*scene.requests, event)},
    reason.Answered: lambda scene, _, event: {"answers": (*scene.answers, event)},
    reason.Unanswered: lambda scene, _, event: {"unanswered": (*scene.unanswered, event)},
    reason.Decided: _chosen,
    execute.Succeeded: _answered,
    execute.Failed: _answered,
    execute.UnknownOutcome: _answered,
    execute.Cancelled: _answered,
    execute.Reconciled: _found_out,
}
"""What each event adds to a conversation, beside that."""
