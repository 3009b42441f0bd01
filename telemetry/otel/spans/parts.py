"""Events that are a part of the span that they stand in: attributes of it, or something counted on it."""

from __future__ import annotations

from typing import Final

from telemetry.events import Recorded
from telemetry.otel import names
from telemetry.otel.spans.about import Body
from telemetry.otel.spans.draft import Draft
from telemetry.otel.spans.drawing import Drawing
from telemetry.otel.spans.fields import pairs_of, take
from telemetry.otel.spans.messages import done, heard


def observed(drawing: Drawing, on: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    attributes = on.attributes
    if (digest := body.get("digest")) is not None:
        attributes[names.OBSERVATION] = digest
    attributes[names.OBSERVATIONS] = len(body.get("observations", ())) + len(body.get("of", ()))
    attributes[names.EPISODE] = body.get("episode", 0)
    attributes[names.STEP] = body.get("step", 0)
    if "ends_episode" in body:
        attributes[names.ENDS_EPISODE] = body["ends_episode"]
    if drawing.content:
        drawing.heard += heard(body)


def felt(drawing: Drawing, on: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    take(on.attributes, _FELT, body)
    for virtue, strength in body.get("virtues", {}).items():
        on.attributes[f"{names.VIRTUE}.{virtue}"] = strength


_FELT: Final = pairs_of({"valence": names.VALENCE, "arousal": names.AROUSAL})


def proposed(drawing: Drawing, on: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    before = on.attributes.get(names.PROPOSALS, 0)
    assert isinstance(before, int)
    on.attributes[names.PROPOSALS] = before + 1


DECIDED: Final = {
    "action.kind": names.ACTION,
    "proposal": names.PROPOSAL,
    "arguments": names.ARGUMENTS,
    "persist.remaining": names.KEPT,
}
_DECIDED_PAIRS: Final = pairs_of(DECIDED)


def decided(drawing: Drawing, on: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    take(on.attributes, _DECIDED_PAIRS, body)
    on.attributes[names.OPTIONS] = len(body.get("options", ()))
    if drawing.content:
        if "why" in body:
            on.attributes[names.WHY] = body["why"]
        drawing.said += done(body)


def trained(drawing: Drawing, on: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    take(on.attributes, _TRAINED_PAIRS, body)
    for metric, value in body.get("metrics", {}).items():
        on.attributes[f"{names.METRIC}.{metric}"] = float(value)


TRAINED: Final = {
    "model": names.MODEL,
    "data": names.DATA,
    "from_position": names.FROM_POSITION,
    "to_position": names.TO_POSITION,
}
_TRAINED_PAIRS: Final = pairs_of(TRAINED)


def erased(drawing: Drawing, on: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    on.attributes[names.KEYS] = len(body.get("keys", ()))


def closed_cycle(drawing: Drawing, on: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    take(on.attributes, _CLOSED_CYCLE_PAIRS, body)
    if usage := body.get("usage"):
        take(on.attributes, _USAGE_PAIRS, usage)


CLOSED_CYCLE: Final = {"state_hash": names.STATE_HASH, "reducer": names.REDUCER}
_CLOSED_CYCLE_PAIRS: Final = pairs_of(CLOSED_CYCLE)
USAGE: Final = {
    "input_tokens": names.INPUT_TOKENS,
    "output_tokens": names.OUTPUT_TOKENS,
    "model_calls": names.MODEL_CALLS,
    "cost_usd": names.COST,
}
_USAGE_PAIRS: Final = pairs_of(USAGE)


def closed(drawing: Drawing, on: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    take(on.attributes, _CLOSED_PAIRS, body)
    if body.get("reason") == "failed":
        on.attributes[names.ERROR_TYPE] = "failed"
        on.error = drawing.words(event, "the session failed", body.get("error"))


CLOSED: Final = {"reason": names.REASON, "cycles": names.CYCLES}
_CLOSED_PAIRS: Final = pairs_of(CLOSED)


def nothing(drawing: Drawing, on: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    """It is where its trace begins, so its attributes are there already."""
