"""World models of the sessions that one process serves: replicas, projected from what is on the log.

Knows how far each has learnt, which observations a belief rests on, and the trained models that sessions act by;
refuses to answer from any other history than the session's own (`Behind`). Invariant: what answers has learnt exactly
the transitions that the session's state counts, or, where its weights are frozen, is the model that the session's scene
names and believes from exactly the latest observations of the session's episode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
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


Read = Callable[[str], "Artifact"]
"""Reads a trained model by its id, or by what else a scenario calls it. Raises where it is not there."""

SPARE = 2
"""Trained models kept in memory beside those that sessions act by: what they went by last, which may be taken back."""


class Models:
    """`named`: whether the scenario names a trained model itself, which with the kind `linear` is used for its
    landmarks only. Where it names none, a session that acts by a trained model predicts and plans by that one, and any
    other as the scenario says."""

    def __init__(self, kind: Kind = "linear", *, named: bool = False, read: Read | None = None) -> None:
        self._kind = kind
        self._named = named
        self._read = read
        self._artifacts: dict[ModelId, Artifact] = {}
        self._reading = Lock()
        self._acting: dict[str, ModelId] = {}
        """By which trained model each session acted last."""
        self._learning: dict[str, LinearModel] = {}
        self._recent: dict[str, Recent] = {}
        self._believed: dict[str, tuple[Recent, Trained]] = {}

    def load(self, which: str) -> Artifact:
        """The trained model of this id, or whatever else it is called. Blocks while it is read; raises what that
        raises. One that is in memory is given whether it could still be read or not."""
        with self._reading:
            artifact = self._artifacts.get(which)
            if artifact is None:
                assert self._read is not None, "what acts by a trained model is read from somewhere"
                artifact = self._read(which)
                self._artifacts[artifact.model_id] = artifact
                self._let_go()
            return artifact

    def acts(self, stream: str, model: ModelId) -> None:
        """Has the model in memory before the session is asked by it. Raises as `load`; the session stands as before
        then."""
        self._switch(stream, self.load(model))

    def artifact(self, context: Context) -> Artifact | None:
        """The trained model that the session acts by, None where it acts by none. Raises as `load`."""
        model = context.scene.model
        if model is None:
            return None
        artifact = self._artifacts.get(model)
        if artifact is None:
            artifact = self.load(model)
        if self._acting.get(context.stream) != model:
            self._switch(context.stream, artifact)
        return artifact

    def trained(self, model: ModelId | None) -> bool:
        """Whether a session that acts by `model` predicts by it."""
        return model is not None and (self._kind == "trained" or not self._named)

    def guides(self, model: ModelId | None) -> bool:
        """Whether a session that acts by `model` plans by it, whatever its scenario says of reasoning."""
        return model is not None and not self._named

    def predicts(self, spaces: Spaces, model: ModelId | None) -> bool:
        """Whether anything is predicted at all: not without a model, and not where nothing numeric is seen."""
        return (self._kind != "none" or self.trained(model)) and spaces.width > 0

    def of(self, context: Context) -> Outlook:
        """What the session's model makes of what is observed now. Raises `Behind` when it must be restored from the
        log first, and as `load`."""
        observed = context.scene.observed
        assert observed is not None, "a model is asked after sense"
        if self.trained(context.scene.model):
            return self._believing(context)
        return Learning(self._learnt(context), seen(context.spaces, observed), context.spaces)

    def learn(self, context: Context, transition: Transition) -> learn.BeliefUpdated:
        """Learns a transition. Frozen weights learn nothing from it: it is counted. Raises `Behind`."""
        if self.trained(context.scene.model):
            artifact = self._artifact(context)
            count, spread = context.state.belief.transitions, artifact.model.spread
            prior, posterior = (Belief(transitions=n, spread=spread) for n in (count, count + 1))
            return learn.BeliefUpdated(model=artifact.model_id, prior=prior, posterior=posterior)
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
            self._recent[context.stream] = Recent.of(context.spaces, transitions, history=self.history(context))

    def history(self, context: Context) -> int:
        """How many observations the session's belief rests on."""
        return self._artifact(context).model.history if self.trained(context.scene.model) else 1

    def forget(self, stream: str) -> None:
        self._learning.pop(stream, None)
        self._recent.pop(stream, None)
        self._believed.pop(stream, None)
        self._acting.pop(stream, None)

    def _switch(self, stream: str, artifact: Artifact) -> None:
        """What was recent for another model may be too short for this one."""
        if self._acting.get(stream) != artifact.model_id:
            self._acting[stream] = artifact.model_id
            self._recent.pop(stream, None)
            self._believed.pop(stream, None)

    def _let_go(self) -> None:
        """Of trained models that no session acts by, but for those that were read last."""
        acting = set(self._acting.values())
        idle = [model for model in self._artifacts if model not in acting]
        for model in idle[: -SPARE or None]:
            del self._artifacts[model]

    def _artifact(self, context: Context) -> Artifact:
        artifact = self.artifact(context)
        assert artifact is not None, "only what acts by a trained model asks for it"
        return artifact

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
        artifact = self._artifact(context)
        recent = Recent.follow(self._recent.get(context.stream), context, history=artifact.model.history)
        if recent is None:
            raise Behind("belief", context.stream)
        self._recent[context.stream] = recent
        believed = self._believed.get(context.stream)
        if believed is None or believed[0] is not recent:
            outlook = Trained(artifact, artifact.model.believe(recent.seen_KD, recent.done_KA))
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
