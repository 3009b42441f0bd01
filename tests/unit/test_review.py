"""What a session came to, counted by hand and by the review."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from loops.review import review
from loops.tally import KEPT, MOST, OTHER, PIECES, Series, Table
from telemetry.events import Draft, Event, Recorded, execute, feel, learn, reason, sense, session
from telemetry.events.values import (
    Action,
    AskHuman,
    Feedback,
    Move,
    Option,
    Playbook,
    Say,
    ToolCall,
    ToolCalls,
    ToolResult,
    Usage,
    Wait,
    digest_of,
)
from telemetry.log import EventLog
from tests.golden.test_golden import read

NONE = "0" * 64
PLAYBOOK = Playbook(name="refunds", prompt="Ask for the order first.")
MS = 1_000_000


def call(id_: str, tool: str, **arguments: JsonValue) -> ToolCall:
    return ToolCall(id=id_, tool=tool, arguments=arguments)


def opened() -> session.Opened:
    return session.Opened(
        scenario="refund",
        scenario_text="",
        scenario_digest=NONE,
        seed=0,
        environment="tools:",
        spaces={},
        versions={},
        playbook=PLAYBOOK,
    )


def asked(call_: int = 0, specialist: str = "", endpoint: str = "big") -> reason.Requested:
    return reason.Requested(call=call_, specialist=specialist, endpoint=endpoint, model="m", prompt=NONE)


def answered(text: str = "", *calls: ToolCall, call_: int = 0) -> reason.Answered:
    usage = Usage(model_calls=1, input_tokens=100, output_tokens=10, cost_usd=0.001)
    return reason.Answered(call=call_, model="m", text=text, calls=calls, finish="stop", usage=usage)


def proposed(action: Action, proposal: int = 0, why: str = "said") -> reason.Proposed:
    return reason.Proposed(proposal=proposal, action=action, arguments=digest_of(action), why=why)


def decided(action: Action, proposal: int | None, *, options: Sequence[Option] = (), why: str = "") -> reason.Decided:
    return reason.Decided(
        proposal=proposal, action=action, arguments=digest_of(action), options=tuple(options), why=why
    )


def intended(key: int, action: Action, ordinal: int = 0) -> execute.Intended:
    arguments = digest_of(action)
    effect = f"{key:064x}"
    return execute.Intended(effect=effect, action=action, arguments=arguments, effect_class="keyed", ordinal=ordinal)


def of(key: int) -> str:
    return f"{key:064x}"


def write(log: EventLog, cycles: Sequence[Sequence[tuple[Event, int] | Event]]) -> Iterator[Recorded]:
    """The session whose cycles hold these events, each alone or with the nanoseconds it took."""
    drafts: list[Draft] = [Draft(event=opened(), command="open")]
    for number, events in enumerate(cycles, start=1):
        closing = session.CycleClosed(cycle=number, state_hash=NONE, reducer=1)
        for event in (session.CycleOpened(cycle=number), *events, closing):
            fact, elapsed_ns = event if isinstance(event, tuple) else (event, 0)
            drafts.append(Draft(event=fact, command=f"c{len(drafts)}", cycle=number, elapsed_ns=elapsed_ns))
    log.append("session/made-up", drafts, expected_version=0, epoch=1)
    return log.read("session/made-up")


BOB = ToolCalls(calls=(call("a", "refund", customer="bob"),))
LOOK, MAIL = call("b", "find_order", order=7), call("c", "email", to="ada")
AGAIN = ToolCalls(calls=(call("d", "find_order", order=7),))
REFUND = ToolCalls(calls=(call("e", "refund", order=7),))
OFFER = Say(text="I can refund your own orders.")

CONVERSATION: Sequence[Sequence[tuple[Event, int] | Event]] = (
    (  # a refund for somebody else is refused, and the heart's own offer is said
        asked(specialist="clerk"),
        answered("", *BOB.calls),
        proposed(BOB),
        feel.Inhibited(proposal=0, arguments=digest_of(BOB), rules=("own",)),
        decided(OFFER, None, options=(Option(proposal=0, verdict="refuse"),)),
        intended(1, OFFER),
        (execute.Succeeded(effect=of(1)), 2 * MS),
    ),
    (  # no model answers
        asked(),
        reason.Unanswered(endpoint="big", model="m", kind="timeout", error="30 s", usage=Usage(input_tokens=40)),
        decided(Wait(), None),
    ),
    (  # two calls at once, allowed by a person: one fails, of the other nothing is known
        asked(0, "clerk"),
        asked(1, "poet"),
        answered(""),  # a specialist who has nothing to say makes no proposal
        answered("", LOOK, MAIL, call_=1),
        proposed(ToolCalls(calls=(LOOK, MAIL))),
        decided(ToolCalls(calls=(LOOK, MAIL)), 0, options=(Option(proposal=0, verdict="ask"),)),
        execute.ApprovalAsked(effect=of(2), action=BOB, arguments=NONE, why="mail"),
        execute.ApprovalGiven(effect=of(2), arguments=NONE, granted=True, by="eve"),
        intended(2, ToolCalls(calls=(LOOK,))),
        intended(3, ToolCalls(calls=(MAIL,)), ordinal=1),
        (execute.Failed(effect=of(2), kind="raised", error="no shop"), 3 * MS),
        (execute.UnknownOutcome(effect=of(3), ordinal=1, why="cut"), 5 * MS),
    ),
    (  # the failed call again, and the mail turns out to have gone
        asked(),
        answered("", *AGAIN.calls),
        proposed(AGAIN),
        decided(AGAIN, 0),
        learn.Corrected(retry_of="session/made-up@31", why="again"),
        intended(4, AGAIN),
        (execute.Succeeded(effect=of(4), result=ToolResult(call="d", tool="find_order")), 6 * MS),
        execute.Reconciled(effect=of(3), cycle=3, ordinal=1, happened=True, by="eve", why="it is in the outbox"),
        learn.FeedbackReceived(feedback=Feedback(text="and now?"), implicit=True),
        learn.FeedbackReceived(feedback=Feedback(rating=1)),
    ),
    (  # a person says no
        asked(),
        answered("", *REFUND.calls),
        proposed(REFUND),
        decided(REFUND, 0, options=(Option(proposal=0, verdict="ask"),)),
        execute.ApprovalAsked(effect=of(5), action=REFUND, arguments=NONE, why="much"),
        execute.ApprovalGiven(effect=of(5), arguments=NONE, granted=False, by="eve"),
        execute.Cancelled(effect=of(5), why="eve did not allow it"),
        learn.FeedbackReceived(feedback=Feedback(rating=-1, text="too slow")),
        learn.FeedbackReceived(feedback=Feedback(text="hm")),
    ),
)


def action(mean_ms: float | None = None, **counts: int) -> dict[str, object]:
    zero = dict.fromkeys(("tried", "succeeded", "failed", "unknown", "cancelled", "held_back"), 0)
    return {**zero, **counts, "mean_ms": mean_ms}


def test_a_conversation_is_counted_as_it_is_counted_by_hand(log: EventLog) -> None:
    reviewed = review(write(log, CONVERSATION))
    assert reviewed.figures == {
        "cycles": 5,
        "by_action": {
            "email": action(5.0, tried=1, succeeded=1),
            "find_order": action(4.5, tried=2, succeeded=1, failed=1),
            "refund": action(cancelled=1, held_back=1),
            "say": action(2.0, tried=1, succeeded=1),
        },
        "strategies": {"endpoint big": 2, f"playbook {PLAYBOOK.id}": 3, "specialist poet": 1},
        "success": {"first_half": 0.5, "second_half": 1.0, "change": 0.5},
        "surprise": {"first_half": None, "second_half": None, "change": None},
        "rewards": {"count": 0, "total": 0.0, "first_half": None, "second_half": None, "change": None},
        "episodes": {"ended": 0, "succeeded": 0},
        "retries": {"repeated": 1, "corrected": 1},
        "approvals": {"asked": 2, "granted": 1, "denied": 1},
        "feedback": {"good": 1, "bad": 1, "words": 1, "implicit": 1},
        "model": {
            "calls": 6,
            "input_tokens": 540,
            "output_tokens": 50,
            "cost_usd": 0.005,
            "unanswered": {"timeout": 1},
        },
        "refused": 1,
    }
    assert reviewed.summary == (
        "5 cycles, 4 actions: 3 succeeded, 1 failed, 1 cancelled, 1 held back. "
        "From the first half to the second, success went from 50 to 100 % (+50). "
        "Models were asked 6 times: 540 tokens in, 50 out, 0.005 USD."
    )


def test_a_maze_is_counted_as_it_is_counted_by_hand() -> None:
    reviewed = review(read("maze.jsonl"))
    figures = reviewed.figures
    # by hand: (1136738 + 1440549 + 1146053 + 710527 + 1073086 + 665881) / 6 ns
    assert figures["by_action"] == {"move": action(1.028806, tried=6, succeeded=6)}
    assert figures["strategies"] == {"explore": 6}
    # by hand: cycles 2 and 3 against 4, 5 and 6
    first, second = (
        (1.768859638811466 + 1.8513288951208333) / 2,
        (1.3185662731344003 + 1.524040968808866 + 0.3892602256912401) / 3,
    )
    assert figures["surprise"] == {
        "first_half": round(first, 6),
        "second_half": round(second, 6),
        "change": round(second - first, 6),
    }
    assert figures["rewards"] == {"count": 6, "total": 0.0, "first_half": 0.0, "second_half": 0.0, "change": 0.0}
    assert reviewed.summary == (
        "6 cycles, 6 actions: 6 succeeded. From the first half to the second, success stayed at 100 %, "
        "surprise went from 1.81 to 1.08 nats (-0.733), reward stayed at 0."
    )


def test_discrete_moves_are_told_apart_and_what_is_held_back_is_named() -> None:
    figures = review(read("lava.jsonl")).figures
    moves = figures["by_action"]
    assert isinstance(moves, dict)
    assert list(moves) == ["move 0", "move 2", "move 4", "move 6"]
    assert moves["move 2"] == action(held_back=2)
    assert figures["strategies"] == {"explore": 5}, "what was held back before is no strategy of its own"


def test_the_same_log_gives_the_same_review(log: EventLog) -> None:
    first = review(write(log, CONVERSATION))
    assert review(log.read("session/made-up")) == first


def test_a_session_in_which_nothing_happened_has_figures_and_a_sentence(log: EventLog) -> None:
    reviewed = review(write(log, ()))
    assert reviewed.figures["cycles"] == 0
    assert reviewed.summary == "0 cycles, 0 actions: nothing came of them. The halves cannot be compared."


def test_rewards_and_ended_episodes_are_counted(log: EventLog) -> None:
    def step(reward: float, success: bool | None = None) -> learn.Rewarded:
        ends = success is not None
        return learn.Rewarded(reward=reward, episode_return=reward, success=success, ends_episode=ends)

    cycles = [[step(1.0)], [step(0.5, success=True)], [step(-1.0, success=False)], [step(0.0)]]
    figures = review(write(log, cycles)).figures
    assert figures["rewards"] == {"count": 4, "total": 0.5, "first_half": 0.75, "second_half": -0.5, "change": -1.25}
    assert figures["episodes"] == {"ended": 2, "succeeded": 1}


def test_a_fork_is_halved_by_the_cycles_it_has_itself(log: EventLog) -> None:
    nats = {101: 4.0, 102: 2.0, 103: 1.0, 104: 1.0}
    drafts = [
        Draft(
            event=sense.Surprised(error=0.0, nats=nats[cycle], percentile=0.0, model="m@1"),
            command=f"c{cycle}",
            cycle=cycle,
        )
        for cycle in nats
    ]
    log.append("session/fork", drafts, expected_version=0, epoch=1)
    figures = review(log.read("session/fork")).figures
    assert figures["surprise"] == {"first_half": 3.0, "second_half": 1.0, "change": -2.0}


def test_only_the_most_frequent_actions_are_named_and_nothing_is_lost(log: EventLog) -> None:
    made = [Move(to=index) for index in range(MOST + 10) for _ in range(1 + (index < MOST))]
    events = [intended(key, move) for key, move in enumerate(made)]
    figures = review(write(log, [events, [intended(9999, AskHuman(question="?"))]])).figures
    by_action = figures["by_action"]
    assert isinstance(by_action, dict)
    assert len(by_action) == MOST + 1
    assert by_action[OTHER] == action(tried=11)
    assert all(by_action[f"move {index}"] == action(tried=2) for index in range(MOST))


def test_names_that_a_model_makes_up_take_bounded_room() -> None:
    table = Table("n")
    for number in range(3 * KEPT):
        table.add(f"{number} {'x' * 500}", "n")
    rows = table.most()
    assert len(rows) == MOST + 1
    assert sum(row["n"] for _, row in rows) == 3 * KEPT == table.total("n")
    assert all(len(name) <= 80 for name, _ in rows)


@given(values=st.lists(st.integers(-1000, 1000), min_size=1, max_size=PIECES))
def test_halves_are_exact_up_to_so_many_cycles(values: list[int]) -> None:
    series = Series()
    for cycle, value in enumerate(values, start=1):
        series.add(cycle, value)
    middle = (len(values) + 1) // 2
    first, second = values[:middle], values[middle:]
    assert series.halves(len(values)) == (sum(first) / len(first), sum(second) / len(second) if second else None)


@pytest.mark.parametrize("cycles", [PIECES + 1, 1000, 100_003])
def test_halves_of_a_long_session_are_near_and_nothing_is_lost(cycles: int) -> None:
    series = Series()
    for cycle in range(1, cycles + 1):
        series.add(cycle, cycle)
    first, second = series.halves(cycles)
    assert first == pytest.approx(cycles / 4, rel=0.05)
    assert second == pytest.approx(cycles * 3 / 4, rel=0.05)
    assert (series.count, series.total) == (cycles, cycles * (cycles + 1) / 2)
