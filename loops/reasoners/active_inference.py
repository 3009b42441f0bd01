"""Courses of action weighed by expected free energy: what each is expected to cost, less what it would teach.

Knows the planner, and what the session's model makes of the moment; knows no environment. Invariant: a plan follows
from the session's state, its latest observations and counted randomness, so one that was made ahead, together with
others', is the one that would be made alone, up to rounding."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from loops.context import Context
from loops.errors import Behind
from loops.layouts import layout_of
from loops.models import Learning, Models, Outlook, forward_of
from loops.ports import Forecast
from telemetry.events import reason
from telemetry.events.values import Action, Array, Digest, ModelId, Persistence, Weighed, digest_of
from world_model.plan.cost import Cost, Euclidean, Indifferent, scale_of
from world_model.plan.planner import Plan, plan
from world_model.plan.settings import PlanSettings


@dataclass(frozen=True, slots=True)
class _Moment:
    """What a plan is made from."""

    context: Context
    outlook: Outlook
    cost: Cost

    @property
    def key(self) -> tuple[int, Digest | None, int]:
        """Equal for equal plans of one session."""
        state = self.context.state
        return state.cycle, state.observed, state.belief.transitions


class ActiveInference:
    def __init__(self, models: Models, settings: PlanSettings) -> None:
        self._models = models
        self._settings = settings
        self._ahead: dict[str, tuple[tuple[int, Digest | None, int], Plan]] = {}
        self._preferred: dict[ModelId | None, Cost] = {}
        """By the trained model whose landmarks say it."""

    def propose(self, context: Context, forecast: Forecast) -> Sequence[reason.Planned | reason.Proposed]:
        moment = self._moment(context)
        key, made = self._ahead.pop(context.stream, (None, None))
        if made is None or key != moment.key:
            (made,) = self._plans([moment])
        return self._told(moment, made)

    def persist(self, context: Context, action: Action) -> Persistence | None:
        return None

    def ahead(self, contexts: Sequence[Context]) -> None:
        moments: list[_Moment] = []
        for context in contexts:
            with suppress(Behind):
                moment = self._moment(context)
                if self._ahead.get(context.stream, (None,))[0] != moment.key:
                    moments.append(moment)
        for moment, made in zip(moments, self._plans(moments), strict=True):
            self._ahead[moment.context.stream] = moment.key, made

    def forget(self, stream: str) -> None:
        self._ahead.pop(stream, None)

    def _moment(self, context: Context) -> _Moment:
        outlook = self._models.of(context)
        return _Moment(context, outlook, self._cost(context, outlook))

    def _cost(self, context: Context, outlook: Outlook) -> Cost:
        """What outcomes cost on the way to the goal, or to what the log's rewards preferred where there is none."""
        observed = context.scene.observed
        assert observed is not None, "reason follows sense"
        artifact = self._models.artifact(context)
        landmarks = None if artifact is None else artifact.landmarks
        if observed.goal is None:
            model = context.scene.model
            if model not in self._preferred:
                self._preferred[model] = Indifferent() if landmarks is None else landmarks.preferred()
            return self._preferred[model]
        desired_G = observed.goal.desired.numpy().astype(np.float64).ravel()
        if landmarks is not None:
            return landmarks.toward(desired_G)
        assert isinstance(outlook, Learning), "compose refuses a trained model without landmarks"
        change_G = outlook.model.change_D[-len(desired_G) :]
        if not change_G.any():
            return Indifferent()  # nothing was ever moved, so there is no telling how far anything is
        return Euclidean(desired_G, scale=scale_of(change_G))

    def _plans(self, moments: Sequence[_Moment]) -> list[Plan]:
        """Together where one model foresees for several of them."""
        together: dict[ModelId, list[int]] = {}
        for place, moment in enumerate(moments):
            together.setdefault(moment.outlook.model_id, []).append(place)
        plans = {
            place: made
            for places in together.values()
            for place, made in zip(places, self._planned([moments[place] for place in places]), strict=True)
        }
        return [plans[place] for place in range(len(moments))]

    def _planned(self, moments: Sequence[_Moment]) -> list[Plan]:
        """By the one model that foresees for all of them."""
        layout = layout_of(moments[0].context.spaces)
        assert layout is not None, "compose refuses planning where nothing is predicted"
        return plan(
            forward_of([moment.outlook for moment in moments]),
            np.stack([moment.outlook.belief_Z for moment in moments]),
            [moment.cost for moment in moments],
            layout.controls,
            [moment.context.random("reason") for moment in moments],
            self._settings,
        )

    def _told(self, moment: _Moment, made: Plan) -> Sequence[reason.Planned | reason.Proposed]:
        spaces, outlook = moment.context.spaces, moment.outlook
        proposed: list[reason.Proposed] = []
        weighed: list[Weighed] = []
        for option in made.options:
            action = spaces.moves.move(option.control_A)
            arguments = digest_of(action)
            if any(arguments == other.arguments for other in proposed):
                continue  # two controls that are one action
            place = len(proposed)
            why = (
                f"G {option.energy:.4g}: {option.pragmatic:.4g} for what it costs, "
                f"{option.epistemic:.4g} nats to learn at {self._settings.epistemic:g} each"
            )
            proposed.append(
                reason.Proposed(proposal=place, action=action, arguments=arguments, score=option.energy, why=why)
            )
            weighed.append(
                Weighed(
                    proposal=place,
                    energy=option.energy,
                    pragmatic=option.pragmatic,
                    epistemic=option.epistemic,
                    probability=option.probability,
                )
            )
        planned = reason.Planned(
            model=outlook.model_id,
            belief=digest_of(Array.of(outlook.belief_Z)),
            options=tuple(weighed),
            latent=Array.of(made.latent_Z),
            goal=Array.of(made.outcome_G) if spaces.goal is not None else None,
        )
        return planned, *proposed
