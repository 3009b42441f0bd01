"""What was said, as the conventions' messages: JSON of roles and parts.

Knows the shapes of the conventions' JSON schemas; decides nothing of what may leave. Invariant: messages stand in the
order in which they were said, and follow the schemas of `names.SCHEMAS_COMMIT`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeAlias

import orjson

from telemetry.errors import InvalidEvent
from telemetry.events import Recorded
from telemetry.events.envelope import split_id
from telemetry.otel.spans.about import Body, body_of
from telemetry.otel.spans.references import GONE, History

Message: TypeAlias = dict[str, Any]
Part: TypeAlias = dict[str, Any]

MOST_REMEMBERED: Final = 4_096
"""Events whose messages are not read from the log again: a prompt repeats those of the one before."""


class Messages:
    """The messages of events by their ids."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._found: dict[str, list[Message]] = {}

    def of(self, event_ids: Iterable[str]) -> list[Message]:
        """Of those that can still be read."""
        return [message for event_id in event_ids for message in self._of(event_id)]

    def _of(self, event_id: str) -> list[Message]:
        found = self._found.get(event_id)
        if found is None:
            found = list(self._read(event_id))
            if len(self._found) >= MOST_REMEMBERED:
                del self._found[next(iter(self._found))]
            self._found[event_id] = found
        return found

    def _read(self, event_id: str) -> Iterator[Message]:
        try:
            stream, version = split_id(event_id)
            for event in self._history.read(stream, after=version - 1, to=version):
                yield from said(event, body_of(event) or {})
        except (InvalidEvent, *GONE):
            return


def said(event: Recorded, body: Body) -> Iterator[Message]:
    """What the event says to a model, or what a model was taken at its word with."""
    match event.type:
        case "sense.observed":
            yield from heard(body)
        case "reason.decided":
            yield from done(body)
        case "execute.succeeded" if isinstance(result := body.get("result"), dict):
            response = result.get("error") or result.get("content")
            yield _message("tool", [tool_response(result.get("call"), response)])
        case "execute.failed":
            yield _message("tool", [tool_response(None, body.get("error"))])
        case "execute.unknown":
            yield _message("tool", [tool_response(None, body.get("why"))])


def heard(body: Body) -> Iterator[Message]:
    """What people said, of `sense.observed`."""
    for observation in body.get("observations", ()):
        if observation["kind"] == "message":
            yield _message(observation["role"], [_part(part) for part in observation["parts"]])
        elif observation["kind"] == "feedback" and observation.get("text"):
            yield _message("user", [text(observation["text"])])


def done(body: Body) -> Iterator[Message]:
    """What the agent said or asked for, of `reason.decided`."""
    action = body.get("action", {})
    match action.get("kind"):
        case "tool_calls":
            yield _message("assistant", [tool_call(call) for call in action["calls"]])
        case "say":
            yield _message("assistant", [text(action["text"])])
        case "ask_human":
            yield _message("assistant", [text(action["question"])])


def answer(body: Body) -> Message:
    """What a model answered, of `reason.answered`."""
    parts = [text(body["text"])] if body.get("text") else []
    parts += [tool_call(call) for call in body.get("calls", ())]
    return {**_message("assistant", parts), "finish_reason": body.get("finish", "")}


def text(content: str) -> Part:
    return {"type": "text", "content": content}


def tool_call(call: Body) -> Part:
    return {"type": "tool_call", "id": call["id"], "name": call["tool"], "arguments": call.get("arguments", {})}


def tool_response(call: str | None, response: object) -> Part:
    return {"type": "tool_call_response", "id": call, "response": response}


def _part(part: Body) -> Part:
    if part["kind"] == "text":
        return text(part["text"])
    kind = part["media_type"].partition("/")[0]
    modality = kind if kind in ("image", "video", "audio") else "document"
    return {"type": "file", "mime_type": part["media_type"], "modality": modality, "file_id": part["digest"]}


def _message(role: str, parts: list[Part]) -> Message:
    return {"role": role, "parts": parts}


def as_json(value: object) -> str:
    """A span's attribute holds no structure, so it goes as JSON."""
    return orjson.dumps(value).decode()
