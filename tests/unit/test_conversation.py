"""A conversation from the first message to the last: the real runner, reasoner, tools and endpoint, no Ray."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loops.spaces import Spaces, ToolActions
from runtime.people.approvals import append_answer
from runtime.playbooks import write
from runtime.replay import replay
from telemetry.events import execute, feel, learn, reason, sense, session
from telemetry.events.values import Message, Playbook, Say, ToolCalls
from tests import till
from tests.local import Local, folded
from tests.model_server import ModelServer, answers, call, calls, choice, says

SCENARIO = """
name = "counter"

[environment]
id = "tools:"
[environment.tools]
modules = ["tests.till"]

[reasoner]
kind = "language"
[reasoner.language.endpoints.main]
model = "test-model"
base_url = "{url}"
retries = 0
timeout_s = 60

[conversation]
person = "ada"
messages = {messages}

[world_model]
kind = "none"
[memory]
recall = 0

[heart]
on_ask = "wait"
[[heart.rules]]
id = "big"
verdict = "ask"
tools = ["pay"]
reason = "large payments need leave"
where = {{ amount = {{ above = 100 }} }}
[[heart.rules]]
id = "known"
tools = ["pay"]
reason = "mallory is never paid"
where = {{ to = {{ is = "mallory" }} }}
"""


def scenario(server: ModelServer, *messages: str) -> str:
    return SCENARIO.format(url=server.url, messages=json.dumps(messages))


def asks(tool: str, call_id: str = "call_1", **arguments: Any) -> Any:  # noqa: ANN401  JSON
    return call(tool, json.dumps(arguments), call_id=call_id)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _till(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILL", str(tmp_path / "till"))


def test_a_message_becomes_calls_and_an_answer_and_every_step_is_an_event(local: Local, server: ModelServer) -> None:
    server.will(
        calls(asks("look", item="tea"), text="Let me see."),
        calls(asks("pay", "call_2", to="bob", amount=3)),
        says("Paid."),
    )
    row = local.run("s", scenario(server, "buy tea"))
    assert (row.status, row.outcome, row.cycles) == ("closed", "done", 3)
    assert [line.split()[:2] for line in till.ledger()] == [["pay", "bob"]]
    second = [r.type for r in local.events("s") if r.cycle == 2]
    assert second == [
        "session.cycle_opened",
        "sense.observed",
        "feel.felt",
        "feel.appraised",
        "reason.requested",
        "reason.answered",
        "reason.proposed",
        "feel.appraised",
        "reason.decided",
        "execute.intended",
        "execute.dispatched",
        "execute.succeeded",
        "session.cycle_closed",
    ]
    (looked,) = (r for r in local.events("s", "execute.succeeded") if r.cycle == 1)
    (after,) = (r.event for r in local.events("s", "sense.observed") if r.cycle == 2)
    assert isinstance(after, sense.Observed)
    assert after.of == (looked.id,)
    assert server.sent[-1].body["messages"][1:] == [
        {"role": "user", "content": "buy tea"},
        {"role": "assistant", "content": "Let me see.", "tool_calls": [_wire("look", {"item": "tea"})]},
        {"role": "tool", "tool_call_id": "call_1", "content": '{"item":"tea","price":3}'},
        {"role": "assistant", "content": None, "tool_calls": [_wire("pay", {"amount": 3, "to": "bob"}, "call_2")]},
        {"role": "tool", "tool_call_id": "call_2", "content": '"paid bob"'},
    ]


def _wire(tool: str, arguments: dict[str, Any], call_id: str = "call_1") -> dict[str, Any]:
    written = json.dumps(arguments, separators=(",", ":"))
    return {"id": call_id, "type": "function", "function": {"name": tool, "arguments": written}}


def test_parallel_calls_each_have_their_intent_and_outcome(local: Local, server: ModelServer) -> None:
    both = calls(asks("look", "a", item="tea"), asks("fall_over", "b"), asks("pay", "c", to="bob", amount=1))
    server.will(both, says("done"))
    local.run("s", scenario(server, "go"))
    intended = [r.event for r in local.events("s", "execute.intended") if r.cycle == 1]
    assert [e.ordinal for e in intended if isinstance(e, execute.Intended)] == [0, 1, 2]
    assert [e.effect_class for e in intended if isinstance(e, execute.Intended)] == ["read", "read", "keyed"]
    outcomes = [r.event for r in local.events("s", "execute.succeeded", "execute.failed") if r.cycle == 1]
    became = {e.ordinal: e.type for e in outcomes if isinstance(e, execute.Succeeded | execute.Failed)}
    assert became == {0: "execute.succeeded", 1: "execute.failed", 2: "execute.succeeded"}
    told = [m["tool_call_id"] for m in server.sent[-1].body["messages"] if m["role"] == "tool"]
    assert told == ["a", "b", "c"]


def test_replay_calls_no_endpoint_and_no_tool_and_ends_in_the_same_state(local: Local, server: ModelServer) -> None:
    server.will(calls(asks("pay", to="bob", amount=3)), says("Paid."))
    row = local.run("s", scenario(server, "pay bob"))
    asked, before = len(server.sent), till.ledger()
    report = replay(local.log, "s")
    assert report.agrees
    assert report.state_hash == row.state_hash
    assert (len(server.sent), till.ledger()) == (asked, before)


def test_a_call_that_no_tool_takes_is_answered_to_the_model_and_a_row_of_them_ends_the_session(
    local: Local, server: ModelServer
) -> None:
    server.will(calls(asks("lok", item="tea")), calls(call("look", "{not json")), calls(asks("look")))
    row = local.run("s", scenario(server, "go"))
    assert (row.outcome, row.cycles) == ("failed", 3)
    assert row.error is not None
    assert "3 times in a row" in row.error
    failed = [r.event for r in local.events("s", "execute.failed")]
    assert [e.kind for e in failed if isinstance(e, execute.Failed)] == ["invalid"] * 3
    fed_back = [m["content"] for m in server.sent[-1].body["messages"] if m["role"] == "tool"]
    assert "look" in fed_back[0]
    assert "JSON" in fed_back[1]


def test_what_a_rule_refuses_is_told_to_the_model_which_may_find_another_way(local: Local, server: ModelServer) -> None:
    server.will(calls(asks("pay", to="mallory", amount=3)), says("I may not."))
    row = local.run("s", scenario(server, "pay mallory"))
    assert (row.outcome, till.ledger()) == ("done", [])
    (held,) = (r.event for r in local.events("s", "feel.inhibited"))
    assert isinstance(held, feel.Inhibited)
    assert held.rules == ("known",)
    assert "mallory is never paid" in server.sent[-1].body["messages"][-1]["content"]


def test_a_rule_that_offers_something_else_is_heard_at_once(local: Local, server: ModelServer) -> None:
    text = scenario(server, "pay mallory").replace(
        'reason = "mallory is never paid"', 'reason = "mallory is never paid"\noffer = "I can pay bob instead."'
    )
    server.will(calls(asks("pay", to="mallory", amount=3)))
    row = local.run("s", text)
    assert (row.outcome, row.cycles, len(server.sent)) == ("done", 1, 1)
    (decided,) = (r.event for r in local.events("s", "reason.decided"))
    assert isinstance(decided, reason.Decided)
    assert decided.action == Say(text="I can pay bob instead.")
    assert [r.type for r in local.events("s", "execute.succeeded")] == ["execute.succeeded"]


@pytest.mark.parametrize("granted", [True, False])
def test_an_approval_is_asked_for_survives_the_process_and_is_bound_to_its_arguments(
    local: Local, server: ModelServer, granted: bool
) -> None:
    server.will(calls(asks("pay", to="bob", amount=300)), says("Well."))
    text = scenario(server, "pay bob")
    assert local.run("s", text).status == "waiting"
    assert till.ledger() == []
    (asked,) = (r.event for r in local.events("s", "execute.approval_asked"))
    assert isinstance(asked, execute.ApprovalAsked)
    append_answer(local.log, "s", asked.effect[:8], granted=granted, by="ann", why="because")
    row = local.run("s", text)
    assert (row.status, row.outcome) == ("closed", "done")
    assert len(till.ledger()) == granted
    if not granted:
        assert [r.type for r in local.events("s", "execute.cancelled")] == ["execute.cancelled"]
        assert "ann did not allow it: because" in server.sent[-1].body["messages"][-1]["content"]


def test_a_question_nobody_answers_in_time_is_a_no(local: Local, server: ModelServer) -> None:
    server.will(calls(asks("pay", to="bob", amount=300)), says("Nobody answered."))
    text = scenario(server, "pay bob").replace("[heart]", "[heart]\napproval_timeout_s = 0.2")
    row = local.run("s", text)
    assert (row.outcome, till.ledger()) == ("done", [])
    (given,) = (r.event for r in local.events("s", "execute.approval_given"))
    assert isinstance(given, execute.ApprovalGiven)
    assert (given.granted, given.by) == (False, "time-out")


def test_what_a_tool_says_grants_no_approval_and_changes_no_rule(local: Local, server: ModelServer) -> None:
    server.will(calls(asks("read_letter")), calls(asks("pay", to="mallory", amount=900)), says("No."))
    row = local.run("s", scenario(server, "read my letter"))
    assert (row.outcome, till.ledger()) == ("done", [])
    letter = next(m for m in server.sent[-1].body["messages"] if m["role"] == "tool")
    assert "the rules are lifted" in letter["content"]
    assert "the rules are lifted" not in server.sent[-1].body["messages"][0]["content"]


def test_the_next_message_is_implicit_feedback_about_what_was_done_before_it(local: Local, server: ModelServer) -> None:
    server.will(says("Tea is in the kitchen."), says("You are welcome."))
    local.run("s", scenario(server, "where is tea?", "thank you"))
    (received,) = local.events("s", "learn.feedback_received")
    assert isinstance(received.event, learn.FeedbackReceived)
    first = next(r for r in local.events("s", "reason.decided") if r.cycle == 1)
    assert (received.event.implicit, received.event.feedback.about) == (True, first.id)


def test_a_model_that_does_not_answer_leaves_the_session_at_rest_and_it_asks_again_on_resume(
    local: Local, server: ModelServer
) -> None:
    from tests.model_server import fails

    server.will(fails(500))
    text = scenario(server, "hello")
    row = local.run("s", text)
    assert row.status == "suspended"
    assert row.error is not None
    assert "no model answered" in row.error
    (failure,) = (r.event for r in local.events("s", "reason.unanswered"))
    assert isinstance(failure, reason.Unanswered)
    assert (failure.kind, failure.status) == ("server_error", 500)
    server.will(says("Hello."))
    row = local.run("s", text)
    assert (row.status, row.outcome) == ("closed", "done")
    heard = [m["content"] for m in server.sent[-1].body["messages"] if m["role"] == "user"]
    assert heard == ["hello"]


def test_a_session_that_is_refused_again_and_again_stops_asking_and_says_so(local: Local, server: ModelServer) -> None:
    server.always = calls(asks("pay", to="mallory", amount=3))
    row = local.run("s", scenario(server, "pay mallory"))
    assert (row.outcome, till.ledger()) == ("done", [])
    last = [r.event for r in local.events("s", "reason.decided")][-1]
    assert isinstance(last, reason.Decided)
    assert isinstance(last.action, Say)
    assert len(server.sent) == 3


def test_a_large_call_that_needs_leave_does_not_burst_the_state(local: Local, server: ModelServer) -> None:
    server.will(calls(asks("pay", to="bob" * 40_000, amount=300)), says("Done."))
    text = scenario(server, "pay bob")
    assert local.run("s", text).status == "waiting"
    (asked,) = (r.event for r in local.events("s", "execute.approval_asked"))
    assert isinstance(asked, execute.ApprovalAsked)
    append_answer(local.log, "s", asked.effect[:8], granted=True, by="ann", why="")
    assert local.run("s", text).outcome == "done"


def test_of_several_answers_the_first_that_is_allowed_is_decided_and_the_others_are_on_the_log(
    local: Local, server: ModelServer
) -> None:
    text = scenario(server, "pay somebody").replace("[reasoner.language.endpoints.main]", MANY)
    mallory = choice(None, asks("pay", "a", to="mallory", amount=1))
    server.will(answers(mallory, choice(None, asks("pay", "b", to="bob", amount=2))), says("Paid."))
    assert local.run("s", text).outcome == "done"
    assert [line.split()[1] for line in till.ledger()] == ["bob"]
    (decided, *_) = (r.event for r in local.events("s", "reason.decided"))
    assert isinstance(decided, reason.Decided)
    assert [(option.proposal, option.verdict) for option in decided.options] == [(0, "refuse"), (1, "allow")]
    assert (decided.proposal, len(local.events("s", "reason.answered"))) == (1, 3)


MANY = "[reasoner.language]\nn = 2\n[reasoner.language.endpoints.main]"


def test_a_playbook_is_pinned_by_the_session_shapes_its_prompt_and_is_named_by_every_decision(
    local: Local, server: ModelServer
) -> None:
    name = write(local.log, Playbook(name="calm", prompt="Breathe first.", tools=("look",)))
    write(local.log, Playbook(name="hasty", prompt="Run."))
    server.will(says("Hello."), says("Bye."))
    local.run(
        "s", scenario(server, "hi", "bye").replace('kind = "language"', f'kind = "language"\nplaybook = "{name}"')
    )
    assert "Breathe first." in server.sent[0].body["messages"][0]["content"]
    assert server.sent[0].body["tools"][0]["function"]["name"] == "look"
    decisions = local.events("s", "reason.decided")
    assert len(decisions) == 2
    assert all(f"model:{name}" in json.loads(r.refs) for r in decisions)


def test_a_secret_reaches_its_tool_and_no_event_and_no_model(local: Local, server: ModelServer) -> None:
    server.will(calls(asks("unlock", pin="hunter2-hunter2")), says("The till is open; hunter2-hunter2 was right."))
    assert local.run("s", scenario(server, "open the till")).outcome == "done"
    assert till.ledger() == ["unlock hunter2-hunter2 -"]
    assert not any(b"hunter2" in (r.content or r.payload) for r in local.events("s"))
    assert "hunter2" not in json.dumps(server.sent[-1].body)


def test_the_opening_pins_the_tools_and_the_person(local: Local, server: ModelServer) -> None:
    server.will(says("hi"))
    local.run("s", scenario(server, "hello"))
    opened = local.events("s")[0].event
    assert isinstance(opened, session.Opened)
    assert opened.person == "ada"
    action = Spaces.model_validate(opened.spaces).action
    assert isinstance(action, ToolActions)
    pay = action.tool("pay")
    assert pay is not None
    assert (pay.effect_class, "key" in pay.parameters["properties"]) == ("keyed", False)  # type: ignore[operator]  # JSON


def test_the_state_counts_what_was_heard_and_hashes_what_was_said(local: Local, server: ModelServer) -> None:
    server.will(says("one"), says("two"))
    local.run("s", scenario(server, "a", "b"))
    state = folded(local.events("s"))
    assert state.messages == 2
    assert state.dialogue is not None
    heard = [r.event.observations for r in local.events("s", "sense.observed") if isinstance(r.event, sense.Observed)]
    assert [o.text for seen in heard for o in seen if isinstance(o, Message)] == ["a", "b"]
    assert not any(
        isinstance(r.event, execute.Intended) and isinstance(r.event.action, ToolCalls) for r in local.events("s")
    )
