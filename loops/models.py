"""World models of the sessions that one process serves: replicas, projected from the transitions on the log.

Knows how far each has learnt; refuses to answer from any other history than the session's own (`Behind`).
Invariant: a replica that answers has learnt exactly the transitions that the session's state counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from loops.context import Context
from loops.errors import Behind
from loops.scene import Transition
from loops.spaces import Spaces, Vector, flatten
from telemetry.events import sense
from world_model.linear import LinearModel


class Models:
    def __init__(self, kind: Literal["linear", "none"] = "linear") -> None:
        self._kind = kind
        self._models: dict[str, LinearModel] = {}

    def predicts(self, spaces: Spaces) -> bool:
        """Whether anything is predicted at all: not without a model, and not where nothing numeric is seen."""
        return self._kind != "none" and spaces.width > 0

    def of(self, context: Context) -> LinearModel:
        """The session's model, up to date. Raises `Behind` when it must be restored from the log first."""
        wanted = context.state.belief.transitions
        model = self._models.get(context.stream)
        if model is None and wanted == 0:
            model = self._models[context.stream] = _fresh(context.spaces)
        if model is not None and model.transitions == wanted - 1 and context.scene.learned is not None:
            learn(model, context.spaces, context.scene.learned)
        if model is None or model.transitions != wanted:
            raise Behind("world_model", context.stream)
        return model

    def restore(self, context: Context, transitions: Iterable[Transition], *, begin: bool) -> None:
        """Builds the replica anew, a page of the session's transitions at a time; `begin` with the first."""
        if begin:
            self._models[context.stream] = _fresh(context.spaces)
        for transition in transitions:
            learn(self._models[context.stream], context.spaces, transition)

    def forget(self, stream: str) -> None:
        self._models.pop(stream, None)


def _fresh(spaces: Spaces) -> LinearModel:
    return LinearModel(spaces.width, spaces.action.width)


def seen(spaces: Spaces, observed: sense.Observed) -> Vector:
    """The flat numeric form of an observation."""
    return flatten(spaces, observed.observations, observed.goal)


def learn(model: LinearModel, spaces: Spaces, transition: Transition) -> None:
    model.learn(
        seen(spaces, transition.before),
        spaces.action.vector(transition.action),
        seen(spaces, transition.after),
    )
