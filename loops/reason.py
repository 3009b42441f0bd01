"""The third phase: what could be done, what is expected of it, and the choice among what the heart allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from heart.gate import Gate
from loops.context import Context
from loops.models import Models, controls
from loops.ports import Asking, Forecast, Planning, Reasoner
from telemetry.events import Event, reason
from telemetry.events.values import Action, Array, Option, Wait, digest_of


class Reason:
    """`asking` is the reasoner where it asks models, `planning` where it plans, None where it does not; `planner` makes
    what plans for the sessions that act by a trained model, and `heard` gets a session's stream and the text of its
    answer as it comes."""

    def __init__(
        self,
        reasoner: Reasoner,
        gate: Gate,
        models: Models,
        *,
        asking: Asking | None = None,
        planning: Planning | None = None,
        planner: Callable[[], Planning] | None = None,
        heard: Callable[[str, str], None] = lambda _stream, _text: None,
    ) -> None:
        self._reasoner = reasoner
        self._gate = gate
        self._models = models
        self._asking = asking
        self._plans = planning is not None
        self._planning = planning
        self._planner = planner
        self._heard = heard

    def request(self, context: Context) -> Sequence[Event]:
        """What models are to be asked; see `Asking.request`."""
        return () if self._asking is None else self._asking.request(context)

    def answer(self, context: Context) -> Sequence[Event]:
        """Asks them; see `Asking.answer`."""
        assert self._asking is not None, "only a reasoner that asks models has requests"
        return self._asking.answer(context, lambda text: self._heard(context.stream, text))

    def ahead(self, contexts: Sequence[Context]) -> None:
        """Is told which contexts will be proposed in; see `Planning.ahead`."""
        planned = [context for context in contexts if self._plans or self._guided(context)]
        if planned:
            self.planning().ahead(planned)

    def planning(self) -> Planning:
        """What plans, made when it is first asked for: it loads torch."""
        if self._planning is None:
            assert self._planner is not None, "where a model guides there is what plans by it"
            self._planning = self._planner()
        return self._planning

    def forget(self, stream: str) -> None:
        """Lets go of what is kept for a session that does not run any more."""
        if self._planning is not None:
            self._planning.forget(stream)

    def propose(self, context: Context) -> Sequence[Event]:
        """`reason.proposed` for each option, best first, after `reason.planned` where they come from a plan."""
        return self._reasoner_of(context).propose(context, self._forecast(context))

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
            offered = scene.alternative
            action = Wait() if offered is None else offered.action
            why = _why_nothing(context) if offered is None else offered.why
            return (reason.Decided(action=action, arguments=digest_of(action), options=options, why=why),)
        decided = reason.Decided(
            proposal=chosen.proposal,
            action=chosen.action,
            arguments=chosen.arguments,
            options=options,
            why=chosen.why if not selection.inhibited else f"{chosen.why}, after {len(selection.inhibited)} held back",
            persist=self._reasoner_of(context).persist(context, chosen.action),
        )
        return *self._prediction(context, chosen.proposal, chosen.action), decided

    def follow(self, context: Context, decided: reason.Decided) -> Sequence[Event]:
        """What is expected of a decision that was made elsewhere, then the decision with what this reasoner would keep
        of it: for a policy that is asked what it would have done, and goes on from what was."""
        if decided.proposal is None:
            return (decided.model_copy(update={"persist": None}),)
        kept = self._reasoner_of(context).persist(context, decided.action)
        return (
            *self._prediction(context, decided.proposal, decided.action),
            decided.model_copy(update={"persist": kept}),
        )

    def _guided(self, context: Context) -> bool:
        """Whether the session plans by the trained model that it acts by, whatever its scenario says."""
        return self._planner is not None and self._models.guides(context.scene.model)

    def _reasoner_of(self, context: Context) -> Reasoner:
        return self.planning() if self._guided(context) else self._reasoner

    def _prediction(self, context: Context, proposal: int, action: Action) -> Sequence[Event]:
        if not self._models.predicts(context.spaces, context.scene.model):
            return ()
        outlook = self._models.of(context)
        expected = outlook.predict(controls(context.spaces, (action,)))
        return (
            reason.Predicted(
                proposal=proposal,
                mean=Array.of(expected.mean[0], dtype="float32"),
                variance=Array.of(expected.variance[0], dtype="float32"),
                model=outlook.model_id,
            ),
        )

    def _forecast(self, context: Context) -> Forecast:
        spaces = context.spaces
        if not self._models.predicts(spaces, context.scene.model):
            return lambda _: None
        return lambda actions: self._models.of(context).predict(controls(spaces, actions))


def _why_nothing(context: Context) -> str:
    """Why nothing is done, in words that a model reads too."""
    scene = context.scene
    if scene.inhibited is not None:
        judged = next(a for a in scene.appraisals if a.proposal == scene.inhibited.proposal)
        return "; ".join(ground.reason for ground in judged.grounds)
    if scene.unanswered and not scene.proposals:
        return "no model answered"
    return "nothing that was proposed is allowed" if scene.proposals else "there is nothing to do"
