"""Rows of conversations: what was heard, said, and answered by tools, as a model would be told of it.

Knows turns; knows no endpoint. Invariant: in the order of `turn` and `place` every call of an assistant is answered
before the next who speaks, as far as its answer has come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson

from telemetry.query.rows.payloads import Payload, functions, json_of, words
from telemetry.query.rows.story import Kept, Telling, id_of

BY: Final = {"system": "system", "user": "person", "assistant": "model", "tool": "tool"}

_TOLD_CALLS: Final = '{"tool_calls":['
"""How the gateway keeps the calls of an assistant's message that stood in a request: as its last part."""


def tell_heard(telling: Telling, observations: Sequence[Payload]) -> None:
    """What people said, or a protocol in their name. A judgement is none of the conversation."""
    for place, one in enumerate(observations):
        if one["kind"] == "tool_result":
            _tool(telling, place, turn=telling.event.version, result=one, call=one["call"], name=one["tool"])
        elif one["kind"] == "message":
            role, text, calls = one["role"], words(one), None
            if role == "assistant":
                text, calls = _asked_for(one, text)
            _message(telling, telling.event.version, place, role, text, calls, by=BY[role])


def _asked_for(message: Payload, text: str) -> tuple[str, str | None]:
    last = message["parts"][-1].get("text", "") if message["parts"] else ""
    if not last.startswith(_TOLD_CALLS):
        return text, None
    return text[: -len(last)].rstrip("\n"), functions(orjson.loads(last)["tool_calls"])


def tell_decided(telling: Telling, payload: Payload) -> None:
    """What is said or called for by a decision."""
    cycle, action, proposal = telling.story.cycle, payload["action"], payload.get("proposal")
    answer = cycle.answers[proposal] if proposal is not None and proposal < len(cycle.answers) else None
    calls = None
    match action["kind"]:
        case "tool_calls":
            calls, text = functions(action["calls"]), "" if answer is None else answer.payload.get("text", "")
        case "say":
            text = action["text"]
        case "ask_human":
            text = action["question"]
        case _:
            return
    by = "model" if answer is not None else "heart" if proposal is None else "reasoner"
    _message(telling, telling.event.version, 0, "assistant", text, calls, by=by, answer=answer)


def tell_outcome(telling: Telling, payload: Payload, intent: Kept) -> None:
    """What came of a call."""
    action = intent.payload["action"]
    if action["kind"] != "tool_calls":
        return
    call, cycle = action["calls"][0], telling.story.cycle
    turn = intent.version if cycle.decided is None else cycle.decided.version
    _tool(
        telling,
        1 + payload.get("ordinal", 0),
        turn=turn,
        result=_told(telling.event.type, payload),
        call=call["id"],
        name=call["tool"],
        intent=intent,
    )


def _told(kind: str, payload: Payload) -> Payload:
    """The outcome of a call as a result, in the words that its agent reads."""
    match kind:
        case "execute.succeeded":
            return payload.get("result") or {}
        case "execute.failed":
            return {"error": payload["error"]}
        case "execute.unknown":
            return {"error": f"whether this happened is unknown: {payload['why']}"}
    return {"error": f"not done: {payload['why']}"}


def _tool(
    telling: Telling, place: int, *, turn: int, result: Payload, call: str, name: str, intent: Kept | None = None
) -> None:
    error, content = result.get("error"), result.get("content")
    said = error if error is not None else content if isinstance(content, str) else json_of(content)
    sources = telling.after(id_of(intent))
    telling.tell(
        "messages", turn, place, "tool", said, None, call, name, "tool", None, None, error is not None, sources=sources
    )


def _message(
    telling: Telling,
    turn: int,
    place: int,
    role: str,
    text: str,
    calls: str | None,
    *,
    by: str,
    answer: Kept | None = None,
) -> None:
    model, said = (None, None) if answer is None else (answer.payload["model"], answer.id)
    sources = telling.after(said)
    content = text if text or calls is None else None
    telling.tell("messages", turn, place, role, content, calls, None, None, by, model, said, None, sources=sources)
