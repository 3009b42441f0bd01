"""Scores: what somebody or something made of what the agent did, as evaluation results.

A result stands on the span of what it judges where that is in the trace, and else links to where that is found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from telemetry.events import Recorded
from telemetry.otel import names
from telemetry.otel.span import Attribute
from telemetry.otel.spans.about import Body
from telemetry.otel.spans.draft import Draft
from telemetry.otel.spans.drawing import Drawing
from telemetry.otel.spans.fields import pairs_of, take

SURPRISED = {
    "error": names.SURPRISE_ERROR,
    "percentile": names.SURPRISE_PERCENTILE,
    "model": names.PREDICTION_MODEL,
}
_SURPRISED = pairs_of(SURPRISED)


def surprised(drawing: Drawing, phase: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    more: dict[str, Attribute] = {}
    take(more, _SURPRISED, body)
    drawing.score(phase, event, end, names.SURPRISE, value=body.get("nats"), more=more)
    if event.cause:
        drawing.link(phase, event.cause, "predicted")


def appraised(drawing: Drawing, phase: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    """What is allowed is counted; a refusal or a question is a result of its own."""
    appraisal = body.get("appraisal", {})
    if constraints := body.get("constraints"):
        phase.attributes[names.CONSTRAINTS] = len(constraints)
    verdict = appraisal.get("verdict")
    if verdict == "allow":
        before = phase.attributes.get(names.ALLOWED, 0)
        assert isinstance(before, int)
        phase.attributes[names.ALLOWED] = before + 1
        return
    grounds = appraisal.get("grounds", ())
    more: dict[str, Attribute] = {}
    take(more, _APPRAISED, appraisal)
    if grounds:
        more[names.RULES] = [ground["rule"] for ground in grounds]
    why = "; ".join(ground["reason"] for ground in grounds)
    drawing.score(phase, event, end, names.APPRAISAL, label=verdict, why=why, more=more)


APPRAISED = {"of": names.APPRAISED, "proposal": names.PROPOSAL, "arguments": names.ARGUMENTS}
_APPRAISED = pairs_of(APPRAISED)


REWARDED = {
    "episode_return": names.EPISODE_RETURN,
    "success": names.SUCCESS,
    "ends_episode": names.ENDS_EPISODE,
}
_REWARDED = pairs_of(REWARDED)


def rewarded(drawing: Drawing, phase: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    judged = drawing.effect or phase
    more: dict[str, Attribute] = {}
    take(more, _REWARDED, body)
    drawing.score(judged, event, min(end, judged.end), names.REWARD, value=body.get("reward"), more=more)


def feedback(drawing: Drawing, phase: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    said = body.get("feedback", {})
    rating, about = said.get("rating"), said.get("about")
    label = None if rating is None else "good" if rating > 0 else "bad" if rating < 0 else "neutral"
    more: dict[str, Attribute] = {names.IMPLICIT: body.get("implicit", False)}
    drawing.score(phase, event, end, names.FEEDBACK, value=rating, label=label, why=said.get("text"), more=more)
    if about is not None:
        drawing.link(phase, about, "judged")


def reviewed(drawing: Drawing, on: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    for name, value in figures(body.get("figures", {}), inside=REVIEWED):
        drawing.score(on, event, end, f"{names.REVIEW}.{name}", value=value)
    if drawing.content and body.get("summary"):
        on.attributes[names.WHY] = body["summary"]


REVIEWED: Final = ("success", "surprise", "rewards")
"""The figures of a review that judge what was done; the others count it."""


def evaluated(drawing: Drawing, on: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    take(on.attributes, _EVALUATED, body)
    for name, value in figures(body.get("figures", {})):
        drawing.score(on, event, end, name, value=value)
    if drawing.content and body.get("why"):
        on.attributes[names.WHY] = body["why"]


EVALUATED = {
    "model": names.MODEL,
    "incumbent": names.INCUMBENT,
    "to": names.MODEL_BEFORE,
    "scenario": names.SCENARIO,
    "pairs": names.PAIRS,
    "share": names.SHARE,
}
_EVALUATED = pairs_of(EVALUATED)


def figures(found: Body, *, inside: tuple[str, ...] = ()) -> Iterator[tuple[str, float]]:
    """The numbers among the figures, and those one level inside the ones named, by their dotted names."""
    for name, value in found.items():
        if isinstance(value, dict) and name in inside:
            yield from ((f"{name}.{inner}", number) for inner, number in figures(value))
        elif isinstance(value, int | float) and not isinstance(value, bool) and not inside:
            yield name, value
