"""Laws of the spans: equal events give equal spans, however they are cut and wherever one begins to look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, zip_longest
from operator import attrgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.events import Event, Recorded
from telemetry.events.registry import CLASSES
from telemetry.events.session import CycleClosed, CycleOpened, Opened
from telemetry.otel import names
from telemetry.otel.content import Content
from telemetry.otel.span import Attributes, Span
from telemetry.otel.spans import SpanFold
from telemetry.otel.spans.rules import RULES
from tests.anything import models
from tests.golden.test_golden import FAITHFUL, read
from tests.histories import Held, recorded

WITHIN = [kind for name, kind in CLASSES.items() if not name.startswith(("session.", "system.", "privacy."))]
SPAWNS = st.sampled_from(WITHIN).flatmap(models)
STEPS = st.tuples(SPAWNS, st.integers(0, 50), st.integers(0, 40), st.booleans())
"""An event, how long its command took, how long after the append before it came, and whether in one of its own."""


BY_ID = attrgetter("span_id")


@st.composite
def sessions(draw: st.DrawFn) -> list[Recorded]:
    """A session of some cycles in which anything may happen, at any time, with any clock that only goes on."""
    opened = draw(models(Opened))
    events: list[Recorded] = []
    at = 1_000

    def add(event: Event, cycle: int, elapsed_ns: int = 0) -> None:
        version = len(events) + 1
        events.append(
            recorded(
                "session/any", version, event, cycle=cycle, at=at, elapsed_ns=elapsed_ns, command=f"{cycle}.{version}"
            )
        )

    add(opened, 0)
    for cycle in range(1, draw(st.integers(1, 3)) + 1):
        at += draw(st.integers(0, 40))
        add(CycleOpened(cycle=cycle), cycle)
        for event, elapsed_ns, later, own in draw(st.lists(STEPS, max_size=8)):
            at += later if own else 0
            add(event, cycle, elapsed_ns)
        if draw(st.booleans()) or cycle > 1:
            add(CycleClosed(cycle=cycle, state_hash="0" * 64, reducer=1), cycle)
    return events


def spans(events: Sequence[Recorded], *cuts: int, content: bool = False) -> list[Span]:
    fold = SpanFold(Held(events), content=Content(messages=content))
    places = [0, *sorted(cuts), len(events)]
    return [span for first, beyond in pairwise(places) for span in fold.fold(events[first:beyond])]


def held(found: Sequence[Span]) -> Iterator[Attributes]:
    """The attributes of the spans, and of the events and links on them."""
    for span in found:
        yield span.attributes
        yield from (event.attributes for event in span.events)
        yield from (link.attributes for link in span.links)


def check_nesting(found: Sequence[Span]) -> None:
    by_id = {span.span_id: span for span in found}
    assert len(by_id) == len(found), "an id stands twice"
    for span in found:
        assert span.start <= span.end
        for event in span.events:
            assert span.start <= event.at <= span.end, (span.name, event.name)
        parent = None if span.parent_id is None else by_id.get(span.parent_id)
        if parent is not None:
            assert parent.trace_id == span.trace_id
            assert parent.start <= span.start <= span.end <= parent.end, (parent.name, span.name)


@given(sessions(), st.data())
def test_batches_cut_anywhere_give_equal_spans(events: list[Recorded], data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(events)), max_size=4))
    assert spans(events, *cuts) == spans(events)


@given(sessions(), st.data())
def test_a_folder_that_begins_in_the_middle_gives_the_spans_of_one_that_saw_all(
    events: list[Recorded], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(events)))
    before = len(spans(events[:place]))
    assert SpanFold(Held(events)).fold(events[place:]) == spans(events)[before:]


@given(sessions(), st.booleans())
def test_every_span_lies_within_its_parent_and_no_id_stands_twice(events: list[Recorded], content: bool) -> None:
    check_nesting(spans(events, content=content))


@pytest.mark.parametrize("name", FAITHFUL)
def test_golden_logs_nest_and_are_cut_anywhere(name: str) -> None:
    events = list(read(name))
    whole = spans(events)
    check_nesting(whole)
    for place in range(0, len(events), 11):
        assert spans(events, place, place + 1) == whole
        assert SpanFold(Held(events)).fold(events[place:]) == whole[len(spans(events[:place])) :]


@pytest.mark.parametrize("room", [1, 2])
def test_sessions_that_take_turns_give_equal_spans_where_there_is_no_room_for_all_of_them(room: int) -> None:
    logs = [list(read(name)) for name in FAITHFUL if not name.startswith("shapes")]
    turns = [event for several in zip_longest(*logs) for event in several if event is not None]
    found = SpanFold(Held(turns), room=room).fold(turns)
    assert sorted(found, key=BY_ID) == sorted((span for log in logs for span in spans(log)), key=BY_ID)


STRUCTURE = {
    names.EVENT, names.PHASE, names.STREAM, names.CYCLE, names.CONVERSATION, names.AGENT_NAME, names.AGENT_VERSION,
    names.ENVIRONMENT, names.OPERATION, names.PROVIDER, names.RELATION, names.SCORE, names.UNFINISHED,
}  # fmt: skip
"""Where things stand, and what links say."""


BEGINS = {
    "reason.answered": "reason.requested",
    "reason.unanswered": "reason.requested",
    "execute.approval_given": "execute.approval_asked",
} | dict.fromkeys(("execute.succeeded", "execute.failed", "execute.unknown"), "execute.intended")
"""What the span of an ending has where its beginning is not in the cycle."""


@given(st.sampled_from(sorted(CLASSES)).flatmap(lambda name: models(CLASSES[name])), st.booleans())
def test_what_comes_of_an_event_is_among_what_its_rule_names(event: Event, content: bool) -> None:
    stream = "session/one"
    events = [
        recorded(stream, 1, CycleOpened(cycle=1), cycle=1, at=5, elapsed_ns=0, command="1.open"),
        recorded(stream, 2, event, cycle=1, at=5, elapsed_ns=1, command="1.it"),
    ]
    fold = SpanFold(Held(events), content=Content(messages=content))
    found = [*fold.fold(events), *fold.unfinished(stream)]
    rule = RULES[event.type]
    named = STRUCTURE | {*rule.attributes} | ({*rule.content} if content else set())
    if (begins := BEGINS.get(event.type)) is not None:
        named |= {*RULES[begins].attributes}
    open_ended = tuple(name.partition("{")[0] for name in named if "{" in name)
    for attributes in held(found):
        for name in attributes:
            allowed = name in named or name.startswith(open_ended or ("-",))
            assert allowed or name in (names.INPUT_MESSAGES, names.OUTPUT_MESSAGES), (event.type, name)


def test_every_type_of_the_vocabulary_has_a_rule_and_no_other() -> None:
    assert {*RULES} == {*CLASSES}


@given(sessions(), st.booleans())
def test_attributes_are_what_the_protocol_can_hold(events: list[Recorded], content: bool) -> None:
    for attributes in held(spans(events, content=content)):
        for name, value in attributes.items():
            kinds = {type(item) for item in value} if isinstance(value, list | tuple) else {type(value)}
            assert len(kinds) <= 1, (name, value)
            assert kinds <= {str, bool, int, float}, (name, value)
            assert not isinstance(value, int) or -(2**63) <= value < 2**63, (name, value)
