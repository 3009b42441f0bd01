"""What led to an event, and what else it rests on, found among what the scene has seen.

Knows the order of a cycle; folds nothing. Invariant: a cause stands on the log before what it led to."""

from __future__ import annotations

from loops.scene import Scene
from telemetry.events import Event, execute, feel, learn, reason

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
