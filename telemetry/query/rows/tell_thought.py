"""Rows of what was judged, asked of models, expected and decided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from telemetry.query.rows.payloads import Payload, functions, json_of, json_or_none, numbers, plain_action
from telemetry.query.rows.story import NO_PROPOSAL, Kept, Proposal, Teller, Telling, id_of
from telemetry.query.rows.tell_talk import tell_decided


def _felt(telling: Telling, payload: Payload) -> None:
    telling.story.cycle.felt = payload


def _appraised(telling: Telling, payload: Payload) -> None:
    judged = payload["appraisal"]
    proposal, grounds = judged.get("proposal"), judged.get("grounds", ())
    telling.tell(
        "appraisals",
        judged["of"],
        judged["verdict"],
        proposal,
        telling.story.cycle.proposals.get(proposal, NO_PROPOSAL).action or None,
        judged.get("arguments"),
        [ground["rule"] for ground in grounds],
        json_of(grounds) if grounds else None,
        payload.get("constraints", ()),
        sources=telling.after(telling.event.cause if proposal is not None else None),
    )


def _inhibited(telling: Telling, payload: Payload) -> None:
    telling.story.cycle.inhibited.append(telling.now)


def _requested(telling: Telling, payload: Payload) -> None:
    telling.story.cycle.requests[payload.get("call", 0)] = telling.now


def _answered(telling: Telling, payload: Payload) -> None:
    if payload.get("text") or payload.get("calls"):
        telling.story.cycle.answers.append(telling.now)
    _call(telling, payload, outcome="answered", answered_by=payload["model"])


def _unanswered(telling: Telling, payload: Payload) -> None:
    _call(telling, payload, outcome=payload["kind"], answered_by=None)


def _call(telling: Telling, payload: Payload, *, outcome: str, answered_by: str | None) -> None:
    call = payload.get("call", 0)
    request = telling.story.cycle.requests.get(call)
    asked = {} if request is None else request.payload
    usage, calls = payload.get("usage", {}), payload.get("calls")
    telling.tell(
        "model_calls",
        telling.now.id,
        call,
        payload.get("choice", 0),
        asked.get("specialist"),
        asked.get("endpoint", payload.get("endpoint")),
        asked.get("model", payload["model"]),
        answered_by,
        json_or_none(asked.get("parameters")),
        asked.get("prompt"),
        asked.get("context", ()),
        asked.get("why"),
        outcome,
        payload.get("status"),
        payload.get("attempts", 1),
        payload.get("error"),
        payload.get("text"),
        functions(calls) if calls else None,
        payload.get("finish"),
        usage.get("input_tokens", 0),
        usage.get("output_tokens", 0),
        usage.get("cost_usd", 0.0),
        payload.get("tokens"),
        payload.get("logprobs"),
        telling.event.elapsed_ns,
        about=request,
        sources=telling.after(id_of(request)),
    )


def _planned(telling: Telling, _: Payload) -> None:
    telling.story.cycle.planned = telling.now


def _proposed(telling: Telling, payload: Payload) -> None:
    action = json_of(plain_action(payload["action"]))
    telling.story.cycle.proposals[payload["proposal"]] = Proposal(telling.now.id, action)


def _predicted(telling: Telling, payload: Payload) -> None:
    telling.tell(
        "predictions",
        payload["proposal"],
        telling.story.cycle.proposals.get(payload["proposal"], NO_PROPOSAL).action or None,
        numbers(payload["mean"]),
        numbers(payload["variance"]),
        payload["model"],
        sources=telling.after(telling.event.cause),
    )


def _decided(telling: Telling, payload: Payload) -> None:
    cycle, options, action = telling.story.cycle, payload.get("options", ()), payload["action"]
    inhibited = cycle.inhibited[0] if cycle.inhibited else None
    held = {} if inhibited is None else inhibited.payload
    numbered = [option["proposal"] for option in options]
    proposals = [cycle.proposals.get(number, NO_PROPOSAL) for number in numbered]
    observed = id_of(cycle.observed)
    telling.tell(
        "decisions",
        observed,
        payload.get("proposal"),
        action["kind"],
        json_of(plain_action(action)),
        payload["arguments"],
        payload["why"],
        held.get("proposal"),
        held.get("rules", ()),
        numbered,
        [proposal.action or None for proposal in proposals],
        [option["verdict"] for option in options],
        [option.get("score") for option in options],
        *_plan(cycle.planned, numbered),
        sources=telling.after(observed, id_of(cycle.planned), *(one.id for one in proposals), id_of(inhibited)),
    )
    cycle.decided = telling.now
    tell_decided(telling, payload)


_WEIGHED: Final = ("energy", "pragmatic", "epistemic", "probability")


def _plan(planned: Kept | None, numbered: list[int]) -> tuple[object, ...]:
    if planned is None:
        return (None,) * 9
    payload = planned.payload
    weighed = {option["proposal"]: option for option in payload.get("options", ())}
    latent, goal = payload.get("latent"), payload.get("goal")
    return (
        planned.id,
        payload["model"],
        payload["belief"],
        None if latent is None else numbers(latent),
        None if goal is None else numbers(goal),
        *([weighed.get(number, {}).get(name) for number in numbered] for name in _WEIGHED),
    )


THOUGHT: Final[Mapping[str, Teller]] = {
    "feel.felt": _felt,
    "feel.appraised": _appraised,
    "feel.inhibited": _inhibited,
    "reason.requested": _requested,
    "reason.answered": _answered,
    "reason.unanswered": _unanswered,
    "reason.planned": _planned,
    "reason.proposed": _proposed,
    "reason.predicted": _predicted,
    "reason.decided": _decided,
}
