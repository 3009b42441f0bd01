"""Spans of sessions that were recorded once: how they nest, what they say, what they link to, and what they hide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import orjson
import pytest

from telemetry.events import Event, Recorded, execute, learn, reason, session
from telemetry.events.values import AskHuman, ToolCall, ToolCalls, ToolResult
from telemetry.otel import names
from telemetry.otel.content import VARIABLE, Content, content_of
from telemetry.otel.ids import cycle_span_id, span_id, trace_id
from telemetry.otel.span import Span
from telemetry.otel.spans import SpanFold, session_spans
from tests.golden.test_golden import read
from tests.histories import Held, recorded

MAZE, REFUND = "session/maze", "session/refund"


def golden(name: str, *, content: bool = False) -> list[Span]:
    events = list(read(name))
    return SpanFold(Held(events), content=Content(messages=content)).fold(events)


def drawn(spans: Sequence[Span]) -> list[str]:
    """Names below one another, as a tree."""
    by_id = {span.span_id: span for span in spans}
    lines = []
    for span in spans:
        depth, at = 0, span
        while at.parent_id is not None and at.parent_id in by_id:
            depth, at = depth + 1, by_id[at.parent_id]
        lines.append("  " * depth + span.name)
    return lines


def of_cycle(spans: Sequence[Span], stream: str, cycle: int) -> list[Span]:
    return [span for span in spans if span.trace_id == trace_id(stream, cycle)]


def named(spans: Sequence[Span], name: str) -> Span:
    return next(span for span in spans if span.name == name)


def test_a_cycle_is_a_trace_of_phases_and_what_was_called_in_them() -> None:
    assert drawn(of_cycle(golden("maze.jsonl"), MAZE, 2)) == [
        "invoke_agent maze",
        "  sense",
        "    search_memory",
        "  feel",
        "  reason",
        "  feel",
        "  reason",
        "  execute",
        "    act gymnasium:PointMaze_UMaze-v3",
        "  learn",
        "    upsert_memory",
    ]


def test_a_conversations_cycle_shows_the_model_call_and_the_tool_call() -> None:
    spans = of_cycle(golden("refund.jsonl"), REFUND, 8)
    assert [line for line in drawn(spans) if line.startswith("    ")] == [
        "    chat scripted",
        "    execute_tool refund",
    ]
    chat, tool = named(spans, "chat scripted"), named(spans, "execute_tool refund")
    assert (chat.kind, tool.kind) == ("client", "internal")
    assert chat.attributes[names.INPUT_TOKENS] == 223
    assert chat.attributes[names.FINISH_REASONS] == ["tool_calls"]
    assert (chat.attributes[names.SERVER_ADDRESS], chat.attributes[names.SERVER_PORT]) == ("127.0.0.1", 43883)
    assert tool.attributes[names.TOOL_CALL_ID] == "call_6a7677df9a7d_0"
    assert tool.attributes[names.OUTCOME] == "succeeded"


def test_spans_last_as_long_as_the_log_says() -> None:
    events = {event.version: event for event in read("refund.jsonl")}
    spans = of_cycle(golden("refund.jsonl"), REFUND, 8)
    tool, chat, root = named(spans, "execute_tool refund"), named(spans, "chat scripted"), spans[0]
    assert tool.end - tool.start == events[113].elapsed_ns
    assert chat.end - chat.start == events[107].elapsed_ns
    assert root.end == events[114].at


def test_ids_follow_from_the_stream_and_the_version_of_what_a_span_begins_with() -> None:
    spans = of_cycle(golden("refund.jsonl"), REFUND, 8)
    assert spans[0].span_id == cycle_span_id(REFUND, 8)
    assert named(spans, "chat scripted").span_id == span_id(REFUND, 106)
    assert named(spans, "execute_tool refund").span_id == span_id(REFUND, 111)


def test_what_stands_between_cycles_is_below_the_span_of_the_whole_session() -> None:
    spans = [span for span in golden("refund.jsonl") if span.trace_id == trace_id(REFUND, 0)]
    review, whole = spans
    assert (review.name, whole.name) == ("learn.session_reviewed", "session refund")
    assert review.parent_id == whole.span_id == cycle_span_id(REFUND, 0)
    judged = {event.attributes[names.EVALUATION_NAME]: event.attributes[names.SCORE] for event in review.events}
    assert judged["review.success.first_half"] == 1.0


def test_scores_are_evaluation_results() -> None:
    spans = of_cycle(golden("maze.jsonl"), MAZE, 2)
    (surprise,) = named(spans, "sense").events
    assert surprise.name == "gen_ai.evaluation.result"
    assert surprise.attributes[names.EVALUATION_NAME] == "surprise"
    assert surprise.attributes[names.SCORE] == 1.768859638811466
    act = named(spans, "act gymnasium:PointMaze_UMaze-v3")
    assert [event.attributes[names.EVALUATION_NAME] for event in act.events] == ["reward"]
    held_back = [event for span in golden("lava.jsonl") for event in span.events if event.name == names.EVALUATION]
    assert {event.attributes.get(names.SCORE_LABEL) for event in held_back} >= {"refuse"}


def test_what_was_recalled_and_predicted_in_other_cycles_is_linked() -> None:
    spans = of_cycle(golden("maze.jsonl"), MAZE, 2)
    (recalled,) = named(spans, "search_memory").links
    assert (recalled.trace_id, recalled.span_id) == (trace_id(MAZE, 1), span_id(MAZE, 20))
    assert recalled.attributes[names.EVENT] == "session/maze@20"
    (predicted,) = named(spans, "sense").links
    assert (predicted.trace_id, predicted.span_id) == (trace_id(MAZE, 1), cycle_span_id(MAZE, 1))


@pytest.mark.parametrize("name", ["maze.jsonl", "lava.jsonl", "refund.jsonl"])
def test_every_link_leads_to_a_span(name: str) -> None:
    spans = golden(name)
    there = {(span.trace_id, span.span_id) for span in spans}
    links = [(link.trace_id, link.span_id) for span in spans for link in span.links]
    assert links
    assert {*links} <= there


SECRETS = ("kettle", "bicycle", "refund my order", "We paid back", "'ada'", "own orders")


def test_no_text_leaves_unless_it_is_allowed() -> None:
    hidden = str(golden("refund.jsonl"))
    assert [word for word in SECRETS if word in hidden] == []
    shown = str(golden("refund.jsonl", content=True))
    assert all(word in shown for word in ("kettle", "bicycle", "refund my order", "We paid back"))


def test_messages_are_as_the_conventions_have_them_where_they_are_allowed() -> None:
    spans = of_cycle(golden("refund.jsonl", content=True), REFUND, 8)
    chat = named(spans, "chat scripted")
    asked, told = (orjson.loads(str(chat.attributes[name])) for name in (names.INPUT_MESSAGES, names.OUTPUT_MESSAGES))
    assert asked[0] == {"role": "user", "parts": [{"type": "text", "content": "Please refund my order 1001."}]}
    assert [message["role"] for message in asked[-2:]] == ["assistant", "tool"]
    assert told[0]["parts"][0]["name"] == "refund"
    tool = named(spans, "execute_tool refund")
    assert orjson.loads(str(tool.attributes[names.TOOL_CALL_RESULT])) == {"amount": 420.0, "order": "1003"}


@pytest.mark.parametrize(
    ("value", "messages"),
    [("", False), ("NO_CONTENT", False), ("false", False), ("EVENT_ONLY", False), ("SPAN_ONLY", True), ("True", True)],
)
def test_the_conventions_switch_says_what_may_leave(value: str, messages: bool) -> None:
    assert content_of(value) == Content(messages=messages)


def test_another_word_for_the_switch_is_refused_and_named() -> None:
    with pytest.raises(ValueError, match=VARIABLE):
        content_of("everything")


STREAM = "session/x"
DIGESTS = ["1" * 64, "2" * 64]


class Told:
    """A session told by hand: each append of it takes place a millisecond after the one before."""

    def __init__(self, stream: str = STREAM, *, version: int = 0, at: int = 1_000_000) -> None:
        self.events: list[Recorded] = []
        self._stream, self._version, self._at = stream, version, at

    def append(self, cycle: int, *commands: tuple[int, Event] | Event, cause: str = "") -> Told:
        self._at += 1_000_000
        for told in commands:
            elapsed_ns, event = told if isinstance(told, tuple) else (0, told)
            self._version += 1
            self.events.append(
                recorded(
                    self._stream,
                    self._version,
                    event,
                    cycle=cycle,
                    at=self._at,
                    elapsed_ns=elapsed_ns,
                    command=f"{self._version}",
                    cause=cause,
                )
            )
        return self

    def spans(self, *before: Recorded) -> list[Span]:
        fold = SpanFold(Held([*before, *self.events]))
        return [*fold.fold(self.events), *fold.unfinished(self._stream)]


def call(name: str, key: int) -> execute.Intended:
    action = ToolCalls(calls=(ToolCall(id=name, tool=name),))
    return execute.Intended(effect=DIGESTS[key], action=action, arguments="3" * 64, effect_class="read", ordinal=key)


def closing(cycle: int) -> session.CycleClosed:
    return session.CycleClosed(cycle=cycle, state_hash="0" * 64, reducer=1)


def test_calls_that_were_made_at_once_begin_together() -> None:
    told = Told().append(1, session.CycleOpened(cycle=1), call("slow", 0), call("fast", 1))
    ends = [execute.Succeeded(effect=DIGESTS[1], ordinal=1), execute.Succeeded(effect=DIGESTS[0])]
    told.append(1, (200_000, ends[0]), (700_000, ends[1]), closing(1))
    spans = told.spans()
    slow, fast = named(spans, "execute_tool slow"), named(spans, "execute_tool fast")
    assert slow.start == fast.start
    assert (fast.end - fast.start, slow.end - slow.start) == (200_000, 700_000)


def test_what_nobody_measured_lasts_from_the_event_that_began_it_to_the_one_that_ended_it() -> None:
    asked = reason.Requested(endpoint="main", model="m", prompt="1" * 64)
    told = Told().append(1, session.CycleOpened(cycle=1), asked)
    told.append(1, reason.Answered(model="m", finish="stop")).append(1, call("pay", 0))
    spans = told.append(1, execute.Succeeded(effect=DIGESTS[0]), closing(1)).spans()
    for name in ("chat m", "execute_tool pay"):
        assert named(spans, name).end - named(spans, name).start == 1_000_000


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        (execute.Failed(effect=DIGESTS[0], kind="timeout", error="the shop of Ada is shut"), "timeout"),
        (execute.UnknownOutcome(effect=DIGESTS[0], why="its executor died"), "unknown"),
        (
            execute.Succeeded(effect=DIGESTS[0], result=ToolResult(call="a", tool="a", error="no order of Ada")),
            "raised",
        ),
    ],
)
def test_an_effect_that_went_wrong_is_an_error_that_names_its_event_and_no_text(ending: Event, kind: str) -> None:
    told = Told().append(1, session.CycleOpened(cycle=1), call("pay", 0)).append(1, ending, closing(1))
    span = named(told.spans(), "execute_tool pay")
    assert span.attributes[names.ERROR_TYPE] == kind
    assert span.error is not None
    assert span.error.endswith("see session/x@3")
    assert "Ada" not in str(told.spans())


def test_a_call_of_a_model_without_an_answer_is_an_error() -> None:
    asked = reason.Requested(endpoint="main", model="m", prompt="1" * 64)
    cut = reason.Unanswered(endpoint="main", model="m", kind="cut", attempts=2, error="it ended", status=200)
    told = Told().append(1, session.CycleOpened(cycle=1), asked).append(1, (500_000, cut), closing(1))
    chat = named(told.spans(), "chat m")
    assert chat.attributes[names.ERROR_TYPE] == "cut"
    assert chat.attributes[names.ATTEMPTS] == 2
    assert chat.end - chat.start == 500_000


def test_a_persons_leave_is_a_span_from_the_question_to_the_answer() -> None:
    effect, exactly, action = DIGESTS[0], "3" * 64, AskHuman(question="may I?")
    asked = execute.ApprovalAsked(effect=effect, arguments=exactly, action=action, why="above 100")
    given = execute.ApprovalGiven(effect=effect, arguments=exactly, granted=True, by="dora")
    told = Told().append(1, session.CycleOpened(cycle=1), asked)
    told.append(1, given).append(1, closing(1))
    approval = named(told.spans(), "approval")
    assert approval.attributes[names.GRANTED] is True
    assert approval.end - approval.start == 1_000_000
    assert "dora" not in str(told.spans())


def test_a_fork_is_linked_to_where_it_was_cut() -> None:
    parent = Told("session/p").append(0, opening()).append(1, session.CycleOpened(cycle=1), closing(1))
    cut = session.Forked(parent="session/p", at_version=3, at_hash="0" * 64)
    fork = Told("session/f", version=3, at=9_000_000).append(1, cut)
    fork.append(2, session.CycleOpened(cycle=2), closing(2)).append(3, session.CycleOpened(cycle=3), closing(3))
    first, second, whole = fork.spans(*parent.events)
    there = (trace_id("session/p", 1), cycle_span_id("session/p", 1))
    assert [(link.trace_id, link.span_id) for link in first.links] == [there]
    assert [(link.trace_id, link.span_id) for link in whole.links] == [there]
    assert second.links == []
    assert (first.name, whole.name) == ("invoke_agent errand", "session errand")


def opening() -> session.Opened:
    return session.Opened(
        scenario="errand",
        scenario_text="",
        scenario_digest="4" * 64,
        seed=1,
        environment="tools:",
        spaces={},
        versions={},
    )


def test_what_is_not_finished_is_shown_and_marked() -> None:
    told = Told().append(0, opening()).append(1, session.CycleOpened(cycle=1), call("pay", 0))
    spans = told.spans()
    assert drawn(spans) == ["invoke_agent errand", "  execute", "    execute_tool pay", "session errand"]
    assert [span.attributes.get(names.UNFINISHED) for span in spans] == [True, None, None, True]


def test_a_session_that_ends_within_a_cycle_ends_its_trace() -> None:
    told = Told().append(0, opening()).append(1, session.CycleOpened(cycle=1))
    told.append(1, session.Closed(reason="failed", error="the simulator fell over", cycles=0, state_hash="0" * 64))
    cycle, whole = told.spans()
    assert cycle.error == whole.error == "the session failed, see session/x@3"
    assert cycle.attributes[names.UNFINISHED] is True
    assert names.UNFINISHED not in whole.attributes


def test_content_that_is_not_here_leaves_a_span_of_what_its_header_says() -> None:
    told = Told().append(1, session.CycleOpened(cycle=1), call("pay", 0)).append(1, closing(1))
    events = [replace(event, encoding="withheld", payload=b"") for event in told.events]
    root, phase, effect = SpanFold(Held(events)).fold(events)
    assert (root.name, phase.name, effect.name) == ("invoke_agent", "execute", "act")
    assert root.attributes[names.WITHHELD] == 2


def test_a_type_of_a_newer_version_is_a_span_event() -> None:
    told = Told().append(1, session.CycleOpened(cycle=1), call("pay", 0), closing(1))
    events = [told.events[0], replace(told.events[1], type="execute.invented"), told.events[2]]
    _, phase = SpanFold(Held(events)).fold(events)
    assert [event.name for event in phase.events] == ["execute.invented"]


def test_one_cycle_of_a_session_is_found_in_its_log() -> None:
    events = list(read("maze.jsonl"))
    whole, held = golden("maze.jsonl"), Held(events)
    for cycle in range(7):
        assert list(session_spans(held, MAZE, cycle=cycle)) == [s for s in whole if s.trace_id == trace_id(MAZE, cycle)]
    assert list(session_spans(held, MAZE)) == whole
    assert list(session_spans(held, MAZE, cycle=99)) == []
    assert list(session_spans(held, "session/nobody")) == []


def test_a_training_is_a_trace_from_its_first_look_to_the_model() -> None:
    look = learn.TrainingProgressed(model="gate", run="7f", step=40, steps=100, loss=0.5, held_out=0.75)
    trained = learn.ModelTrained(
        model=f"gate@{'2' * 12}",
        from_position=0,
        to_position=9,
        data="1" * 64,
        config={},
        code="1",
        metrics={"loss": 0.5},
    )
    told = Told("model/gate").append(0, look).append(0, look)
    told.append(0, trained)
    told.events[-1] = replace(told.events[-1], command="trained.7f")
    (span,) = told.spans()
    assert span.name == "train gate"
    assert [event.attributes[names.TRAINING_STEP] for event in span.events] == [40, 40]
    assert span.attributes[f"{names.METRIC}.loss"] == 0.5
    assert (span.start, span.end) == (told.events[0].at, told.events[-1].at)
    assert SpanFold(Held(told.events)).fold(told.events[2:]) == [span]
