"""What stood under a model's name, newest first: from what the log says of it, or from the pointer that says it where
no log does.

Knows ids and the order of promotions; reads no weights. Invariant: equal words in equal order give the same succession,
and what was taken back leaves what stood before it."""

from __future__ import annotations

from typing import NamedTuple

from runtime.entry import stream_of_model
from telemetry.events import Event, Unknown
from telemetry.events.learn import ModelPromoted, ModelRejected, ModelRolledBack
from telemetry.events.values import ModelId
from telemetry.log import EventLog

WORDS = ("learn.model_promoted", "learn.model_rejected", "learn.model_rolled_back")
"""Events that change what stands."""


class Succession(NamedTuple):
    ids: tuple[ModelId, ...] = ()
    """Models, and policies that scenarios describe themselves, by their `base_id`; the first one stands."""
    canary: ModelId | None = None
    """What goes first to `share` of the sessions; the others act by what stands."""
    share: float = 0.0
    taken_back: ModelId | None = None
    """What was rolled back, where that was the last word."""

    @property
    def standing(self) -> ModelId | None:
        return self.ids[0] if self.ids else None

    @property
    def before(self) -> ModelId | None:
        """What stood before."""
        return self.ids[1] if len(self.ids) > 1 else None

    def promoted(self, model: ModelId, *, incumbent: ModelId | None = None, share: float = 1.0) -> Succession:
        """With `model` in the place of what stands, or as its canary; where nothing stood yet `incumbent` did. What
        stands already stays."""
        below = self.ids or (() if incumbent is None else (incumbent,))
        if share < 1:
            return Succession(below, canary=model, share=share)
        return Succession(below if below[:1] == (model,) else (model, *below))

    def rejected(self, model: ModelId) -> Succession:
        """A canary that was not better is one no more."""
        return Succession(self.ids) if model == self.canary else self

    def rolled_back(self, model: ModelId, to: ModelId) -> Succession:
        """With `to` standing as it did before `model`."""
        if to in self.ids:
            left = self.ids[self.ids.index(to) :]
        else:
            left = (to, *self.ids[1:]) if self.standing == model else (to, *self.ids)
        return Succession(left, taken_back=model)

    def after(self, event: Event | Unknown) -> Succession:
        """With what an event says; one that says nothing of what stands leaves it."""
        match event:
            case ModelPromoted(model=model, incumbent=incumbent, share=share):
                return self.promoted(model, incumbent=incumbent, share=share)
            case ModelRejected(model=model):
                return self.rejected(model)
            case ModelRolledBack(model=model, to=to):
                return self.rolled_back(model, to)
        return self


def succession(log: EventLog, name: str) -> Succession:
    """Of what `log` says of the models `name`; empty where it says nothing."""
    stream = stream_of_model(name)
    found = Succession()
    if log.head(stream) is None:
        return found
    for recorded in log.read(stream, types=WORDS):
        found = found.after(recorded.event)
    return found
