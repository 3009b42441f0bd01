"""Action tags, the calls of a model without native ones: `<aether-write path="a.txt">text</aether-write>`.

Knows the tags' grammar and how a tool's schema gives types to attributes; knows no endpoint and calls nothing.
Invariant: what `render` writes, `parse` reads back, whatever text the arguments hold."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple
from xml.sax import saxutils

from pydantic import JsonValue

from loops.spaces import ToolActions, ToolSpec
from telemetry.events.values import canonical_json

OPENING = "<aether-"

_START = re.compile(
    r"""<aether-(?P<name>[A-Za-z][\w-]*)"""
    r"""(?P<attributes>(?:\s+[A-Za-z_][\w-]*\s*=\s*(?:"[^"]*"|'[^']*'))*)\s*(?P<empty>/?)>"""
)
_ATTRIBUTE = re.compile(r"""([A-Za-z_][\w-]*)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_NAME = re.compile(r"<aether-([\w-]*)")


class Tag(NamedTuple):
    """One call as it was written. `invalid` says why none can be made of it."""

    tool: str
    arguments: dict[str, JsonValue]
    invalid: str | None = None


class _Written(NamedTuple):
    name: str
    attributes: dict[str, str] = {}
    body: str = ""
    problem: str | None = None


def parse(text: str, tools: ToolActions) -> tuple[str, tuple[Tag, ...]]:
    """The words around the tags, and the tags in their order. A tag within a tag is refused."""
    pieces = list(_pieces(text))
    words = "\n".join(piece.strip() for piece in pieces if isinstance(piece, str) and piece.strip())
    return words, tuple(_read(piece, tools) for piece in pieces if isinstance(piece, _Written))


def shown(text: str) -> tuple[str, str]:
    """Of text that is still streaming in: the words that stand outside tags, and the rest, which may be a tag."""
    words = ""
    while (start := text.find(OPENING)) >= 0:
        end = _end(text, start)
        words, text = words + text[:start], text[start:] if end is None else text[end:]
        if end is None:
            return words, text
    begun = next((n for n in range(len(OPENING) - 1, 0, -1) if text.endswith(OPENING[:n])), 0)
    return words + text[: len(text) - begun], text[len(text) - begun :]


def render(name: str, arguments: dict[str, JsonValue], tools: ToolActions) -> str:
    """The tag of a call, its last required text as the body."""
    tool = tools.tool(name)
    texts = [] if tool is None else [p for p in _required(tool) if "string" in _types(tool, p)]
    inside = texts[-1] if texts and all(isinstance(arguments.get(p), str) for p in texts) else None
    attributes = "".join(
        f" {key}={_quoted(value if isinstance(value, str) else canonical_json(value))}"
        for key, value in arguments.items()
        if key != inside
    )
    if inside is None:
        return f"{OPENING}{name}{attributes}/>"
    return f"{OPENING}{name}{attributes}>\n{_escape(str(arguments[inside]))}</aether-{name}>"


def named(name: str, tools: ToolActions) -> ToolSpec | None:
    """The tool of that name, or the only one that it shortens: `write` for `write_file`, `shell` for `run_shell`."""
    name = re.escape(name.replace("-", "_"))
    for form in (name, f"{name}_.*", f".*_{name}"):
        found = [tool for tool in tools.tools if re.fullmatch(form, tool.name.replace("-", "_"))]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _pieces(text: str) -> Iterator[str | _Written]:
    at = 0
    while (start := text.find(OPENING, at)) >= 0:
        yield text[at:start]
        end = _end(text, start)
        yield _written(text[start:end])
        at = len(text) if end is None else end
    yield text[at:]


def _end(text: str, start: int) -> int | None:
    """Where the tag that starts at `start` ends; None when it does not."""
    opened = _START.match(text, start)
    if opened is None or opened["empty"]:
        return None if opened is None else opened.end()
    closing = f"</aether-{opened['name']}>"
    close = text.find(closing, opened.end())
    return None if close < 0 else close + len(closing)


def _written(tag: str) -> _Written:
    opened = _START.match(tag)
    if opened is None:
        name = _NAME.match(tag)
        how = 'write <aether-NAME attribute="value">text</aether-NAME>'
        return _Written(name[1] if name else "", problem=f"the tag cannot be read; {how}")
    tool, closing = opened["name"], f"</aether-{opened['name']}>"
    attributes = {key: _unquoted(a or b) for key, a, b in _ATTRIBUTE.findall(opened["attributes"])}
    if opened["empty"]:
        return _Written(tool, attributes)
    if not tag.endswith(closing):
        return _Written(tool, problem=f"the tag is not closed; end it with {closing}")
    body = tag[opened.end() : -len(closing)]
    if OPENING in body:
        return _Written(tool, problem="a tag stands within this tag; write one after the other")
    return _Written(tool, attributes, _unescape(body.removeprefix("\n")))


def _read(written: _Written, tools: ToolActions) -> Tag:
    tool = named(written.name, tools)
    if written.problem is not None or tool is None:
        return Tag(written.name if tool is None else tool.name, {}, written.problem)
    arguments = {key: _typed(tool, key, value) for key, value in written.attributes.items()}
    missing = [p for p in _required(tool) if p not in arguments and "string" in _types(tool, p)]
    if len(missing) == 1:
        arguments[missing[0]] = written.body
    elif written.body.strip():
        places = f"its text could be any of {', '.join(missing)}" if missing else "it takes no text"
        return Tag(tool.name, {}, f"{places}; give the arguments of {tool.name} as attributes")
    return Tag(tool.name, arguments)


def _typed(tool: ToolSpec, parameter: str, text: str) -> JsonValue:
    """An attribute as its schema's type; as text where it is none, for the tool to refuse."""
    if "string" in _types(tool, parameter):
        return text
    try:
        value: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value


def _types(tool: ToolSpec, parameter: str) -> frozenset[str]:
    properties = tool.parameters.get("properties")
    schema = properties.get(parameter) if isinstance(properties, dict) else None
    return _types_of(schema, tool.parameters.get("$defs"))


def _types_of(schema: JsonValue, definitions: JsonValue) -> frozenset[str]:
    if not isinstance(schema, dict):
        return frozenset({"string"})
    match schema:
        case {"type": str(one)}:
            return frozenset({one})
        case {"type": [*several]}:
            return frozenset(map(str, several))
        case {"anyOf": [*parts]} | {"oneOf": [*parts]} | {"allOf": [*parts]}:
            return frozenset().union(*(_types_of(part, definitions) for part in parts))
        case {"$ref": str(where)} if isinstance(definitions, dict):
            return _types_of(definitions.get(where.removeprefix("#/$defs/")), None)
        case {"enum": [*values]}:
            return frozenset({"string"}) if any(isinstance(value, str) for value in values) else frozenset()
    return frozenset({"string"})


def _required(tool: ToolSpec) -> list[str]:
    required = tool.parameters.get("required")
    return [str(name) for name in required] if isinstance(required, list) else []


def _quoted(text: str) -> str:
    return '"' + saxutils.escape(text, {'"': "&quot;"}) + '"'


def _unquoted(text: str) -> str:
    return saxutils.unescape(text, {"&quot;": '"', "&apos;": "'"})


# A body stands as it is, for code is full of < and &. Only what looks like a tag of ours is escaped, and what looks
# like that escape gets one `amp;` more.


def _escape(body: str) -> str:
    body = re.sub(r"&((?:amp;)*lt;/?aether-)", r"&amp;\1", body)
    return re.sub(r"<(/?aether-)", r"&lt;\1", body)


def _unescape(body: str) -> str:
    body = re.sub(r"&lt;(/?aether-)", r"<\1", body)
    return re.sub(r"&amp;((?:amp;)*lt;/?aether-)", r"&\1", body)
