"""The third phase: what could be done, what is expected of it, and the choice among what the heart allows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from heart.gate import Gate
from loops.context import Context
from loops.models import Models, seen
from loops.ports import Forecast, Reasoner
from telemetry.events import Event, reason
from telemetry.events.values import Action, Array, Option, Wait, digest_of
from world_model.linear import Prediction


class Reason:
    def __init__(self, reasoner: Reasoner, gate: Gate, models: Models) -> None:
        self._reasoner = reasoner
        self._gate = gate
        self._models = models

    def propose(self, context: Context) -> Sequence[Event]:
        """`reason.proposed` for each option, best first."""
        return self._reasoner.propose(context, self._forecast(context))

    def decide(self, context: Context) -> Sequence[Event]:
        """`reason.predicted` for the choice, then `reason.decided`; a wait when nothing is allowed."""
        scene = context.scene
        selection = self._gate.select(scene.appraisals)
        options = tuple(
            Option(proposal=p.proposal, score=p.score, verdict=a.verdict)
            for p, a in zip(scene.proposals, scene.appraisals, strict=True)
        )
        chosen = next((p for p in scene.proposals if p.proposal == selection.proposal), None)
        if chosen is None:
            wait = Wait()
            why = "nothing that was proposed is allowed"
            return (reason.Decided(action=wait, arguments=digest_of(wait), options=options, why=why),)
        decided = reason.Decided(
            proposal=chosen.proposal,
            action=chosen.action,
            arguments=chosen.arguments,
            options=options,
            why=chosen.why if not selection.inhibited else f"{chosen.why}, after {len(selection.inhibited)} held back",
            persist=self._reasoner.persist(context, chosen.action),
        )
        return *self._prediction(context, chosen), decided

    def _prediction(self, context: Context, chosen: reason.Proposed) -> Sequence[Event]:
        expected = self._forecast(context)((chosen.action,))
        if expected is None:
            return ()
        return (
            reason.Predicted(
                proposal=chosen.proposal,
                mean=Array.of(expected.mean[0], dtype="float32"),
                variance=Array.of(expected.variance[0], dtype="float32"),
                model=self._models.of(context).model_id,
            ),
        )

    def _forecast(self, context: Context) -> Forecast:
        observed = context.scene.observed
        assert observed is not None, "reason follows sense"
        spaces = context.spaces
        if not self._models.predicts(spaces):
            return lambda _: None
        now = seen(spaces, observed)

        def forecast(actions: Sequence[Action]) -> Prediction:
            return self._models.of(context).predict_many(now, np.stack([spaces.action.vector(a) for a in actions]))

        return forecast
