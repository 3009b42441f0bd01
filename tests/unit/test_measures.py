"""What counts for what: metrics as they follow from events, counted by hand and by the fold."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.events import Draft, Event, execute, feel, learn, reason, sense, session
from telemetry.events.values import Action, Move, ToolCall, ToolCalls, Usage, digest_of
from telemetry.log import EventLog, open_log
from telemetry.log.projection.project import Projected
from telemetry.otel import names
from telemetry.otel.content import Content
from telemetry.otel.measures.fold import Live, Measures, count, totals_of
from telemetry.otel.measures.totals import SERIES_KEPT, VALUES_KEPT, Spread, Totals, attributes
from telemetry.otel.names import Measure
from telemetry.otel.spans import SpanFold
from tests.golden.test_golden import FAITHFUL, SESSIONS, read

NONE = "0" * 64
MS = 1_000_000


def opened(scenario: str = "refund") -> session.Opened:
    return session.Opened(
        scenario=scenario,
        scenario_text="",
        scenario_digest=NONE,
        seed=0,
        environment="null:",
        spaces={},
        versions={},
    )


def closed(cycle: int) -> session.CycleClosed:
    return session.CycleClosed(cycle=cycle, state_hash=NONE, reducer=1)


def call(tool: str) -> ToolCalls:
    return ToolCalls(calls=(ToolCall(id="1", tool=tool, arguments={}),))


def intended(action: Action, *, effect: str = "a") -> execute.Intended:
    return execute.Intended(effect=effect * 64, action=action, arguments=digest_of(action), effect_class="read")


class Writer:
    """Appends events of one session, one command each; `ns` is how long it took to come to them."""

    def __init__(self, log: EventLog, stream: str = "session/a") -> None:
        self._log, self._stream = log, stream
        self._version, self._command = 0, 0
        self.cycle = 0

    def say(self, *events: Event, ns: int = 0) -> None:
        self._command += 1
        drafts = [
            Draft(
                event=event,
                command=str(self._command),
                ordinal=ordinal,
                cycle=self.cycle,
                elapsed_ns=0 if ordinal else ns,
            )
            for ordinal, event in enumerate(events)
        ]
        self._log.append(self._stream, drafts, expected_version=self._version, epoch=1)
        self._version += len(events)

    def open(self) -> None:
        self.cycle += 1
        self.say(session.CycleOpened(cycle=self.cycle))

    def close(self) -> None:
        self.say(closed(self.cycle))


def totals(log: EventLog) -> Totals:
    with Projected(log, Measures()) as projected:
        projected.catch_up()
        with projected.rows() as (_, rows):
            return totals_of(rows)


def number(found: Totals, measure: Measure, *labels: str | None) -> float:
    return found.numbers[measure.name][labels]


def spread(found: Totals, measure: Measure, *labels: str | None) -> Spread:
    return found.spreads[measure.name][labels]


def test_sessions_cycles_and_events_are_counted_by_the_scenario_and_never_by_the_session(log: EventLog) -> None:
    writers = [Writer(log, f"session/{name}") for name in "abc"]
    for writer in writers:
        writer.say(opened())
        for _ in range(2):
            writer.open()
            writer.close()
    writers[-1].say(session.Closed(reason="done", cycles=2, state_hash=NONE))
    found = totals(log)
    assert found.numbers[names.SESSION_COUNT.name] == {("refund", "opened"): 3, ("refund", "done"): 1}
    assert found.numbers[names.CYCLE_COUNT.name] == {("refund",): 6}
    assert found.numbers[names.EVENT_COUNT.name] == {("session",): 16}
    assert spread(found, names.CYCLE_S, "refund").count == 6


def test_a_phase_lasts_as_long_as_its_commands_in_a_cycle_took(log: EventLog) -> None:
    writer = Writer(log)
    writer.say(opened())
    writer.open()
    writer.say(sense.Observed(digest=NONE), ns=2 * MS)
    writer.say(feel.Felt(valence=0, arousal=0), ns=1 * MS)
    writer.say(reason.Proposed(proposal=0, action=Move(to=1), arguments=NONE), ns=3 * MS)
    writer.say(reason.Decided(action=Move(to=1), arguments=NONE, why="best"), ns=4 * MS)
    writer.close()
    found = totals(log)
    assert {labels: (one.count, one.total) for labels, one in found.spreads[names.PHASE_S.name].items()} == {
        ("refund", "sense"): (1, 0.002),
        ("refund", "feel"): (1, 0.001),
        ("refund", "reason"): (1, 0.007),
    }
    assert spread(found, names.PHASE_S, "refund", "reason").counts[names.SHORT_S.index(0.01)] == 1


def test_a_cycle_lasts_from_its_first_command_on_but_never_from_before_what_came_before(log: EventLog) -> None:
    writer = Writer(log)
    writer.say(opened())
    writer.cycle = 1
    writer.say(session.CycleOpened(cycle=1), ns=3_600_000 * MS)  # a command cannot have begun before the session
    writer.close()
    lasted = spread(totals(log), names.CYCLE_S, "refund")
    events = [*log.read("session/a")]
    assert lasted.total == (events[2].at - events[0].at) / 1e9


def test_surprise_and_reward_of_either_sign_have_totals_of_their_own(log: EventLog) -> None:
    writer = Writer(log)
    writer.say(opened())
    for nats, reward in ((-1.5, -2.0), (0.5, 0.5)):
        writer.open()
        writer.say(sense.Surprised(error=1, nats=nats, percentile=0.5, model="linear@1"))
        writer.say(learn.Rewarded(reward=reward, episode_return=0, ends_episode=reward > 0, success=True))
        writer.close()
    found = totals(log)
    surprise, reward_ = spread(found, names.SURPRISE_NATS, "refund"), spread(found, names.REWARD_SIZE, "refund")
    assert (surprise.count, surprise.least, surprise.most) == (2, -1.5, 0.5)
    assert surprise.counts[names.NATS.index(-1.0)] == 1
    assert surprise.counts[names.NATS.index(0.5)] == 1, "a bucket includes its bound"
    assert (number(found, names.SURPRISE_NET, "refund"), number(found, names.REWARD_NET, "refund")) == (-1.0, -1.5)
    assert reward_.count == 2
    assert found.numbers[names.EPISODE_COUNT.name] == {("refund", "succeeded"): 1}


def test_effects_are_counted_by_what_became_of_them_and_calls_of_tools_are_timed(log: EventLog) -> None:
    writer = Writer(log)
    writer.say(opened())
    writer.open()
    writer.say(intended(Move(to=1), effect="a"), intended(call("pay"), effect="b"), intended(call("pay"), effect="c"))
    writer.say(execute.Succeeded(effect="a" * 64), ns=MS)
    writer.say(execute.Failed(effect="b" * 64, kind="timeout", error="late"), ns=20 * MS)
    writer.say(execute.UnknownOutcome(effect="c" * 64, why="killed"))
    writer.close()
    writer.say(execute.Reconciled(effect="c" * 64, cycle=1, happened=True, by="ada", why="seen"))
    found = totals(log)
    assert found.numbers[names.EFFECT_COUNT.name] == {
        ("refund", "move", "read", "succeeded"): 1,
        ("refund", "tool_calls", "read", "failed"): 1,
        ("refund", "tool_calls", "read", "unknown"): 1,
        ("refund", "tool_calls", "read", "reconciled"): 1,
    }
    assert found.spreads[names.TOOL_S.name].keys() == {("refund", "pay", "timeout"), ("refund", "pay", "unknown")}
    assert spread(found, names.TOOL_S, "refund", "pay", "timeout").total == 0.02


def test_what_is_asked_of_people_and_given_up_is_counted(log: EventLog) -> None:
    writer = Writer(log)
    writer.say(opened())
    writer.open()
    writer.say(feel.Inhibited(proposal=0, arguments=NONE, rules=("no-harm", "no-theft")))
    asked = execute.ApprovalAsked(effect="a" * 64, action=call("pay"), arguments=NONE, why="money")
    writer.say(asked)
    writer.say(execute.ApprovalGiven(effect="a" * 64, arguments=NONE, granted=False, by="ada"))
    writer.say(execute.Cancelled(effect="a" * 64, why="denied"))
    found = totals(log)
    assert found.numbers[names.INHIBITION_COUNT.name] == {("refund", "no-harm"): 1}
    assert found.numbers[names.APPROVAL_COUNT.name] == {("refund", "asked"): 1, ("refund", "denied"): 1}
    assert found.numbers[names.EFFECT_COUNT.name] == {("refund", "tool_calls", None, "cancelled"): 1}


def test_a_models_calls_have_their_duration_tokens_and_cost(log: EventLog) -> None:
    usage = Usage(model_calls=1, input_tokens=900, output_tokens=30, cost_usd=0.25)
    writer = Writer(log)
    writer.say(opened())
    writer.open()
    writer.say(
        reason.Requested(call=0, endpoint="big", model="m", prompt=NONE),
        reason.Requested(call=1, endpoint="big", model="m", prompt=NONE),
    )
    writer.say(
        reason.Answered(call=0, model="m-2026", finish="stop", text="yes", usage=usage),
        reason.Unanswered(call=1, endpoint="big", model="m", kind="timeout", error="late"),
        ns=300 * MS,
    )
    found = totals(log)
    named = ("chat", "openai", "m", "m-2026")
    took = spread(found, names.MODEL_S, *named, None)
    assert (took.count, took.total, took.counts[names.CALL_S.index(0.32)]) == (1, 0.3, 1)
    requested, unanswered = (
        next(log.read("session/a", types=[f"reason.{what}"])) for what in ("requested", "unanswered")
    )
    since = (
        unanswered.at - requested.at
    ) / 1e9  # a command that came to several events says how long it took at the first
    assert spread(found, names.MODEL_S, "chat", "openai", "m", "m", "timeout").total == since
    assert spread(found, names.MODEL_TOKENS, *named, "input").total == 900
    assert spread(found, names.MODEL_TOKENS, *named, "output").counts[names.TOKENS.index(64)] == 1
    assert number(found, names.MODEL_COST_USD, "refund", "m-2026") == 0.25


def test_a_fork_counts_for_the_scenario_of_its_parent_and_what_it_shares_counts_once(log: EventLog) -> None:
    writer = Writer(log)
    writer.say(opened())
    writer.open()
    writer.close()
    at = log.head("session/a")
    assert at is not None
    forked = session.Forked(parent="session/a", at_version=at.version, at_hash=at.hash.hex())
    log.append("session/b", [Draft(event=forked, command="fork")], expected_version=at.version, epoch=1)
    found = totals(log)
    assert found.numbers[names.SESSION_COUNT.name] == {("refund", "opened"): 1, ("refund", "forked"): 1}
    assert found.numbers[names.CYCLE_COUNT.name] == {("refund",): 1}


def test_values_beyond_those_that_are_told_apart_are_one_series(log: EventLog) -> None:
    found = Totals()
    for number_ in range(VALUES_KEPT + 10):
        found.add(names.CYCLE_COUNT, f"agent-{number_}")
    series = found.numbers[names.CYCLE_COUNT.name]
    assert len(series) == VALUES_KEPT + 1
    assert series[names.OTHER,] == 10
    found.add(names.CYCLE_COUNT, "agent-0")
    assert series["agent-0",] == 2


def test_series_beyond_the_limit_are_the_overflow() -> None:
    found = Totals()
    for agent in range(VALUES_KEPT):
        for tool in range(VALUES_KEPT):
            found.record(names.TOOL_S, f"agent-{agent}", f"tool-{tool}", None, value=1)
    series = found.spreads[names.TOOL_S.name]
    assert len(series) == SERIES_KEPT + 1
    assert sum(one.count for one in series.values()) == VALUES_KEPT**2
    assert {names.OVERFLOW: True} in [attributes(names.TOOL_S, labels) for labels in series]


@given(st.lists(st.tuples(st.floats(-1e9, 1e9), st.sampled_from("abc")), max_size=40), st.integers(0, 40))
def test_totals_that_are_taken_up_again_go_on_as_if_they_had_never_been_put_down(
    values: Sequence[tuple[float, str]], cut: int
) -> None:
    whole, first = Totals(), Totals()
    for at, (value, agent) in enumerate(values):
        if at == cut:
            first = Totals.taken_up(first.kept())
        for found in (whole, first):
            found.record(names.REWARD_SIZE, agent, value=value)
            found.add(names.REWARD_NET, agent, value=value)
    assert first == whole


@pytest.mark.parametrize("name", FAITHFUL)
def test_a_recorded_session_gives_the_same_totals_wherever_its_batches_are_cut(name: str, tmp_path: Path) -> None:
    with closing(open_log(tmp_path / "whole.db")) as whole, closing(open_log(tmp_path / "cut.db")) as cut:
        for number_, event in enumerate(read(name)):
            for log in (cut, whole):
                log.restore([event]).result()
            if number_ % 7 == 0:
                totals(cut)
        assert totals(cut) == totals(whole)


def test_content_that_is_withheld_counts_by_what_its_header_says(log: EventLog) -> None:
    writer = Writer(log)
    writer.say(opened())
    writer.open()
    writer.say(sense.Surprised(error=1, nats=1, percentile=0.5, model="linear@1"))
    writer.close()
    found, live = Totals(), Live()
    for event in log.read("session/a"):
        event.__dict__["encoding"] = "aes-gcm"
        count(found, live, event)
    assert found.numbers[names.CYCLE_COUNT.name] == {(None,): 1}
    assert names.SURPRISE_NATS.name not in found.spreads


@pytest.mark.parametrize("name", SESSIONS)
@pytest.mark.parametrize(
    ("measure", "span"),
    [(names.CYCLE_S, names.INVOKE_AGENT), (names.TOOL_S, names.EXECUTE_TOOL), (names.MODEL_S, names.CHAT)],
)
def test_what_is_measured_lasts_as_long_as_its_spans(log: EventLog, name: str, measure: Measure, span: str) -> None:
    for event in read(name):
        log.restore([event]).result()
    spans = [one for one in SpanFold(log, content=Content()).fold(log.read_all()) if one.name.startswith(f"{span} ")]
    found = totals(log).spreads.get(measure.name, {}).values()
    assert sum(one.count for one in found) == len(spans)
    assert sum(one.total for one in found) == pytest.approx(sum(one.end - one.start for one in spans) / 1e9)
