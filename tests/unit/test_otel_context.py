"""Spans that users' code opens join the trace that follows from the events."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from opentelemetry import trace

from telemetry.otel.context import carried, is_carried_to, under, under_cycle
from telemetry.otel.ids import cycle_span_id, span_id, trace_id
from telemetry.otel.spans import session_spans
from tests.local import Cut, Cutter, Local
from tests.model_server import ModelServer
from tests.traced import TALK, WORLD, Opened, opened, places, policy

STREAM = "session/traced"


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with ModelServer() as running:
        running.always = policy
        yield running


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "spans.jsonl"
    monkeypatch.setenv("SPANS", str(path))
    return path


def parents(spans: list[Opened]) -> list[tuple[int, int | None]]:
    return [(one.trace, one.parent) for one in spans]


def test_a_span_of_a_tool_is_the_child_of_its_effects_span(local: Local, model: ModelServer, file: Path) -> None:
    local.run("traced", TALK.format(url=model.url, errand="ship it", more=""))
    inner, outer = opened(file)
    assert (outer.name, inner.name) == ("shipped", "labelled")
    assert [(outer.trace, outer.parent)] == places(local.log, STREAM, "execute.intended")[:1]
    assert (inner.trace, inner.parent) == (outer.trace, outer.span), "what it opens inside is its own affair"


def test_calls_that_are_made_at_once_are_under_a_span_each(local: Local, model: ModelServer, file: Path) -> None:
    local.run("traced", TALK.format(url=model.url, errand="look about", more=""))
    spans = sorted(opened(file), key=lambda one: one.name)
    assert [one.name for one in spans] == ["looked left", "looked right"]
    assert parents(spans) == places(local.log, STREAM, "execute.intended")[:2]


def test_what_settles_an_effect_is_under_the_span_of_the_effect(local: Local, model: ModelServer, file: Path) -> None:
    scenario = TALK.format(url=model.url, errand="ship it", more="")
    name = cut_off(local, scenario, lambda types: types[-1] == "execute.dispatched")
    assert not opened(file), "it was not made yet"
    local.run(name, scenario)
    asked, _, made = opened(file)
    assert (asked.name, made.name) == ("asked the carrier", "shipped")
    assert parents([asked, made]) == places(local.log, f"session/{name}", "execute.intended")[:1] * 2


def cut_off(local: Local, scenario: str, far: Callable[[list[str]], bool]) -> str:
    """The name of a session that was cut off at the first call of a phase by which its events were `far`."""
    for at in range(1, 100):
        with pytest.raises(Cut):
            local.run(f"cut{at}", scenario, calls=Cutter(at))
        if far(local.types(f"cut{at}")):
            return f"cut{at}"
    raise AssertionError


def test_a_span_of_a_world_is_the_child_of_the_step_and_a_reset_is_of_the_cycle(local: Local, file: Path) -> None:
    local.run("traced", WORLD)
    spans = opened(file)
    (made,), (reset,) = ([one for one in spans if one.name == name] for name in ("made", "reset"))
    assert parents([reset]) == places(local.log, STREAM, "session.cycle_opened")[:1]
    (whole,) = (s for s in session_spans(local.log, STREAM) if s.name.startswith("session "))
    assert (made.trace, made.parent) == (whole.trace_id, whole.span_id), "it is of no cycle"
    steps = [one for one in spans if one.name == "stepped"]
    assert len(steps) == 3
    assert parents(steps) == places(local.log, STREAM, "execute.intended")


def test_a_world_that_is_rebuilt_is_under_the_cycle_that_needs_it(local: Local, file: Path) -> None:
    name = cut_off(local, WORLD, lambda types: types[-1] == "execute.dispatched" and types.count(types[-1]) == 3)
    before = len(opened(file))
    local.run(name, WORLD)
    _, reset, first, second, third = opened(file)[before:]
    here = places(local.log, f"session/{name}", "session.cycle_opened")[2]
    assert [one.name for one in (reset, first, second, third)] == ["reset", "stepped", "stepped", "stepped"]
    assert parents([reset, first, second]) == [here] * 3
    assert parents([third]) == places(local.log, f"session/{name}", "execute.intended")[2:]


def test_a_model_on_this_machine_is_told_the_span_of_its_call(local: Local, model: ModelServer, file: Path) -> None:
    local.run("traced", TALK.format(url=model.url, errand="ship it", more=""))
    told = [sent.headers["traceparent"] for sent in model.sent]
    asked = places(local.log, STREAM, "reason.requested")
    assert told == [f"00-{trace:032x}-{span:016x}-01" for trace, span in asked]


def test_a_model_is_told_nothing_where_the_scenario_says_so(local: Local, model: ModelServer, file: Path) -> None:
    local.run("traced", TALK.format(url=model.url, errand="ship it", more="traceparent = false"))
    assert model.sent
    assert not any("traceparent" in sent.headers for sent in model.sent)


@pytest.mark.parametrize(
    ("url", "joined"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://127.8.8.8/v1", True),
        ("http://localhost:11434/v1", True),
        ("http://model.localhost/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://user:word@localhost/v1", True),
        ("http://10.0.0.7:8000/v1", False),
        ("https://api.openai.com/v1", False),
        ("https://localhost.example.com/v1", False),
        ("https://127.0.0.1.example.com/v1", False),
        ("https://localhost@example.com/v1", False),
    ],
)
def test_only_what_is_on_this_machine_is_told_unless_its_owner_says_otherwise(url: str, joined: bool) -> None:
    assert is_carried_to(url, wish=None) is joined
    assert is_carried_to(url, wish=True)
    assert not is_carried_to(url, wish=False)


def test_inside_an_event_the_current_span_is_the_one_that_begins_with_it_and_then_as_before() -> None:
    assert carried() == {}
    with under_cycle("session/a", cycle=3):
        with under("session/a@17", cycle=3):
            here = trace.get_current_span().get_span_context()
            assert (here.trace_id, here.span_id) == (trace_id("session/a", 3), span_id("session/a", 17))
            assert here.is_remote, "it is made where the events are exported"
            assert here.trace_flags.sampled
        assert carried() == {
            "traceparent": f"00-{trace_id('session/a', 3):032x}-{cycle_span_id('session/a', 3):016x}-01"
        }
    assert carried() == {}


def test_under_an_event_that_is_on_no_log_nothing_changes() -> None:
    with under_cycle("session/a", cycle=3):
        before = carried()
        with under("", cycle=3):
            assert carried() == before


def test_what_makes_the_context_loads_no_sdk() -> None:
    said = "import sys, loops.execute, loops.reasoners.language.client; print('opentelemetry.sdk' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
