"""What a policy makes of one recorded situation, from feeling to decision.

Knows the phases' order and which recorded answers may be served; calls no tool and, unless it may, no model.
Invariant: an answer is served for an equal request only, equal in prompt, model, parameters and seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import JsonValue

from loops.context import Context
from loops.reasoners.language.settings import NOT_SENT
from loops.scene import Scene
from runtime.compose import Phases
from telemetry.events import Event, reason

Answer = reason.Answered | reason.Unanswered


class Thought(NamedTuple):
    """The cycle's scene with what the policy felt, proposed, judged and decided in it.

    `gap` says why what a model would answer is not known. The proposals are the recorded ones then: the judgement of
    them is the policy's, the choice of what to propose is not."""

    scene: Scene
    gap: str = ""


def think(phases: Phases, situation: Context, recorded: Scene, *, live: bool) -> Thought:
    """`situation` is the session once it has sensed and recalled, `recorded` the scene of what then happened."""
    now = situation.after(phases.feel.request(situation))
    now = now.after(phases.reason.request(now))
    answers, gap = _answers(phases, now, recorded, live=live)
    now = now.after(answers)
    now = now.after(recorded.proposals if gap else phases.reason.propose(now))
    now = now.after(phases.feel.proposals(now))
    return Thought(now.after(phases.reason.decide(now)).scene, gap)


def _answers(phases: Phases, now: Context, recorded: Scene, *, live: bool) -> tuple[Sequence[Event], str]:
    """What the models answer that the policy asks now, and why that is not known, '' when it is."""
    before: tuple[Answer, ...] = (*recorded.answers, *recorded.unanswered)
    served: list[Answer] = []
    missing: list[reason.Requested] = []
    gap = ""
    for request in now.scene.requests:
        found = next((one for one in recorded.requests if _sent(one) == _sent(request)), None)
        if found is None:
            gap = gap or _differs(request, recorded)
            missing.append(request)
        else:
            served += (a.model_copy(update={"call": request.call}) for a in before if a.call == found.call)
    if missing and live:
        asking = now.scene._replace(requests=tuple(missing))
        asked = phases.reason.answer(Context(now.stream, now.state, asking))
        answered = [event for event in asked if isinstance(event, reason.Answered | reason.Unanswered)]
        failed = (event.error for event in answered if isinstance(event, reason.Unanswered))
        gap = next((f"a model that was asked now did not answer: {error}" for error in failed), "")
        served += answered
    return sorted(served, key=lambda event: event.call), gap


def _sent(request: reason.Requested) -> dict[str, JsonValue]:
    """What of a request its answer depends on."""
    return {
        "prompt": request.prompt,
        "model": request.model,
        "seed": request.seed,
        "parameters": {name: value for name, value in request.parameters.items() if name not in NOT_SENT},
    }


def _differs(request: reason.Requested, recorded: Scene) -> str:
    before = next((one for one in recorded.requests if one.call == request.call), None)
    if before is None:
        return "a model would be asked that was not asked then"
    sent, asked = _sent(before), _sent(request)
    names = " and ".join(name for name in sent if sent[name] != asked[name])
    return f"the request differs in its {names}, so it has no recorded answer"
