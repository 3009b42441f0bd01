"""Leaf spans of execute: an effect from its intent to its honest outcome, and a person's leave."""

from __future__ import annotations

from telemetry.events import Recorded
from telemetry.otel import names
from telemetry.otel.span import Attribute, SpanEvent
from telemetry.otel.spans.about import Body
from telemetry.otel.spans.draft import Draft
from telemetry.otel.spans.drawing import Drawing
from telemetry.otel.spans.fields import pairs_of, take
from telemetry.otel.spans.messages import as_json

INTENDED = {
    "effect": names.EFFECT,
    "effect_class": names.EFFECT_CLASS,
    "arguments": names.ARGUMENTS,
    "proposal": names.PROPOSAL,
    "ordinal": names.EFFECT_ORDINAL,
    "action.kind": names.ACTION,
}
_INTENDED = pairs_of(INTENDED)


def intended(drawing: Drawing, phase: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    action = body.get("action", {})
    effect = drawing.leaf(phase, event, _name(drawing, action), end, end)
    take(effect.attributes, _INTENDED, body)
    if calls := action.get("calls"):
        _tool(drawing, effect.attributes, calls[0])
    drawing.effects[body.get("effect", event.id)] = effect


def _name(drawing: Drawing, action: Body) -> str:
    match action.get("kind"):
        case "tool_calls":
            return f"{names.EXECUTE_TOOL} {action['calls'][0]['tool']}"
        case "say":
            return names.SAY
        case "ask_human":
            return names.ASK_HUMAN
    return f"{names.ACT} {drawing.about.environment}".rstrip()


def _tool(drawing: Drawing, attributes: dict[str, Attribute], call: Body) -> None:
    attributes[names.OPERATION] = names.EXECUTE_TOOL
    attributes[names.TOOL_NAME] = call["tool"]
    attributes[names.TOOL_TYPE] = "function"
    attributes[names.TOOL_CALL_ID] = call["id"]
    if drawing.content:
        attributes[names.TOOL_CALL_ARGUMENTS] = as_json(call.get("arguments", {}))


def dispatched(drawing: Drawing, phase: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    effect = drawing.effects.get(body.get("effect", ""))
    if effect is not None:
        before = effect.attributes.get(names.ATTEMPTS, 0)
        assert isinstance(before, int)
        effect.attributes[names.ATTEMPTS] = before + 1


SUCCEEDED = {
    "observed": names.OBSERVED,
    "success": names.SUCCESS,
    "terminated": names.TERMINATED,
    "truncated": names.TRUNCATED,
}
_SUCCEEDED = pairs_of(SUCCEEDED)


def succeeded(drawing: Drawing, phase: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    effect = _ended(drawing, phase, event, body, end, "succeeded")
    take(effect.attributes, _SUCCEEDED, body)
    if isinstance(result := body.get("result"), dict):
        if (error := result.get("error")) is not None:
            effect.attributes[names.ERROR_TYPE] = "raised"
            effect.error = drawing.words(event, "the tool answered with an error", error)
        elif drawing.content:
            effect.attributes[names.TOOL_CALL_RESULT] = as_json(result.get("content"))


def failed(drawing: Drawing, phase: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    effect = _ended(drawing, phase, event, body, end, "failed")
    kind = body.get("kind", "_OTHER")
    effect.attributes[names.ERROR_TYPE] = kind
    effect.error = drawing.words(event, kind, body.get("error"))


def unknown(drawing: Drawing, phase: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    effect = _ended(drawing, phase, event, body, end, "unknown")
    effect.attributes[names.ERROR_TYPE] = "unknown"
    effect.error = drawing.words(event, "whether it happened is unknown", body.get("why"))


def _ended(drawing: Drawing, phase: Draft, event: Recorded, body: Body, end: int, outcome: str) -> Draft:
    """The effect, ended. What was attempted once began when its outcome says; what was settled after a crash, or was
    not measured, when it was intended. Where its intent is not in the cycle, a span of what is known."""
    effect = drawing.effects.get(body.get("effect", ""))
    if effect is None:
        effect = drawing.leaf(phase, event, f"{names.ACT} {drawing.about.environment}".rstrip(), end, end)
        take(effect.attributes, _INTENDED[:1], body)
    elif event.elapsed_ns and effect.attributes.get(names.ATTEMPTS, 1) == 1:
        effect.start = max(effect.start, end - event.elapsed_ns)
    effect.end = max(effect.end, end)
    effect.attributes[names.OUTCOME] = outcome
    effect.attributes[names.OUTCOME_EVENT] = event.id
    drawing.effect = effect
    return effect


ASKED = {"effect": names.EFFECT, "arguments": names.ARGUMENTS, "action.kind": names.ACTION}
_ASKED = pairs_of(ASKED)


def approval_asked(drawing: Drawing, phase: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    approval = drawing.leaf(phase, event, names.APPROVAL, start, end)
    take(approval.attributes, _ASKED, body)
    if drawing.content and body.get("why"):
        approval.attributes[names.WHY] = body["why"]
    drawing.approval = approval


def approval_given(drawing: Drawing, phase: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    approval = drawing.approval
    if approval is None:
        approval = drawing.leaf(phase, event, names.APPROVAL, start, end)
        take(approval.attributes, _ASKED, body)
    approval.end = max(approval.end, end)
    approval.attributes[names.OUTCOME_EVENT] = event.id
    if (granted := body.get("granted")) is not None:
        approval.attributes[names.GRANTED] = granted


def cancelled(drawing: Drawing, phase: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    """Nothing was dispatched: where it was not even intended, an event on the phase says so."""
    effect = drawing.effects.get(body.get("effect", ""))
    if effect is not None:
        effect.end = max(effect.end, end)
        effect.attributes[names.OUTCOME] = "cancelled"
        effect.attributes[names.OUTCOME_EVENT] = event.id
        return
    attributes: dict[str, Attribute] = {names.EVENT: event.id, names.OUTCOME: "cancelled"}
    take(attributes, _INTENDED[:1], body)
    if drawing.content and body.get("why"):
        attributes[names.WHY] = body["why"]
    phase.events.append(SpanEvent(event.type, end, attributes))
