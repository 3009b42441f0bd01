"""Spans of sessions that run on a real log: cut off, taken up again, forked, and looked at from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from runtime.fork import fork
from runtime.retention import archive, prune
from telemetry.errors import EventsPruned
from telemetry.events import Recorded
from telemetry.log import EventLog
from telemetry.log.imports import import_lines
from telemetry.otel import names
from telemetry.otel.ids import cycle_span_id, trace_id
from telemetry.otel.span import Span
from telemetry.otel.spans import SpanFold, session_spans
from tests.local import Cut, Cutter, Local
from tests.property.test_spans_laws import check_nesting

GOLDEN = Path(__file__).parents[1] / "golden"
SECOND_CLOSED = 46
"""The version that closes the maze's second cycle."""

LINE = """
name = "line"
environment = { id = "gymnasium:AetherLine-v0", max_frames = 4, episodes = 3 }
reasoner = { hold = 1 }
memory = { when = "always", recall = 0 }
"""


@pytest.fixture
def lived(local: Local) -> Local:
    """`p` was cut off twice and taken up again; its fork went on from its third cycle; both ended."""
    for at in (3, 5):
        with pytest.raises(Cut):
            local.run("p", LINE, cycles=6, commits=Cutter(at))
    local.run("p", LINE, cycles=6)
    local.run(fork(local.log, "p", at=_closes(local, "p")[2], new="f"), LINE)
    return local


def _closes(local: Local, name: str) -> list[int]:
    return [event.version for event in local.events(name, "session.cycle_closed")]


def _spans(local: Local, events: Sequence[Recorded]) -> list[Span]:
    return SpanFold(local.log).fold(events)


def test_a_session_that_was_taken_up_again_has_one_trace_a_cycle_and_says_so(lived: Local) -> None:
    spans = list(session_spans(lived.log, "session/p"))
    check_nesting(spans)
    roots = [span for span in spans if span.name == "invoke_agent line"]
    assert [span.attributes[names.CYCLE] for span in roots] == [1, 2, 3, 4, 5, 6]
    told = [event.name for span in spans for event in span.events] + [span.name for span in spans]
    assert told.count("session.resumed") == 2


def test_a_fork_has_its_own_cycles_and_leads_to_its_parents(lived: Local) -> None:
    spans = list(session_spans(lived.log, "session/f"))
    cycles = [span.attributes[names.CYCLE] for span in spans if span.name == "invoke_agent line"]
    assert cycles[0] == 4
    first = next(span for span in spans if span.span_id == cycle_span_id("session/f", 4))
    (cut,) = [link for link in first.links if link.attributes[names.RELATION] == "forked_from"]
    assert (cut.trace_id, cut.span_id) == (trace_id("session/p", 3), cycle_span_id("session/p", 3))


def test_every_link_leads_to_a_span(lived: Local) -> None:
    spans = _spans(lived, list(lived.log.read_all()))
    there = {(span.trace_id, span.span_id) for span in spans}
    links = [link for span in spans for link in span.links]
    assert {link.attributes[names.RELATION] for link in links} == {"predicted", "forked_from"}
    assert [link for link in links if (link.trace_id, link.span_id) not in there] == []


def test_whoever_begins_to_look_at_any_position_sees_the_same_spans(lived: Local) -> None:
    events = list(lived.log.read_all())
    whole = _spans(lived, events)
    for place in range(0, len(events), 13):
        before = len(_spans(lived, events[:place]))
        assert _spans(lived, events[place:]) == whole[before:]


def test_a_cycle_is_found_in_the_log_by_its_number(lived: Local) -> None:
    for name in ("p", "f"):
        whole = list(session_spans(lived.log, f"session/{name}"))
        for cycle in (0, 4, 6):
            found = list(session_spans(lived.log, f"session/{name}", cycle=cycle))
            assert found == [span for span in whole if span.trace_id == trace_id(f"session/{name}", cycle)]
    assert list(session_spans(lived.log, "session/f", cycle=2)) == [], "that one is its parent's"


def test_what_is_left_of_a_removed_past_keeps_its_ids_and_times(log: EventLog, tmp_path: Path) -> None:
    with (GOLDEN / "maze.jsonl").open("rb") as file:
        import_lines(log, file)
    whole = list(session_spans(log, "session/maze"))
    list(archive(log, ["maze"], tmp_path / "archive"))
    prune(log, "maze", tmp_path / "archive", to=SECOND_CLOSED)
    left = SpanFold(log).fold(log.read("session/maze", after=SECOND_CLOSED))
    expected = [span for span in whole if span.trace_id not in (trace_id("session/maze", n) for n in (1, 2))]
    assert [(s.trace_id, s.span_id, s.parent_id, s.start, s.end) for s in left[:-1]] == [
        (s.trace_id, s.span_id, s.parent_id, s.start, s.end) for s in expected[:-1]
    ]
    assert left[0].name == "invoke_agent", "what it was called stood in what is gone"
    assert left[-1].span_id == expected[-1].span_id
    assert list(session_spans(log, "session/maze", cycle=2)) == []
    fifth = [span for span in left if span.trace_id == trace_id("session/maze", 5)]
    assert list(session_spans(log, "session/maze", cycle=5)) == fifth
    with pytest.raises(EventsPruned):
        list(session_spans(log, "session/maze"))
