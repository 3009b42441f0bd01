"""Tool calls as a model wrote them, made into ToolCalls.

Knows tools' names and what JSON an event can hold; knows no endpoint. Whether the arguments fit the tool's schema is
the tool's to say. Invariant: every call that was written becomes a ToolCall with an id of its own; one that cannot be
made says why in `invalid` and holds no arguments."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable
from typing import NamedTuple

from pydantic import JsonValue

from loops.reasoners.language.tags import Tag
from loops.spaces import ToolActions
from telemetry.errors import InvalidEvent
from telemetry.events.values import ToolCall, canonical_json

DEEPEST = 64
"""Levels of nesting that arguments may have: canonical JSON ends at 254, and events nest them further."""

LONGEST_ID = 40
"""Characters of a call's id: OpenAI's API refuses a longer one when it is sent back."""

LONGEST_NAME = 64
"""Characters of a tool's name that are kept: no endpoint takes longer ones, so no tool has one."""

_TOO_DEEP = f"its arguments nest deeper than {DEEPEST} levels"


class Written(NamedTuple):
    """A native tool call as it came over the wire."""

    id: str
    name: str
    arguments: str
    """JSON, as far as the model wrote some."""


def calls_of(
    written: Iterable[Written | Tag], tools: ToolActions, *, place: str, taken: set[str]
) -> tuple[ToolCall, ...]:
    """The calls in their order. Ids that are missing, too long or `taken` are made from `place`; all are added to
    `taken`."""
    calls = []
    for ordinal, one in enumerate(written):
        tool, arguments, invalid = one if isinstance(one, Tag) else _native(one, tools)
        problem = _unknown(tool, tools) or invalid or _unfit(arguments)
        given = "" if isinstance(one, Tag) or len(one.id) > LONGEST_ID else one.id
        call_id = given if given and given not in taken else _id(f"{place}/{ordinal}", taken)
        taken.add(call_id)
        arguments = {} if problem else arguments
        calls.append(ToolCall(id=call_id, tool=tool[:LONGEST_NAME], arguments=arguments, invalid=problem))
    return tuple(calls)


def _native(written: Written, tools: ToolActions) -> tuple[str, dict[str, JsonValue], str | None]:
    if not written.arguments.strip():
        return written.name, {}, None
    try:
        arguments = json.loads(written.arguments, parse_constant=_no_constant)
    except RecursionError:
        return written.name, {}, _TOO_DEEP
    except ValueError as error:
        return written.name, {}, f"its arguments are no JSON ({error})" + _excerpt(written, tools)
    if not isinstance(arguments, dict):
        return written.name, {}, "its arguments must be a JSON object" + _excerpt(written, tools)
    return written.name, arguments, None


def _no_constant(name: str) -> JsonValue:
    raise ValueError(f"{name} is no JSON value")


def _unknown(name: str, tools: ToolActions) -> str | None:
    if tools.tool(name) is not None:
        return None
    names = [tool.name for tool in tools.tools]
    near = difflib.get_close_matches(name, names, n=1)
    there_are = f"there are: {', '.join(names)}" if names else "there are none"
    return f"there is no tool {name[:80]!r}; " + (f"did you mean {near[0]}?" if near else there_are)


def _unfit(arguments: dict[str, JsonValue]) -> str | None:
    """Why an event cannot hold the arguments, in words."""
    if _deeper(arguments, DEEPEST):
        return _TOO_DEEP
    try:
        whole = json.loads(canonical_json(arguments)) == arguments
    except InvalidEvent as error:
        return f"its arguments cannot be stored: {error}"
    return None if whole else "its arguments hold a number that JSON cannot: infinite or not a number"


def _deeper(value: JsonValue, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_deeper(one, levels - 1) for one in inner)


def _id(place: str, taken: set[str]) -> str:
    """Nine hexadecimal digits, which every endpoint takes: Mistral's allows exactly nine letters and digits."""
    attempt = 0
    while True:
        made = hashlib.sha256(f"{place}/{attempt}".encode()).hexdigest()[:9]
        if made not in taken:
            return made
        attempt += 1


def _excerpt(written: Written, tools: ToolActions) -> str:
    """What was written instead, unless a secret may stand in it."""
    tool = tools.tool(written.name)
    if tool is None or tool.secret:
        return ""
    text = written.arguments
    return f": {text if len(text) <= 200 else text[:200] + ' …'}"
