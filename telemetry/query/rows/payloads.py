"""Payloads as plain values: read once, without the vocabulary's classes, which would take most of the time.

Knows the stored JSON of the vocabulary; knows no row. Invariant: what is left out in it is the class' default."""

from __future__ import annotations

from base64 import b64decode
from typing import Any, Final, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from telemetry.events.envelope import Recorded
from telemetry.events.registry import CLASSES
from telemetry.events.upcast import upcast

Payload: TypeAlias = dict[str, Any]
Numbers: TypeAlias = NDArray[Any]

_LITTLE: Final = {
    name: np.dtype(name).newbyteorder("<")
    for name in ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")
}
"""How arrays are recorded, by the names of their dtypes."""

_SCHEMAS: Final = {name: kind.SCHEMA for name, kind in CLASSES.items()}


def body_of(event: Recorded) -> bytes | None:
    """The payload as JSON; None where it is missing or cannot be read as it is stored."""
    return event.payload if event.encoding == "plain" else event.content


def payload_of(event: Recorded, body: bytes) -> Payload | None:
    """In the shape of today's schema; None of a type or schema that this version does not know."""
    schema = _SCHEMAS.get(event.type)
    if schema is None or event.schema > schema:
        return None
    payload: Payload = orjson.loads(body)
    return payload if event.schema == schema else upcast(event.type, event.schema, payload, to=schema)


def json_of(value: object) -> str:
    """Canonical JSON."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def json_or_none(value: object) -> str | None:
    return None if value is None else json_of(value)


def numbers(array: Payload) -> Numbers:
    """The numbers of a recorded array, flat."""
    return np.frombuffer(b64decode(array["data"]), dtype=_LITTLE[array["dtype"]])


def nested(array: Payload) -> object:
    """The same as lists in lists."""
    return numbers(array).reshape(array.get("shape", ())).tolist()


def plain_action(action: Payload) -> Payload:
    """An action with its arrays as lists of numbers."""
    to = action.get("to")
    return {**action, "to": nested(to)} if isinstance(to, dict) else action


def words(observation: Payload) -> str:
    """What an observation says in words; '' where it says nothing."""
    if observation["kind"] == "message":
        return "\n".join(part["text"] for part in observation["parts"] if part["kind"] == "text")
    return str(observation.get("text", "")) if observation["kind"] != "tool_result" else ""


def functions(calls: list[Payload]) -> str:
    """Calls in the form that chat templates take."""
    return json_of(
        [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["tool"], "arguments": _arguments(call.get("arguments", {}))},
            }
            for call in calls
        ]
    )


def _arguments(arguments: object) -> str:
    """As JSON; those that were not a JSON object stand as the model wrote them."""
    return arguments if isinstance(arguments, str) else json_of(arguments)


def tools(spaces: Payload) -> str | None:
    """The tools of a session in the form that chat templates take; None where it has none."""
    action = spaces.get("action") or {}
    if action.get("kind") != "tools":
        return None
    return json_of(
        [
            {
                "type": "function",
                "function": {
                    "name": tool["name"],
                    "description": tool.get("description", ""),
                    "parameters": tool["parameters"],
                },
            }
            for tool in action["tools"]
        ]
    )
