"""World models of the sessions that one process serves: replicas, projected from what is on the log.

Knows how far each has learnt, and which observations a belief rests on; refuses to answer from any other history than
the session's own (`Behind`). Invariant: what answers has learnt exactly the transitions that the session's state
counts, or, where its weights are frozen, believes from exactly the latest observations of the session's episode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from loops.context import Context
from loops.errors import Behind
from loops.layouts import layout_of
from loops.recent import Recent
from loops.scene import Transition
from loops.spaces import Spaces, Vector, flatten
from telemetry.events import learn, sense
from telemetry.events.values import Action, Belief, ModelId
from world_model.layout import Layout
from world_model.linear import LinearModel, Prediction

if TYPE_CHECKING:  # they load torch, which only what uses them should wait for
    from world_model.checkpoint import Artifact
    from world_model.plan.forward import Forward

Kind = Literal["linear", "trained", "none"]


class Outlook(Protocol):
    """What a model makes of one moment of one session."""

    @property
    def model_id(self) -> ModelId: ...

    @property
    def belief_Z(self) -> NDArray[np.float32]:
        """What is believed of the moment: all that the model foresees anything from."""
        ...

    @property
    def spread(self) -> float:
        """Root mean predictive standard deviation over the dimensions, in observation units."""
        ...

    def predict(self, controls_KA: Vector) -> Prediction:
        """What is seen next after each of K controls, shapes (K, D)."""
        ...


@dataclass(frozen=True, slots=True)
class Learning:
    """The session's own linear model, as it is now."""

    model: LinearModel
    now_D: Vector
    spaces: Spaces

    @property
    def layout(self) -> Layout:
        layout = layout_of(self.spaces)
        assert layout is not None, "only what is numeric is predicted"
        return layout

    @property
    def model_id(self) -> ModelId:
        return self.model.model_id

    @property
    def belief_Z(self) -> NDArray[np.float32]:
        return self.now_D.astype(np.float32)

    @property
    def spread(self) -> float:
        return self.model.spread

    def predict(self, controls_KA: Vector) -> Prediction:
        return self.model.predict_many(self.now_D, controls_KA)


@dataclass(frozen=True, slots=True)
class Trained:
    """A model whose weights are frozen, and what it believes now."""

    artifact: Artifact
    belief_Z: NDArray[np.float32]

    @property
    def model_id(self) -> ModelId:
        return self.artifact.model_id

    @property
    def spread(self) -> float:
        return self.artifact.model.spread

    def predict(self, controls_KA: Vector) -> Prediction:
        return self.artifact.model.predict(self.belief_Z, controls_KA)


class Models:
    """`read` reads the trained model that the scenario names, once, when it is first asked for; with the kind `linear`
    only its landmarks are used."""

    def __init__(self, kind: Kind = "linear", *, read: Callable[[], Artifact] | None = None) -> None:
        self._kind = kind
        self._read = read
        self._learning: dict[str, LinearModel] = {}
        self._recent: dict[str, Recent] = {}
        self._believed: dict[str, tuple[Recent, Trained]] = {}

    @cached_property
    def artifact(self) -> Artifact | None:
        """What is trained and named, None where nothing is. Raises what reading it raises."""
        return None if self._read is None else self._read()

    @property
    def trained(self) -> bool:
        """Whether a trained model predicts."""
        return self._kind == "trained"

    @property
    def pinned(self) -> ModelId | None:
        """What a session must go on with; None where it has all that it needs on its log."""
        return None if self.artifact is None else self.artifact.model_id

    def predicts(self, spaces: Spaces) -> bool:
        """Whether anything is predicted at all: not without a model, and not where nothing numeric is seen."""
        return self._kind != "none" and spaces.width > 0

    def of(self, context: Context) -> Outlook:
        """What the session's model makes of what is observed now. Raises `Behind` when it must be restored from the
        log first."""
        observed = context.scene.observed
        assert observed is not None, "a model is asked after sense"
        if self.trained:
            return self._believing(context)
        return Learning(self._learnt(context), seen(context.spaces, observed), context.spaces)

    def learn(self, context: Context, transition: Transition) -> learn.BeliefUpdated:
        """Learns a transition. Frozen weights learn nothing from it: it is counted. Raises `Behind`."""
        if self.trained:
            assert self.artifact is not None, "a trained model is read from somewhere"
            count, spread = context.state.belief.transitions, self.artifact.model.spread
            prior, posterior = (Belief(transitions=n, spread=spread) for n in (count, count + 1))
            return learn.BeliefUpdated(model=self.artifact.model_id, prior=prior, posterior=posterior)
        model = self._learnt(context)
        prior = _belief(model)
        _learn(model, context.spaces, transition)
        return learn.BeliefUpdated(model=model.model_id, prior=prior, posterior=_belief(model))

    def restore(self, context: Context, transitions: Iterable[Transition], *, begin: bool) -> None:
        """Builds what the session's model has learnt anew, a page of transitions at a time; `begin` with the first."""
        if begin:
            self._learning[context.stream] = _fresh(context.spaces)
        for transition in transitions:
            _learn(self._learning[context.stream], context.spaces, transition)

    def recall(self, context: Context, transitions: Sequence[Transition]) -> None:
        """Takes up the latest transitions of the session's episode, which a belief rests on."""
        if transitions:
            self._recent[context.stream] = Recent.of(context.spaces, transitions, history=self.history)

    @property
    def history(self) -> int:
        """How many observations a belief rests on."""
        return self.artifact.model.history if self.trained and self.artifact is not None else 1

    def forget(self, stream: str) -> None:
        self._learning.pop(stream, None)
        self._recent.pop(stream, None)
        self._believed.pop(stream, None)

    def _learnt(self, context: Context) -> LinearModel:
        wanted = context.state.belief.transitions
        model = self._learning.get(context.stream)
        if model is None and wanted == 0:
            model = self._learning[context.stream] = _fresh(context.spaces)
        if model is not None and model.transitions == wanted - 1 and context.scene.learned is not None:
            _learn(model, context.spaces, context.scene.learned)
        if model is None or model.transitions != wanted:
            raise Behind("world_model", context.stream)
        return model

    def _believing(self, context: Context) -> Trained:
        assert self.artifact is not None, "a trained model is read from somewhere"
        recent = Recent.follow(self._recent.get(context.stream), context, history=self.history)
        if recent is None:
            raise Behind("belief", context.stream)
        self._recent[context.stream] = recent
        believed = self._believed.get(context.stream)
        if believed is None or believed[0] is not recent:
            outlook = Trained(self.artifact, self.artifact.model.believe(recent.seen_KD, recent.done_KA))
            believed = self._believed[context.stream] = recent, outlook
        return believed[1]


def forward_of(outlooks: Sequence[Outlook]) -> Forward:
    """What foresees many steps ahead for these sessions at once, which go by one trained model or each by its own
    linear one. Loads torch."""
    from world_model.plan.linear_forward import LinearForward

    first = outlooks[0]
    if isinstance(first, Trained):
        return first.artifact.model
    learning = [outlook for outlook in outlooks if isinstance(outlook, Learning)]
    forwards = [LinearForward(outlook.model, outlook.layout) for outlook in learning]
    return forwards[0] if len(forwards) == 1 else LinearForward.beside(forwards)


def controls(spaces: Spaces, actions: Sequence[Action]) -> Vector:
    """The flat numeric form of K actions, shape (K, A)."""
    return np.stack([spaces.action.vector(action) for action in actions])


def seen(spaces: Spaces, observed: sense.Observed) -> Vector:
    """The flat numeric form of an observation."""
    return flatten(spaces, observed.observations, observed.goal)


def _fresh(spaces: Spaces) -> LinearModel:
    return LinearModel(spaces.width, spaces.action.width)


def _belief(model: LinearModel) -> Belief:
    return Belief(transitions=model.transitions, spread=model.spread)


def _learn(model: LinearModel, spaces: Spaces, transition: Transition) -> None:
    model.learn(
        seen(spaces, transition.before),
        spaces.action.vector(transition.action),
        seen(spaces, transition.after),
    )
