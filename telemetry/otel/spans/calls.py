"""Leaf spans of sense, reason and learn: calls of models, plans, and what is done to a memory."""

from __future__ import annotations

from telemetry.events import Recorded
from telemetry.otel import names
from telemetry.otel.span import Attribute
from telemetry.otel.spans.about import Body
from telemetry.otel.spans.draft import Draft
from telemetry.otel.spans.drawing import Drawing
from telemetry.otel.spans.fields import LARGEST, pairs_of, take
from telemetry.otel.spans.messages import answer, as_json

REQUESTED = {
    "model": names.REQUEST_MODEL,
    "seed": names.REQUEST_SEED,
    "endpoint": names.ENDPOINT,
    "specialist": names.SPECIALIST,
    "prompt": names.PROMPT,
}
_REQUESTED = pairs_of(REQUESTED)


def requested(drawing: Drawing, phase: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    chat = drawing.leaf(phase, event, f"{names.CHAT} {body.get('model', '')}".rstrip(), end, end, "client")
    attributes = chat.attributes
    attributes[names.OPERATION] = names.CHAT
    attributes[names.PROVIDER] = names.OPENAI
    attributes[names.CONVERSATION] = drawing.conversation
    take(attributes, _REQUESTED, body)
    context = body.get("context", ())
    attributes[names.CONTEXT] = len(context)
    if parameters := body.get("parameters"):
        _parameters(attributes, parameters)
    if drawing.content and (said := drawing.messages.of(context)):
        attributes[names.INPUT_MESSAGES] = as_json(said)
    drawing.calls[body.get("call", 0)] = chat


def _parameters(attributes: dict[str, Attribute], parameters: Body) -> None:
    for parameter, value in parameters.items():
        name = names.REQUEST_PARAMETERS.get(parameter)
        if name is not None and isinstance(value, int | float):
            attributes[name] = float(value) if name in names.DOUBLES else value
    host, _, port = str(parameters.get("host", "")).rpartition(":")
    if host and port.isdigit():
        attributes[names.SERVER_ADDRESS] = host
        attributes[names.SERVER_PORT] = int(port)
    elif port:
        attributes[names.SERVER_ADDRESS] = port


def answered(drawing: Drawing, phase: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    chat = _ended(drawing, phase, event, body, start, end)
    attributes = chat.attributes
    attributes[names.RESPONSE_MODEL] = body.get("model", "")
    attributes[names.CALLS] = _count(attributes, names.CALLS) + len(body.get("calls", ()))
    reasons = attributes.get(names.FINISH_REASONS, [])
    assert isinstance(reasons, list)
    attributes[names.FINISH_REASONS] = [*reasons, body.get("finish", "")]
    if drawing.content:
        drawing.answers.setdefault(chat.id, []).append(answer(body))
        attributes[names.OUTPUT_MESSAGES] = as_json(drawing.answers[chat.id])


def unanswered(drawing: Drawing, phase: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    chat = _ended(drawing, phase, event, body, start, end)
    kind = body.get("kind", "_OTHER")
    chat.attributes[names.ERROR_TYPE] = kind
    chat.attributes[names.ATTEMPTS] = body.get("attempts", 1)
    if (status := body.get("status")) is not None:
        chat.attributes[names.HTTP_STATUS] = status
    chat.error = drawing.words(event, kind, body.get("error"))


def _ended(drawing: Drawing, phase: Draft, event: Recorded, body: Body, start: int, end: int) -> Draft:
    """The call that this answers, ended; where its beginning is not in the cycle, a span of what is known."""
    chat = drawing.calls.get(body.get("call", 0))
    if chat is None:
        requested(drawing, phase, event, {name: body[name] for name in ("call", "model") if name in body}, start, start)
        chat = drawing.calls[body.get("call", 0)]
    if start < end:  # else nobody measured it, and it began when it was asked for
        chat.start = max(chat.start, start)
    chat.end = max(chat.end, end)
    attributes = chat.attributes
    attributes[names.OUTCOME_EVENT] = event.id
    if usage := body.get("usage"):
        for field, name in (("input_tokens", names.INPUT_TOKENS), ("output_tokens", names.OUTPUT_TOKENS)):
            attributes[name] = min(_count(attributes, name) + usage.get(field, 0), LARGEST)
        if "cost_usd" in usage:
            before = attributes.get(names.COST, 0.0)
            assert isinstance(before, float)
            attributes[names.COST] = before + usage["cost_usd"]
    return chat


def _count(attributes: dict[str, Attribute], name: str) -> int:
    value = attributes.get(name, 0)
    assert isinstance(value, int)
    return value


PLANNED = {"model": names.PLAN_MODEL, "belief": names.PLAN_BELIEF}
_PLANNED = pairs_of(PLANNED)


def planned(drawing: Drawing, phase: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    agent = drawing.about.scenario
    plan = drawing.leaf(phase, event, f"{names.PLAN} {agent}".rstrip(), start, end)
    plan.attributes[names.OPERATION] = names.PLAN
    if agent:
        plan.attributes[names.AGENT_NAME] = agent
    take(plan.attributes, _PLANNED, body)
    if options := body.get("options"):
        plan.attributes[names.PLAN_OPTIONS] = len(options)
        plan.attributes[names.PLAN_ENERGY] = float(options[0]["energy"])


RECALLED = {"embedder": names.EMBEDDER, "query": names.RECALL_QUERY, "k": names.RECALL_K}
_RECALLED = pairs_of(RECALLED)


def recalled(drawing: Drawing, phase: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    search = drawing.leaf(phase, event, names.SEARCH_MEMORY, start, end)
    attributes = search.attributes
    attributes[names.OPERATION] = names.SEARCH_MEMORY
    take(attributes, _RECALLED, body)
    hits = body.get("hits", ())
    attributes[names.MEMORY_COUNT] = len(hits)
    if not hits:
        return
    attributes[names.RECALL_HITS] = [hit["event"] for hit in hits]
    attributes[names.RECALL_SCORES] = [float(hit["score"]) for hit in hits]
    for hit in hits:
        drawing.link(search, hit["event"], "recalled")
    if drawing.content:
        records = [{"id": hit["event"], "score": hit["score"], "content": hit.get("text", "")} for hit in hits]
        attributes[names.MEMORY_RECORDS] = as_json(records)


def remembered(drawing: Drawing, phase: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    upsert = drawing.leaf(phase, event, names.UPSERT_MEMORY, start, end)
    attributes = upsert.attributes
    attributes[names.OPERATION] = names.UPSERT_MEMORY
    attributes[names.MEMORY_RECORD] = event.id
    attributes[names.MEMORY_COUNT] = 1
    episode = body.get("episode")
    if episode is None:
        return
    attributes[names.EMBEDDER] = body["embedder"]
    attributes[names.REMEMBERED] = episode["why"]
    if drawing.content:
        attributes[names.MEMORY_RECORDS] = as_json([{"id": event.id, "content": episode.get("text", "")}])


def forgotten(drawing: Drawing, phase: Draft, event: Recorded, body: Body, start: int, end: int) -> None:
    delete = drawing.leaf(phase, event, names.DELETE_MEMORY, start, end)
    attributes = delete.attributes
    attributes[names.OPERATION] = names.DELETE_MEMORY
    if (memory := body.get("memory")) is not None:
        attributes[names.MEMORY_RECORD] = memory
        attributes[names.MEMORY_COUNT] = 1
        drawing.link(delete, memory, "forgotten")
    if drawing.content and body.get("why"):
        attributes[names.WHY] = body["why"]
