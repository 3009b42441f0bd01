"""Rows of what the recorded sessions do not hold: plans, people's leave, outcomes that nobody knows, silent models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pytest

from telemetry.events import Draft, Event, execute, feel, learn, reason, sense, session
from telemetry.events.values import (
    Action,
    Appraisal,
    Array,
    Feedback,
    Ground,
    Message,
    Move,
    Option,
    Say,
    TextPart,
    ToolCall,
    ToolCalls,
    ToolResult,
    Usage,
    Weighed,
    digest_of,
)
from telemetry.log import EventLog
from telemetry.query.rows.tables import rows_of

Row = dict[str, Any]
ONE, TWO = "1" * 64, "2" * 64
STREAM = "session/s"


class Session:
    """A session that is written by hand: each call one command of the cycle."""

    def __init__(self, log: EventLog) -> None:
        self.log = log
        self.version = 0
        self.cycle = 0

    def record(self, *events: Event, cause: str = "", elapsed_ns: int = 0) -> list[str]:
        """Ids of the events."""
        command = f"{self.version + 1}"
        drafts = [
            Draft(
                event=event,
                command=command,
                ordinal=place,
                cycle=self.cycle,
                cause=cause,
                elapsed_ns=0 if place else elapsed_ns,
            )
            for place, event in enumerate(events)
        ]
        self.log.append(STREAM, drafts, expected_version=self.version, epoch=1)
        before, self.version = self.version, self.version + len(events)
        return [f"{STREAM}@{version}" for version in range(before + 1, self.version + 1)]

    def open(self, *observations: Any) -> str:  # noqa: ANN401  whichever observation
        self.cycle += 1
        self.record(session.CycleOpened(cycle=self.cycle))
        return self.record(sense.Observed(observations=observations, digest=ONE))[0]

    def close(self, usage: Usage | None = None) -> str:
        closed = session.CycleClosed(cycle=self.cycle, state_hash=ONE, reducer=1, usage=usage or Usage())
        return self.record(closed)[0]

    def rows(self, kind: str) -> list[Row]:
        found: list[Row] = rows_of(self.log, after=0, kinds=(kind,))[kind].to_pylist()
        for position in range(self.log.position()):  # a fold that begins there gives the same ones
            tail = rows_of(self.log, after=position, kinds=(kind,))[kind].to_pylist()
            assert tail == [row for row in found if row["position"] > position]
        return found


@pytest.fixture
def lived(log: EventLog) -> Session:
    return Session(log)


def calls(*tools: str) -> ToolCalls:
    return ToolCalls(calls=tuple(ToolCall(id=f"call-{tool}", tool=tool, arguments={"n": 1}) for tool in tools))


def decided(action: Action, *, proposal: int | None = 0, options: Sequence[Option] = ()) -> reason.Decided:
    return reason.Decided(
        proposal=proposal, action=action, arguments=digest_of(action), options=tuple(options), why="so"
    )


def intended(action: Action, effect: str, ordinal: int = 0) -> execute.Intended:
    return execute.Intended(
        effect=effect,
        action=action,
        arguments=digest_of(action),
        effect_class="unsafe",
        proposal=0,
        ordinal=ordinal,
    )


def proposed(number: int, action: Action) -> reason.Proposed:
    return reason.Proposed(proposal=number, action=action, arguments=digest_of(action), score=number / 2, why="so")


def test_a_decision_that_was_planned_has_what_the_plan_makes_of_each_option(lived: Session) -> None:
    observed = lived.open()
    moves = [Move(to=Array.of([0.25, number], dtype="float32")) for number in range(3)]
    planned = reason.Planned(
        model="maze@1f0c",
        belief=TWO,
        options=tuple(
            Weighed(proposal=number, energy=3.0 + number, pragmatic=3.5, epistemic=0.5, probability=0.25)
            for number in (0, 2)
        ),
        latent=Array.of([0.5, -1.25], dtype="float32"),
        goal=Array.of([0.75], dtype="float32"),
    )
    plan, *options = lived.record(planned, *(proposed(number, move) for number, move in enumerate(moves)))
    weighed = [Option(proposal=number, score=number / 2, verdict="allow") for number in range(3)]
    (decision,) = lived.record(decided(moves[0], options=weighed))
    (row,) = lived.rows("decisions")
    assert (row["event"], row["observation"], row["plan"], row["model"]) == (decision, observed, plan, "maze@1f0c")
    assert row["sources"] == [observed, plan, *options, decision]
    assert (row["option_energies"], row["option_scores"]) == ([3.0, None, 5.0], [0.0, 0.5, 1.0])
    assert (row["option_pragmatic"], row["option_probabilities"]) == ([3.5, None, 3.5], [0.25, None, 0.25])
    assert (row["belief"], row["latent"], row["goal"]) == (TWO, [0.5, -1.25], [0.75])
    assert orjson.loads(row["option_actions"][2]) == {"kind": "move", "to": [0.25, 2.0]}


def test_calls_made_together_are_answered_in_the_order_of_the_calls(lived: Session) -> None:
    lived.open(Message(role="user", parts=(TextPart(text="go"),)))
    both = calls("slow", "fast")
    requested = reason.Requested(endpoint="main", model="m", prompt=ONE)
    lived.record(requested)
    (answer,) = lived.record(reason.Answered(model="m-1", text="both", calls=both.calls, finish="tool_calls"))
    lived.record(proposed(0, both))
    (decision,) = lived.record(decided(both))
    lived.record(intended(calls("slow"), ONE, 0), intended(calls("fast"), TWO, 1))
    fast = ToolResult(call="call-fast", tool="fast", content={"a": 1})
    lived.record(execute.Succeeded(effect=TWO, ordinal=1, result=fast))
    (slow,) = lived.record(execute.Failed(effect=ONE, ordinal=0, kind="raised", error="it broke"))
    messages = sorted(lived.rows("messages"), key=lambda row: (row["turn"], row["place"]))
    assert [(row["role"], row["content"], row["author"]) for row in messages] == [
        ("user", "go", "person"),
        ("assistant", "both", "model"),
        ("tool", "it broke", "tool"),
        ("tool", '{"a":1}', "tool"),
    ]
    assert [row["tool_call_id"] for row in messages[2:]] == ["call-slow", "call-fast"]
    assert [row["failed"] for row in messages[2:]] == [True, False]
    assert (messages[1]["model"], messages[1]["answer"], messages[1]["event"]) == ("m-1", answer, decision)
    assert orjson.loads(messages[1]["tool_calls"])[0] == {
        "id": "call-slow",
        "type": "function",
        "function": {"name": "slow", "arguments": '{"n":1}'},
    }
    assert messages[2]["sources"][-1] == slow


def test_an_action_that_a_person_allowed_names_them_and_its_attempts(lived: Session) -> None:
    lived.open()
    lived.record(decided(calls("refund")))
    (intent,) = lived.record(intended(calls("refund"), ONE))
    asked = execute.ApprovalAsked(effect=ONE, action=calls("refund"), arguments=TWO, why="above 100")
    lived.record(asked)
    (leave,) = lived.record(execute.ApprovalGiven(effect=ONE, arguments=TWO, granted=True, by="dora"))
    sent = [execute.Dispatched(effect=ONE, executor="m/1", deadline=1) for _ in range(2)]
    dispatched = lived.record(*sent)
    done = execute.Succeeded(effect=ONE, result=ToolResult(call="call-refund", tool="refund", content="paid"))
    (outcome,) = lived.record(done, elapsed_ns=77)
    (row,) = lived.rows("actions")
    assert (row["event"], row["outcome_event"], row["outcome"], row["result"]) == (
        intent,
        outcome,
        "succeeded",
        '"paid"',
    )
    assert (row["approved"], row["approved_by"], row["attempts"], row["elapsed_ns"]) == (True, "dora", 2, 77)
    assert row["sources"] == [intent, leave, *dispatched, outcome]
    assert (row["tool"], row["arguments"]) == ("refund", '{"n":1}')
    assert lived.rows("messages")[-1]["content"] == "paid"


def test_what_nobody_knows_stays_unknown_and_what_is_found_out_is_a_row_of_its_own(lived: Session) -> None:
    lived.open()
    lived.record(decided(calls("email")))
    lived.record(intended(calls("email"), ONE))
    (unknown,) = lived.record(execute.UnknownOutcome(effect=ONE, why="its executor died"))
    lived.close()
    lived.open()
    found = execute.Reconciled(effect=ONE, cycle=1, happened=True, by="dora", why="it is there")
    (reconciled,) = lived.record(found, cause=unknown)
    (action,) = lived.rows("actions")
    assert (action["outcome"], action["error"], action["outcome_event"]) == ("unknown", "its executor died", unknown)
    (row,) = lived.rows("feedback")
    assert (row["about"], row["what"], row["happened"], row["author"]) == (unknown, "reconciled", True, "dora")
    assert row["sources"] == [unknown, reconciled]
    assert lived.rows("messages")[-1]["content"] == "whether this happened is unknown: its executor died"


def test_what_was_given_up_was_never_dispatched(lived: Session) -> None:
    lived.open()
    lived.record(decided(calls("email")))
    lived.record(intended(calls("email"), ONE))
    lived.record(execute.ApprovalGiven(effect=ONE, arguments=TWO, granted=False, by="dora"))
    lived.record(execute.Cancelled(effect=ONE, why="dora said no"))
    (row,) = lived.rows("actions")
    assert (row["outcome"], row["approved"], row["attempts"]) == ("cancelled", False, 0)
    assert lived.rows("messages")[-1]["content"] == "not done: dora said no"


def test_a_model_that_gave_no_answer_is_a_call_with_its_failure(lived: Session) -> None:
    lived.open()
    (asked,) = lived.record(
        reason.Requested(call=0, endpoint="main", model="m", prompt=ONE, parameters={"temperature": 0.5})
    )
    failed = reason.Unanswered(
        endpoint="main", model="m", kind="cut", status=200, attempts=3, error="it ended early", text="I wi"
    )
    lived.record(failed)
    lived.close(Usage(model_calls=1))
    (row,) = lived.rows("model_calls")
    assert (row["event"], row["outcome"], row["attempts"], row["status"]) == (asked, "cut", 3, 200)
    assert (row["text"], row["error"], row["answered_by"]) == ("I wi", "it ended early", None)
    assert row["parameters"] == '{"temperature":0.5}'
    assert lived.rows("cycles")[0]["model_calls"] == 1
    assert lived.rows("messages") == []


def test_several_answers_to_one_request_are_a_row_each_with_their_tokens(lived: Session) -> None:
    lived.open()
    lived.record(reason.Requested(endpoint="main", model="m", prompt=ONE))
    answers = [
        reason.Answered(choice=choice, model="m", text=f"say {choice}", finish="stop", tokens=(1, 2), logprobs=(-0.5,))
        for choice in range(2)
    ]
    lived.record(*answers, elapsed_ns=5)
    lived.record(proposed(0, Say(text="say 0")), proposed(1, Say(text="say 1")))
    lived.record(decided(Say(text="say 1"), proposal=1))
    rows = lived.rows("model_calls")
    assert [(row["choice"], row["elapsed_ns"], row["tokens"], row["logprobs"]) for row in rows] == [
        (0, 5, [1, 2], [-0.5]),
        (1, 0, [1, 2], [-0.5]),
    ]
    (message,) = lived.rows("messages")
    assert (message["content"], message["answer"]) == ("say 1", rows[1]["answer"])


def test_what_the_heart_says_in_place_of_an_answer_is_not_the_models(lived: Session) -> None:
    lived.open()
    lived.record(proposed(0, Say(text="rude")))
    grounds = (Ground(rule="polite", reason="it is rude"),)
    judged = Appraisal(of="proposal", verdict="refuse", proposal=0, arguments=TWO, grounds=grounds)
    lived.record(feel.Appraised(appraisal=judged), cause=f"{STREAM}@3")
    lived.record(feel.Inhibited(proposal=0, arguments=TWO, rules=("polite",)))
    lived.record(decided(Say(text="I cannot say that"), proposal=None))
    (message,) = lived.rows("messages")
    assert (message["author"], message["content"], message["answer"]) == ("heart", "I cannot say that", None)
    (appraisal,) = lived.rows("appraisals")
    assert (appraisal["rules"], appraisal["action"]) == (["polite"], '{"kind":"say","text":"rude"}')
    assert appraisal["sources"] == [f"{STREAM}@3", appraisal["event"]]
    (decision,) = lived.rows("decisions")
    assert (decision["held_back"], decision["rules"], decision["proposal"]) == (0, ["polite"], None)


def test_a_conversation_that_a_gateway_saw_has_the_calls_of_the_messages_before_it(lived: Session) -> None:
    told = '{"tool_calls":[{"arguments":"{\\"n\\": 1}","id":"c1","tool":"look"}]}'
    lived.open(
        Message(role="system", parts=(TextPart(text="Be brief."),)),
        Message(role="user", parts=(TextPart(text="look"),)),
        Message(role="assistant", parts=(TextPart(text="I look."), TextPart(text=told))),
        ToolResult(call="c1", tool="look", content="nothing"),
        Feedback(rating=1.0, text="good"),
    )
    messages = lived.rows("messages")
    assert [(row["role"], row["content"], row["author"], row["place"]) for row in messages] == [
        ("system", "Be brief.", "system", 0),
        ("user", "look", "person", 1),
        ("assistant", "I look.", "model", 2),
        ("tool", "nothing", "tool", 3),
    ]
    assert orjson.loads(messages[2]["tool_calls"])[0]["function"] == {"name": "look", "arguments": '{"n": 1}'}
    (observation,) = lived.rows("observations")
    assert len(orjson.loads(observation["content"])) == 5
    assert observation["values"] == []


def test_a_judgement_and_a_second_try_name_what_they_are_about(lived: Session) -> None:
    lived.open()
    about = f"{STREAM}@2"
    lived.record(learn.FeedbackReceived(feedback=Feedback(rating=-0.5, text="no", about=about)))
    lived.record(learn.Corrected(retry_of=about, why="it was misread"))
    said, corrected = lived.rows("feedback")
    assert (said["what"], said["rating"], said["text"], said["about"]) == ("said", -0.5, "no", about)
    assert (corrected["what"], corrected["text"], corrected["about"]) == ("corrected", "it was misread", about)


def test_a_discrete_move_and_a_numpy_scalar_stand_as_numbers(lived: Session) -> None:
    from telemetry.events.values import ArrayObservation

    seen = [
        ArrayObservation(name="flag", array=Array.of(np.array([True, False]))),
        ArrayObservation(name="one", array=Array.of(np.array(0.1, dtype="float32"))),
    ]
    lived.open(*seen)
    lived.record(decided(Move(to=3)))
    lived.record(intended(Move(to=3), ONE))
    lived.record(execute.Succeeded(effect=ONE, observed=TWO, reward=1.5, terminated=True, success=True))
    (row,) = lived.rows("actions")
    assert (row["kind"], row["move"], row["move_shape"], row["action"]) == ("move", [3.0], [], '{"kind":"move","to":3}')
    assert (row["reward"], row["terminated"], row["truncated"], row["success"]) == (1.5, True, False, True)
    (observation,) = lived.rows("observations")
    assert observation["values"] == [1.0, 0.0, float(np.float32(0.1))]
    assert (observation["shapes"], observation["dtypes"]) == ([[2], []], ["bool", "float32"])
