"""What led to an event, and what else it rests on, found among what the scene has seen.

Knows the order of a cycle; folds nothing. Invariant: a cause stands on the log before what it led to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

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
    "reason.planned": ("feel.appraised", "sense.observed"),
    "reason.proposed": ("reason.planned", "reason.answered", "feel.appraised", "sense.observed"),
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
    # By class, from tables, as in `loops.scene`.
    kind = type(event)
    if type(event) is execute.Reconciled:
        return next((doubt.event for doubt in scene.doubts if doubt.intended.effect == event.effect), "")
    kinds = CAUSES.get(event.type, ())
    proposal = None if (number := _NUMBERS.get(kind)) is None else number(event)
    if kind is feel.Appraised:
        kinds = ("sense.observed",) if proposal is None else ("reason.proposed",)
    ids = scene.ids
    for cause in kinds:
        found = ids.get(cause if proposal is None else f"{cause}/{proposal}")
        if found is not None:
            return found
    return ""


_NUMBERS: Mapping[type, Callable[[Any], int | None]] = {
    feel.Appraised: lambda event: event.appraisal.proposal,
    feel.Inhibited: lambda event: event.proposal,
    reason.Predicted: lambda event: event.proposal,
    reason.Decided: lambda event: event.proposal,
    execute.Dispatched: lambda event: event.ordinal,
    execute.Succeeded: lambda event: event.ordinal,
    execute.Failed: lambda event: event.ordinal,
    execute.UnknownOutcome: lambda event: event.ordinal,
}
"""The place, among those of its type in the cycle, of the event that led to one of these."""


def refs_of(scene: Scene, event: Event) -> tuple[str, ...]:
    """What else `event` rests on: recalled episodes, the model, the rules."""
    refs = _REFS.get(type(event))
    return () if refs is None else refs(scene, event)


def _decided(scene: Scene, _: reason.Decided) -> tuple[str, ...]:
    playbook = () if scene.playbook is None else (f"model:{scene.playbook.id}",)
    return *(() if scene.recalled is None else tuple(hit.event for hit in scene.recalled.hits)), *playbook


_REFS: Mapping[type, Callable[[Scene, Any], tuple[str, ...]]] = {
    reason.Decided: _decided,
    reason.Planned: lambda _, event: (f"model:{event.model}",),
    reason.Predicted: lambda _, event: (f"model:{event.model}",),
    learn.BeliefUpdated: lambda _, event: (f"model:{event.model}",),
    learn.ModelAdopted: lambda _, event: () if event.model is None else (f"model:{event.model}",),
    feel.Appraised: lambda _, event: tuple(f"rule:{ground.rule}" for ground in event.appraisal.grounds),
}
