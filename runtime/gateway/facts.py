"""What was sent and answered, as the values and events of the vocabulary.

Knows both languages; keeps nothing. Invariant: what a message holds is on the log, its files by their digest; what
stands beside the conversation in the request's headers is not even seen here."""

from __future__ import annotations

import binascii
import hashlib
import math
import platform
from base64 import b64decode
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import version
from typing import Literal

import orjson
from pydantic import JsonValue

from loops.effects import effect_key
from loops.spaces import Spaces, ToolActions, ToolSpec
from runtime import __version__
from runtime.gateway.answer import Reply, Said
from runtime.gateway.wire import Call, Message, Request, normal_arguments
from runtime.sessions import OBSERVED
from telemetry.events import execute, reason, session, values
from telemetry.events.values import (
    Action,
    Digest,
    FilePart,
    Observation,
    Part,
    Say,
    TextPart,
    ToolCall,
    ToolCalls,
    ToolResult,
    canonical_json,
    digest_of,
)

SCENARIO = "gateway"

PutBlob = Callable[[bytes], Digest]

Role = Literal["system", "user", "assistant", "tool"]
ROLES: dict[str | None, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
"""Roles of the protocol by the vocabulary's names."""

UNKNOWN_TIMEOUT_S = 0.0
"""A tool's time-out is the agent's affair and is not told."""


def opening(request: Request, *, upstream: str) -> session.Opened:
    """The first event of an observed session; its tools are those of its first request."""
    text = f"[gateway]\nupstream = {orjson.dumps(upstream).decode()}\n"
    return session.Opened(
        scenario=SCENARIO,
        scenario_text=text,
        scenario_digest=hashlib.sha256(text.encode()).hexdigest(),
        seed=0,
        environment=OBSERVED,
        spaces=Spaces(observation=(), action=ToolActions(tools=_tools(request))).describe(),
        versions=_versions(),
    )


@cache
def _versions() -> dict[str, str]:
    return {"aetherloop": __version__, "python": platform.python_version(), "aiohttp": version("aiohttp")}


def _tools(request: Request) -> tuple[ToolSpec, ...]:
    return tuple(_tool(tool) for tool in request.tools if isinstance(tool, dict))


def _tool(tool: dict[str, JsonValue]) -> ToolSpec:
    kind = str(tool.get("type", "function"))
    told = tool.get(kind)
    body = told if isinstance(told, dict) else tool
    parameters = body.get("parameters")
    return ToolSpec(
        name=str(body.get("name", kind)),
        description=str(body.get("description") or ""),
        parameters=parameters if isinstance(parameters, dict) else {},
        effect_class="unsafe",
        timeout_s=UNKNOWN_TIMEOUT_S,
    )


def observations(messages: Sequence[Message], put_blob: PutBlob) -> tuple[Observation, ...]:
    """The messages as they are perceived; a tool's among them answers a call that is not of this session."""
    return tuple(_observation(message, put_blob) for message in messages)


def _observation(message: Message, put_blob: PutBlob) -> Observation:
    role = ROLES.get(message.role, "user")
    if role == "tool":
        return result(message, message.name or "", put_blob)
    called: list[JsonValue] = [
        {"id": c.id, "tool": c.function.name, "arguments": c.function.text} for c in message.calls
    ]
    calls = (TextPart(text=canonical_json({"tool_calls": called})),) if called else ()
    return values.Message(role=role, parts=(*_parts(message, put_blob), *calls))


def result(message: Message, tool: str, put_blob: PutBlob) -> ToolResult:
    """What a tool answered, as the agent told the model."""
    content: JsonValue = message.plain
    if content is None:
        content = [part.model_dump(mode="json") for part in _parts(message, put_blob)]
    return ToolResult(call=message.tool_call_id or "", tool=tool, content=content)


def _parts(message: Message, put_blob: PutBlob) -> tuple[Part, ...]:
    if message.plain is not None:
        return (TextPart(text=message.plain),) if message.plain else ()
    parts = message.content if isinstance(message.content, list) else [message.content]
    return tuple(_part(part, put_blob) for part in parts)


def _part(part: JsonValue, put_blob: PutBlob) -> Part:
    """A text as it is, a file by the digest of its bytes, anything else as canonical JSON."""
    if isinstance(part, dict):
        if isinstance(text := part.get("text"), str):
            return TextPart(text=text)
        kind = str(part.get("type", ""))
        body = part.get(kind)
        if isinstance(body, dict) and (found := _file(kind, body)) is not None:
            name, media_type, content = found
            return FilePart(name=name, media_type=media_type, digest=put_blob(content))
    return TextPart(text=part if isinstance(part, str) else canonical_json(part))


def _file(kind: str, body: dict[str, JsonValue]) -> tuple[str, str, bytes] | None:
    """Name, media type and bytes of a picture, sound or file that stands in the message; None for a mere reference."""
    sent = body.get("url") or body.get("file_data") or body.get("data")
    if not isinstance(sent, str):
        return None
    media_type = f"audio/{body.get('format', '*')}" if kind == "input_audio" else "application/octet-stream"
    if sent.startswith("data:"):
        head, _, sent = sent.partition(",")
        media_type = head.removeprefix("data:").partition(";")[0] or media_type
    elif "url" in body:
        return None
    try:
        return str(body.get("filename", kind)), media_type, b64decode(sent, validate=True)
    except binascii.Error:
        return None


def answered(reply: Reply) -> tuple[reason.Answered, ...]:
    """One event a choice."""
    return tuple(
        reason.Answered(
            choice=said.index,
            model=reply.model,
            text=said.message.plain or "",
            calls=_calls(said),
            finish=said.finish,
            usage=reply.usage if place == 0 else values.Usage(),
            tokens=said.tokens,
            logprobs=said.logprobs if all(map(math.isfinite, said.logprobs or ())) else None,
        )
        for place, said in enumerate(reply.choices)
    )


def _calls(said: Said) -> tuple[ToolCall, ...]:
    return tuple(_call(call) for call in said.message.calls)


def _call(call: Call) -> ToolCall:
    name = call.function.name or ""
    text = normal_arguments(call.function.text)
    try:
        arguments = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return ToolCall(id=call.id or "", tool=name, invalid=f"its arguments are no JSON ({error}): {text}")
    if not isinstance(arguments, dict):
        return ToolCall(id=call.id or "", tool=name, invalid=f"its arguments are no JSON object: {text}")
    return ToolCall(id=call.id or "", tool=name, arguments=arguments)


def proposed(answers: Sequence[reason.Answered], reply: Reply) -> tuple[reason.Proposed, ...]:
    """One proposal for each answer that says or calls something, numbered in their order."""
    spoken = [(a, said) for a, said in zip(answers, reply.choices, strict=True) if a.text or a.calls]
    return tuple(
        _proposal(number, ToolCalls(calls=answer.calls) if answer.calls else Say(text=answer.text), said)
        for number, (answer, said) in enumerate(spoken)
    )


def _proposal(number: int, action: Action, said: Said) -> reason.Proposed:
    return reason.Proposed(
        proposal=number, action=action, arguments=digest_of(action), why=said.message.reasoning_content or ""
    )


def intents(decided: reason.Decided, *, stream: str, cycle: int) -> tuple[execute.Intended, ...]:
    """One intent a call: the agent makes them, and nothing is known here of what it takes to repeat one."""
    if not isinstance(decided.action, ToolCalls):
        return ()
    return tuple(
        _intent(ToolCalls(calls=(call,)), decided.proposal, ordinal, stream=stream, cycle=cycle)
        for ordinal, call in enumerate(decided.action.calls)
    )


def _intent(action: ToolCalls, proposal: int | None, ordinal: int, *, stream: str, cycle: int) -> execute.Intended:
    arguments = digest_of(action)
    return execute.Intended(
        effect=effect_key(stream=stream, cycle=cycle, proposal=proposal, ordinal=ordinal, arguments=arguments),
        action=action,
        arguments=arguments,
        effect_class="unsafe",
        proposal=proposal,
        ordinal=ordinal,
    )
