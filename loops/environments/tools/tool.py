"""What a tool is, wherever it comes from: a function of the user's, a built-in, a tool of an MCP server.

Knows names, schemas, classes and limits; knows nothing of how a call is recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from loops.spaces import ToolSpec
from telemetry.events.values import Digest


def unfenced() -> None:
    """Lets everything pass: the check of a call that belongs to no session."""


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf and under which key a call is made. Tools see it only through their injected parameters."""

    session: str
    person: str | None
    effect: Digest
    """The effect's key, equal on every attempt: what a keyed tool hands to its target for it to know a repeat."""
    check: Callable[[], None] = unfenced
    """Raises `ToolFailed` (fenced) when nothing may be sent any more; a tool that prepared for long asks it again just
    before it sends."""


Run = Callable[[Mapping[str, JsonValue], Caller], JsonValue]
"""Runs with arguments that fit the tool's schema; returns what is recorded, secrets redacted. What it raises becomes
`ToolFailed` (raised)."""


@dataclass(frozen=True, slots=True)
class Tool:
    """`probe` and `undo` take what `run` takes: `probe` returns the result if the effect of that key happened and
    raises `ToolFailed` (not_done) if it did not; `undo` makes sure that it has not happened."""

    spec: ToolSpec
    run: Run
    probe: Run | None = None
    undo: Callable[[Mapping[str, JsonValue], Caller], None] | None = None
