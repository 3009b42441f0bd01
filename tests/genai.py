"""What OpenTelemetry's conventions for generative AI ask of spans, as facts that tests go by.

Restated from model/gen-ai/registry.yaml and spans.yaml of `names.CONVENTION` at `names.CONVENTION_COMMIT`, and from its
JSON schemas of messages, documents and memories at `names.SCHEMAS_COMMIT`; only what our spans use."""

from __future__ import annotations

from typing import Any, Final, NamedTuple


class Operation(NamedTuple):
    """A span's name is its operation's, followed by the value of `named_by` where it has one."""

    required: tuple[str, ...]
    named_by: str | None
    kinds: tuple[str, ...]


OPERATIONS: Final = {
    "invoke_agent": Operation(("gen_ai.provider.name",), "gen_ai.agent.name", ("client", "internal")),
    "chat": Operation(("gen_ai.provider.name",), "gen_ai.request.model", ("client", "internal")),
    "execute_tool": Operation(("gen_ai.tool.name",), "gen_ai.tool.name", ("internal",)),
    "plan": Operation((), "gen_ai.agent.name", ("internal",)),
    "search_memory": Operation((), None, ("client", "internal")),
    "upsert_memory": Operation((), None, ("client", "internal")),
    "delete_memory": Operation((), None, ("client", "internal")),
}

TYPES: Final[dict[str, type]] = {
    "gen_ai.operation.name": str,
    "gen_ai.provider.name": str,
    "gen_ai.conversation.id": str,
    "gen_ai.agent.name": str,
    "gen_ai.agent.version": str,
    "gen_ai.request.model": str,
    "gen_ai.request.seed": int,
    "gen_ai.request.temperature": float,
    "gen_ai.request.top_p": float,
    "gen_ai.request.max_tokens": int,
    "gen_ai.request.frequency_penalty": float,
    "gen_ai.request.presence_penalty": float,
    "gen_ai.request.choice.count": int,
    "gen_ai.request.stream": bool,
    "gen_ai.response.model": str,
    "gen_ai.response.finish_reasons": list,
    "gen_ai.usage.input_tokens": int,
    "gen_ai.usage.output_tokens": int,
    "gen_ai.input.messages": str,
    "gen_ai.output.messages": str,
    "gen_ai.tool.name": str,
    "gen_ai.tool.type": str,
    "gen_ai.tool.call.id": str,
    "gen_ai.tool.call.arguments": str,
    "gen_ai.tool.call.result": str,
    "gen_ai.memory.record.id": str,
    "gen_ai.memory.record.count": int,
    "gen_ai.memory.records": str,
    "gen_ai.evaluation.name": str,
    "gen_ai.evaluation.score.value": float,
    "gen_ai.evaluation.score.label": str,
    "gen_ai.evaluation.explanation": str,
    "error.type": str,
    "server.address": str,
    "server.port": int,
    "http.response.status_code": int,
}
"""What is structured goes on a span as a JSON string, which the conventions allow."""

TEXTUAL: Final = {"type": "string"}
MAYBE: Final = {"type": ["string", "null"]}


def _part(kind: str, required: tuple[str, ...], **properties: Any) -> dict[str, Any]:  # noqa: ANN401  a JSON schema
    return {
        "if": {"properties": {"type": {"const": kind}}},
        "then": {"properties": properties, "required": ["type", *required]},
    }


PARTS: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["type"],
    "properties": {"type": {"enum": ["text", "tool_call", "tool_call_response", "file"]}},
    "allOf": [
        _part("text", ("content",), content=TEXTUAL),
        _part("tool_call", ("name",), name=TEXTUAL, id=MAYBE, arguments={}),
        _part("tool_call_response", ("response",), id=MAYBE, response={}),
        _part("file", ("modality", "file_id"), modality=TEXTUAL, file_id=TEXTUAL, mime_type=MAYBE),
    ],
}
"""The parts that we write. The schemas' own fall back to any object with a type, so they would refuse nothing."""

_MESSAGE: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["role", "parts"],
    "properties": {
        "role": {"enum": ["system", "user", "assistant", "tool"]},
        "parts": {"type": "array", "items": PARTS},
        "name": MAYBE,
    },
}

SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "gen_ai.input.messages": {"type": "array", "items": _MESSAGE},
    "gen_ai.output.messages": {
        "type": "array",
        "items": {**_MESSAGE, "properties": {**_MESSAGE["properties"], "finish_reason": MAYBE}},
    },
    "gen_ai.memory.records": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["content"],
            "properties": {"id": TEXTUAL, "score": {"type": "number"}, "metadata": {"type": "object"}},
        },
    },
    "gen_ai.tool.call.arguments": {"type": "object"},
}
