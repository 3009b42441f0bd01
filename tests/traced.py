"""Tools and a world whose code opens spans of its own with OpenTelemetry's SDK, as users' code does; and the scenarios
that use them, with a model.

Knows nothing of aetherloop's spans. Each span goes, as a line of JSON, to the file that the variable SPANS names,
whichever process it was opened in."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from aiohttp import web
from gymnasium import spaces
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from loops.environments.tools import tool
from loops.errors import ToolFailed
from telemetry.log import EventLog
from telemetry.otel import names
from telemetry.otel.span import Span
from telemetry.otel.spans import session_spans
from tests.model_server import call, calls, says

TALK = """
name = "traced"
[environment]
id = "tools:"
[environment.tools]
modules = ["tests.traced"]
[reasoner]
kind = "language"
[reasoner.language.endpoints.main]
model = "test-model"
base_url = "{url}"
{more}
[conversation]
messages = ["{errand}"]
[world_model]
kind = "none"
[memory]
recall = 0
"""
WORLD = """
name = "traced"
[environment]
id = "gymnasium:tests.traced:Traced-v0"
[reasoner]
kind = "explore"
[memory]
recall = 0
"""
ERRANDS: dict[str, tuple[tuple[str, dict[str, str]], ...]] = {
    "ship it": (("ship", {"parcel": "tea"}),),
    "look about": (("look", {"where": "left"}), ("look", {"where": "right"})),
}


async def policy(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Does the errand that the last message names, then says so."""
    last = body["messages"][-1]
    if last["role"] != "user":
        return await says("Done.")(request, body)
    wire = [call(tool, json.dumps(a), call_id=f"c{i}") for i, (tool, a) in enumerate(ERRANDS[last["content"]])]
    return await calls(*wire)(request, body)


class _ToFile(SpanExporter):
    def export(self, spans: Any) -> SpanExportResult:  # noqa: ANN401  a sequence of ReadableSpan
        with Path(os.environ["SPANS"]).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(_line(span)) + "\n" for span in spans)
        return SpanExportResult.SUCCESS


def _line(span: ReadableSpan) -> dict[str, Any]:
    assert span.context is not None
    parent = span.parent
    return {
        "name": span.name,
        "trace": span.context.trace_id,
        "span": span.context.span_id,
        "parent": None if parent is None else parent.span_id,
        "pid": os.getpid(),
    }


PROVIDER = TracerProvider(shutdown_on_exit=False)
PROVIDER.add_span_processor(SimpleSpanProcessor(_ToFile()))
TRACER = PROVIDER.get_tracer("users")


class Opened(NamedTuple):
    """A span that was opened."""

    name: str
    trace: int
    span: int
    parent: int | None
    pid: int


def opened(file: Path) -> list[Opened]:
    """Every span that was opened and ended, in the order of their ends."""
    if not file.exists():
        return []
    return [Opened(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def places(log: EventLog, stream: str, type_: str) -> list[tuple[int, int]]:
    """Trace and id of the span, not a phase's, that follows from each event of that type and begins with it."""
    begins = {s.attributes[names.EVENT]: s for s in session_spans(log, stream) if _begins(s)}
    found = (begins[recorded.id] for recorded in log.read(stream, types=(type_,)))
    return [(span.trace_id, span.span_id) for span in found]


def _begins(span: Span) -> bool:
    return names.EVENT in span.attributes and names.PHASE not in span.attributes


def probed(parcel: str) -> str:
    with TRACER.start_as_current_span("asked the carrier"):
        raise ToolFailed("it was never handed in", "not_done")


@tool(effect="probeable", probe=probed)
def ship(parcel: str) -> str:
    """Ships it."""
    with TRACER.start_as_current_span("shipped"), TRACER.start_as_current_span("labelled"):
        return f"shipped {parcel}"


@tool(effect="read")
def look(where: str) -> str:
    """Looks there."""
    with TRACER.start_as_current_span(f"looked {where}"):
        return "nothing"


class Traced(gymnasium.Env[Any, Any]):
    """A counter; its making, each reset and each step is a span."""

    action_space = spaces.Discrete(2)
    observation_space = spaces.Box(0, 100, (1,), np.float64)

    def __init__(self) -> None:
        with TRACER.start_as_current_span("made"):
            self._at = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        with TRACER.start_as_current_span("reset"):
            self._at = 0.0
        return np.array([self._at]), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        with TRACER.start_as_current_span("stepped"):
            self._at += 1
        return np.array([self._at]), 0.0, self._at >= 3, False, {}


gymnasium.register("Traced-v0", entry_point="tests.traced:Traced", max_episode_steps=10)
