"""Why a session did what it did: everything a decision rests on, each with the event that says it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from runtime.errors import NotFound
from runtime.why import why
from telemetry.events import Draft, Event, execute, feel, reason, sense, session
from telemetry.events.values import (
    Appraisal,
    Ground,
    Hit,
    Message,
    Option,
    Playbook,
    Say,
    TextPart,
    ToolCall,
    ToolCalls,
    ToolResult,
    Usage,
    Wait,
    digest_of,
)
from telemetry.log import EventLog
from tests.local import Local

ZERO = "0" * 64
LAVA = (Path(__file__).parents[2] / "examples" / "lava.toml").read_text(encoding="utf-8")
FIND = ToolCalls(calls=(ToolCall(id="c1", tool="find_order", arguments={"order": "A-7"}),))
REFUND = ToolCalls(calls=(ToolCall(id="c2", tool="refund", arguments={"order": "A-7", "cents": 9900}),))
SORRY = Say(text="I cannot do that.")
PLAYBOOK = Playbook(name="careful", prompt="Be careful.")
SPENT = Usage(model_calls=1, input_tokens=1200, output_tokens=34, cost_usd=0.0042)

OPENED = session.Opened(
    scenario="shop",
    scenario_text="",
    scenario_digest=ZERO,
    seed=1,
    environment="tools:",
    spaces={},
    versions={},
    playbook=PLAYBOOK,
)
CYCLES: Sequence[Sequence[Event]] = (
    (
        sense.Observed(
            observations=(Message(role="user", parts=(TextPart(text="Refund\nA-7, please."),), id="m1"),), digest=ZERO
        ),
        sense.Recalled(
            embedder="words@1",
            query=ZERO,
            k=1,
            hits=(Hit(event="session/older@5", score=0.81, text="A-3 was refunded after approval"),),
        ),
        feel.Appraised(appraisal=Appraisal(of="request", verdict="allow"), constraints=("refund own orders only",)),
        reason.Requested(endpoint="main", model="m-large", prompt=ZERO, why="route 2 contains 'refund'"),
        reason.Answered(model="m-large", text="Let me look.", calls=FIND.calls, finish="tool_calls", usage=SPENT),
        reason.Proposed(proposal=0, action=FIND, arguments=digest_of(FIND), score=0.5, why="Let me look."),
        feel.Appraised(
            appraisal=Appraisal(of="proposal", proposal=0, arguments=digest_of(FIND), verdict="allow", grounds=())
        ),
        reason.Decided(
            proposal=0,
            action=FIND,
            arguments=digest_of(FIND),
            options=(Option(proposal=0, score=0.5, verdict="allow"),),
            why="Let me look.",
        ),
        execute.Intended(effect="a" * 64, action=FIND, arguments=digest_of(FIND), effect_class="read", proposal=0),
        execute.Dispatched(effect="a" * 64, executor="h/1", deadline=1),
        execute.Succeeded(effect="a" * 64, result=ToolResult(call="c1", tool="find_order", content={"cents": 9900})),
        session.CycleClosed(cycle=1, state_hash=ZERO, reducer=2, usage=SPENT),
    ),
    (
        sense.Observed(of=("session/s@13",), digest=ZERO),
        reason.Requested(endpoint="main", model="m-large", prompt=ZERO, specialist="clerk"),
        reason.Unanswered(endpoint="main", model="m-large", kind="rate_limited", status=429, attempts=4, error="busy"),
        reason.Proposed(proposal=0, action=REFUND, arguments=digest_of(REFUND)),
        feel.Appraised(
            appraisal=Appraisal(
                of="proposal",
                proposal=0,
                arguments=digest_of(REFUND),
                verdict="ask",
                grounds=(Ground(rule="limit", reason="more than 50 need leave"),),
            )
        ),
        feel.Inhibited(proposal=0, arguments=digest_of(REFUND), rules=("limit",)),
        feel.AlternativeOffered(instead_of=0, action=SORRY, why="more than 50 need leave"),
        reason.Decided(
            proposal=0,
            action=REFUND,
            arguments=digest_of(REFUND),
            options=(Option(proposal=0, verdict="ask"),),
            why="it is due",
        ),
        execute.ApprovalAsked(effect="b" * 64, action=REFUND, arguments=digest_of(REFUND), why="limit: more than 50"),
        execute.ApprovalGiven(effect="b" * 64, arguments=digest_of(REFUND), granted=True, by="ann", why="known client"),
        execute.Intended(effect="b" * 64, action=REFUND, arguments=digest_of(REFUND), effect_class="unsafe"),
        execute.UnknownOutcome(effect="b" * 64, why="its host died"),
        session.CycleClosed(cycle=2, state_hash=ZERO, reducer=2),
    ),
    (
        sense.Observed(digest=ZERO),
        reason.Decided(action=Wait(), arguments=digest_of(Wait()), why="there is nothing to do"),
        execute.Reconciled(effect="b" * 64, cycle=2, happened=True, by="ann", why="the bank says so"),
    ),
)


@pytest.fixture
def told(log: EventLog) -> EventLog:
    """A log with the session `s`: one look, one refund that needed leave and whose outcome was found out later."""
    drafts = [Draft(event=OPENED, command="open")]
    for number, events in enumerate(CYCLES, start=1):
        drafts.append(Draft(event=session.CycleOpened(cycle=number), command=f"{number}.open", cycle=number))
        drafts += [Draft(event=event, command=f"{number}.{i}", cycle=number) for i, event in enumerate(events)]
    log.append("session/s", drafts, expected_version=0, epoch=1)
    return log


def test_the_first_decision_tells_what_was_heard_recalled_asked_weighed_done_and_paid(told: EventLog) -> None:
    assert why(told, "s", event="session/s@10").lines() == [
        "session s, cycle 1",
        f"playbook   {PLAYBOOK.id}  [session/s@1]",
        "heard      Refund A-7, please.  [session/s@3]",
        "recalled   A-3 was refunded after approval (session/older@5, likeness 0.81)  [session/s@4]",
        "bound by   refund own orders only  [session/s@5]",
        "asked      m-large at main: route 2 contains 'refund'  [session/s@6]",
        "answered   m-large: Let me look. and 1 calls (1,200 tokens in, 34 out, $0.0042)  [session/s@7]",
        'option     0. find_order(order="A-7"): Let me look., score 0.5  [session/s@8]',
        "judged     option 0: allow  [session/s@9]",
        'chose      find_order(order="A-7"): Let me look. (of: 0 allow)  [session/s@10]',
        'did        find_order(order="A-7") (read, effect aaaaaaaaaaaa)  [session/s@11]',
        'outcome    find_order answered {"cents":9900}  [session/s@13]',
        "cost       1,200 tokens in, 34 out, $0.0042  [session/s@14]",
    ]


def test_a_decision_that_needed_leave_tells_the_rule_the_answer_and_what_was_found_out(told: EventLog) -> None:
    lines = why(told, "s", event="session/s@25").lines()
    for line in (
        "heard      Refund A-7, please.  [session/s@3]",
        'knew       find_order answered {"cents":9900} (session/s@13)  [session/s@16]',
        "asked      m-large at main for clerk  [session/s@17]",
        "no answer  m-large at main, 4 attempts: busy  [session/s@18]",
        "judged     option 0: ask; limit: more than 50 need leave  [session/s@20]",
        "held back  option 0, by limit  [session/s@21]",
        "instead    say 'I cannot do that.': more than 50 need leave  [session/s@22]",
        'question   refund(cents=9900, order="A-7"): limit: more than 50  [session/s@24]',
        "allowed    by ann: known client  [session/s@25]",
        "outcome    whether it happened is unknown: its host died  [session/s@27]",
        "found out  it happened: the bank says so (ann)  [session/s@32]",
    ):
        assert line in lines, line


def test_without_an_event_it_is_the_last_decision(told: EventLog) -> None:
    assert why(told, "s").cycle == 3
    assert "chose      wait: there is nothing to do  [session/s@31]" in why(told, "s").lines()


@pytest.mark.parametrize("event", ["3", "10", "14", "session/s@2", "session/s@13"])
def test_any_event_of_a_cycle_leads_to_its_decision(told: EventLog, event: str) -> None:
    assert why(told, "s", event=event).decision == "session/s@10"


@pytest.mark.parametrize("event", ["1", "0", "999", "session/other@10", "session/s@999"])
def test_an_event_without_a_decision_is_not_found(told: EventLog, event: str) -> None:
    with pytest.raises(NotFound):
        why(told, "s", event=event)


def test_a_session_of_a_simulator_is_told_by_the_same_words(log: EventLog, local: Local) -> None:
    local.run("lava", LAVA, seed=11, cycles=5)
    held = next(iter(log.read("session/lava", types=("feel.inhibited",))))
    lines = why(log, "lava", event=held.id).lines()
    assert any(line.startswith("held back  option") for line in lines)
    assert any(line.startswith("chose      move") for line in lines)
    assert all(line.endswith("]") for line in lines[1:])
