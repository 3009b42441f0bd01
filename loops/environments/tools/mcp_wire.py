"""What an MCP server says, in our words: its tool list as specs, its results as JSON.

Knows the protocol's types; knows no connection. Invariant: nothing that does not fit is left out or guessed at."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping

from mcp import Client
from mcp_types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
)
from mcp_types import Tool as Listed
from pydantic import JsonValue, ValidationError

from loops.environments.tools.settings import McpServer
from loops.errors import ScenarioInvalid, ToolFailed
from loops.spaces import ToolSpec

MAX_PAGES = 100
"""Pages of a tool list that are followed: as many as the client itself follows."""

START_S = 20.0
"""Seconds a server has to start and to list its tools. The client gives the newest handshake 10 s, then tries the
older one."""
MAX_NAME = 64
"""What the endpoints of models take as a tool's name: [a-zA-Z0-9_-]{1,64}."""

CLASSES = ("pure", "read", "keyed", "unsafe")
"""A server offers nothing by which one of its calls could be probed, undone or stepped again."""

MAX_ERROR_CHARS = 2_000


async def listed(server: McpServer, client: Client) -> dict[str, ToolSpec]:
    """Every tool of the server, by the server's own name for it. Raises `ScenarioInvalid` for a list that does not fit
    the protocol, our names or the scenario."""
    specs: dict[str, ToolSpec] = {}
    names: dict[str, str] = {}
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        try:
            page = await client.list_tools(cursor=cursor)
        except ValidationError as error:
            raise ScenarioInvalid(f"{title(server)} lists tools that the protocol does not allow: {error}") from None
        for tool in page.tools:
            spec = _spec(server, tool)
            if spec.name in names:
                both = f"{names[spec.name]!r} and {tool.name!r}"
                raise ScenarioInvalid(f"{title(server)} has two tools, {both}, that would both be named {spec.name}")
            names[spec.name] = tool.name
            specs[tool.name] = spec
        cursor = page.next_cursor
        if cursor is None:
            break
    else:
        raise ScenarioInvalid(f"{title(server)} lists tools on more than {MAX_PAGES} pages")
    missing = sorted(set(server.classes) - set(specs))
    if missing:
        there = ", ".join(sorted(specs)) or "none"
        raise ScenarioInvalid(f"{title(server)} has no tool {missing[0]!r} to give a class to; it has: {there}")
    return specs


def _spec(server: McpServer, tool: Listed) -> ToolSpec:
    if tool.input_schema.get("type") != "object":
        raise ScenarioInvalid(f"{title(server)}: the schema of its tool {tool.name!r} does not describe an object")
    effect_class = server.classes.get(tool.name, "unsafe")
    if effect_class not in CLASSES:
        why = f"a server's calls cannot be settled that way; choose among {', '.join(CLASSES)}"
        raise ScenarioInvalid(f"{title(server)}: {tool.name!r} cannot be {effect_class}: {why}")
    return ToolSpec(
        name=re.sub(r"[^a-zA-Z0-9_-]", "_", f"{server.name}_{tool.name}")[:MAX_NAME],
        description=tool.description or "",
        parameters=tool.input_schema,
        effect_class=effect_class,
        timeout_s=server.timeout_s + START_S,  # a call may have to start the server anew first
    )


def difference(before: Mapping[str, ToolSpec], after: Mapping[str, ToolSpec]) -> str:
    """What changed between two tool lists."""
    gone = sorted(before.keys() - after.keys())
    new = sorted(after.keys() - before.keys())
    other = sorted(name for name in before.keys() & after.keys() if before[name] != after[name])
    changes = (("gone", gone), ("new", new), ("described otherwise", other))
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in changes if names)


def value(result: CallToolResult) -> JsonValue:
    """Structured content where there is some, else the text; bytes by their digest. Raises `ToolFailed` for a result
    that reports an error, ValueError for bytes that are not base64."""
    blocks = [_block(block) for block in result.content]
    if result.is_error:
        said = "\n".join(block for block in blocks if isinstance(block, str))
        raise ToolFailed(bounded(said) or "the tool failed and did not say why")
    if result.structured_content is not None:
        structured: JsonValue = result.structured_content
        others = [block for block in blocks if not isinstance(block, str)]  # its text says the same again
        return [structured, *others] if others else structured
    if len(blocks) > 1:
        return blocks
    return blocks[0] if blocks else None


def _block(block: ContentBlock) -> JsonValue:
    match block:
        case TextContent():
            return block.text
        case ImageContent() | AudioContent():
            return _bytes(block.data, block.mime_type)
        case ResourceLink():
            return {"uri": block.uri, "name": block.name, "media_type": block.mime_type}
        case EmbeddedResource():
            held = block.resource
            if isinstance(held, BlobResourceContents):
                return {"uri": held.uri, **_bytes(held.blob, held.mime_type)}
            return {"uri": held.uri, "media_type": held.mime_type, "text": held.text}


def _bytes(encoded: str, media_type: str | None) -> dict[str, JsonValue]:
    data = base64.b64decode(encoded, validate=True)
    return {"media_type": media_type, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def title(server: McpServer) -> str:
    return f"the MCP server {server.name!r}"


def said(error: Exception) -> str:
    return bounded(str(error) or type(error).__name__)


def bounded(words: str) -> str:
    if len(words) <= MAX_ERROR_CHARS:
        return words
    return f"{words[:MAX_ERROR_CHARS]} … ({len(words)} characters)"
