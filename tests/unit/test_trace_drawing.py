"""A cycle's spans as lines: how long, when, and nothing that a terminal would obey."""

from __future__ import annotations

import pytest

from runtime.cli.trace.drawing import BAR, drawn, lasted
from runtime.telemetry.timeline import Cycle
from telemetry.otel import names
from telemetry.otel.span import Span, SpanEvent

ROOT = Span(
    trace_id=1, span_id=1, parent_id=None, name="invoke_agent a", kind="internal", start=0, end=1600, attributes={}
)


def span(id_: int, name: str, start: int, end: int, *, parent: int = 1, **more: object) -> Span:
    fields = {"attributes": {}, "kind": "internal", "trace_id": 1, **more}
    return Span(span_id=id_, parent_id=parent, name=name, start=start, end=end, **fields)  # type: ignore[arg-type]


def lines(*spans: Span) -> list[str]:
    return [line.plain for line in drawn(Cycle(1, "session/a", None, None, (ROOT, *spans), ()), of="session/a")]


@pytest.mark.parametrize(
    ("ns", "words"),
    [
        (0, "–"),
        (999, "999 ns"),
        (1_000, "1.00 µs"),
        (81_800, "81.8 µs"),
        (440_400, "440 µs"),
        (1_049_000, "1.05 ms"),
        (33_200_000, "33.2 ms"),
        (7_200_000_000_000, "7,200 s"),
    ],
)
def test_a_length_of_time_has_three_digits(ns: int, words: str) -> None:
    assert lasted(ns) == words


def test_a_bar_stands_where_in_the_cycle_it_was_and_is_as_long_as_it_took() -> None:
    _, first, whole, moment = lines(span(2, "sense", 0, 400), span(3, "feel", 0, 1600), span(4, "learn", 1600, 1600))
    assert first.endswith("━" * 4 + "·" * (BAR - 4))
    assert whole.endswith("━" * BAR)
    assert moment.endswith("·" * (BAR - 1) + "━"), "what took no time is seen all the same"


def test_a_child_hangs_on_its_parent_and_the_columns_stand_below_each_other() -> None:
    _, phase, leaf, last = lines(
        span(2, "execute", 0, 800), span(3, "execute_tool 書", 0, 80, parent=2), span(4, "learn", 800, 900)
    )
    assert phase.startswith("├─ execute ")
    assert leaf.startswith("│  └─ execute_tool 書  ")
    assert last.startswith("└─ learn ")
    assert phase.index("ns") == leaf.index("ns") + 1 == last.index("ns"), "a wide letter takes two columns"


def test_a_score_says_what_of_and_how_much() -> None:
    surprise = SpanEvent(names.EVALUATION, 0, {names.EVALUATION_NAME: names.SURPRISE, names.SCORE: -1.408})
    judged = SpanEvent(
        names.EVALUATION,
        0,
        {names.EVALUATION_NAME: "appraisal", names.SCORE_LABEL: "refuse", names.RULES: ["own-orders", "large"]},
    )
    _, line = lines(span(2, "sense", 0, 1, events=(surprise, judged)))
    assert line.endswith("surprise -1.41 nats; appraisal refuse (own-orders, large)")


def test_no_text_in_it_obeys_the_terminal_or_breaks_the_line() -> None:
    evil = "\x1b[2J\nnext\u202e"
    said = lines(span(2, f"chat {evil}", 0, 1, error=evil, attributes={names.TOOL_CALL_RESULT: evil, names.WHY: evil}))
    assert len(said) == 2
    assert not any(character in line for line in said for character in "\x1b\n\u202e")
