"""The second phase: affect, the judgement of what was asked, and of every proposal before it can be chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from heart.affect import felt
from heart.gate import Gate
from loops.context import Context
from loops.models import Models, controls
from loops.spaces import named_arrays, parts
from telemetry.events import Event, feel
from telemetry.events.values import Action, Appraisal, Message, Move, Say, Text


class Feel:
    def __init__(self, gate: Gate, models: Models) -> None:
        self._gate = gate
        self._models = models

    def request(self, context: Context) -> Sequence[Event]:
        """Affect, and the appraisal of what was asked or observed with the constraints it sets."""
        observed = context.scene.observed
        assert observed is not None, "feel follows sense"
        texts = [o.text for o in observed.observations if isinstance(o, Text | Message)]
        appraisal, constraints = self._gate.appraise_request(texts, named_arrays(observed.observations, observed.goal))
        state = context.state
        mood = felt(
            reward=state.last_reward,
            success=state.last_success,
            percentile=state.percentile,
            appraisals=context.scene.judged_before,
            rules=self._gate.settings.rules,
        )
        return mood, feel.Appraised(appraisal=appraisal, constraints=constraints)

    def proposals(self, context: Context) -> Sequence[Event]:
        """Each proposal appraised, in order; then what was inhibited and what is offered instead."""
        observed = context.scene.observed
        assert observed is not None, "feel follows sense"
        now = named_arrays(observed.observations, observed.goal)

        def forecast(action: Action) -> Mapping[str, NDArray[Any]]:
            spaces = context.spaces
            if not isinstance(action, Move):
                return now  # only moves change what is seen before the world has answered
            return parts(spaces, self._models.of(context).predict(controls(spaces, (action,))).mean[0])

        judged = [
            self._gate.appraise(
                p.proposal, p.action, p.arguments, seen=now, forecast=forecast, person=context.scene.person
            )
            for p in context.scene.proposals
        ]
        return (
            *(feel.Appraised(appraisal=appraisal) for appraisal in judged),
            *self._held_back(context, judged),
        )

    def _held_back(self, context: Context, judged: Sequence[Appraisal]) -> Sequence[Event]:
        selection = self._gate.select(judged)
        proposals = {p.proposal: p for p in context.scene.proposals}
        events: list[Event] = [
            feel.Inhibited(
                proposal=appraisal.proposal,
                arguments=appraisal.arguments,
                rules=tuple(ground.rule for ground in appraisal.grounds),
            )
            for appraisal in selection.inhibited
            if appraisal.proposal is not None and appraisal.arguments is not None
        ]
        if selection.inhibited and selection.proposal is not None:
            first = selection.inhibited[0]
            assert first.proposal is not None
            reasons = "; ".join(ground.reason for ground in first.grounds)
            events.append(
                feel.AlternativeOffered(
                    instead_of=first.proposal,
                    proposal=selection.proposal,
                    action=proposals[selection.proposal].action,
                    why=f"the best proposal that is allowed; held back because {reasons}",
                )
            )
        elif selection.inhibited:
            events += self._own_offer(selection.inhibited[0])
        return events

    def _own_offer(self, held_back: Appraisal) -> Sequence[Event]:
        """What a rule says in place of what it refuses, where nothing else is allowed."""
        offer = self._gate.offer_for(held_back)
        if offer is None or held_back.proposal is None:
            return ()
        why = "; ".join(ground.reason for ground in held_back.grounds)
        return (feel.AlternativeOffered(instead_of=held_back.proposal, action=Say(text=offer), why=why),)
