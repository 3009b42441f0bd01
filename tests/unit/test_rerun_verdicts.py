"""What a rerun says of each cycle: the same, allowed, refused, asked about, chosen otherwise, or not comparable."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from loops.spaces import BoxActions, DiscreteActions, ToolActions
from runtime.errors import UsageError
from runtime.people.approvals import append_answer
from runtime.playbooks import write
from runtime.rerun.many import rerun
from runtime.rerun.policy import read_policy
from telemetry.events import Draft, execute, sense
from telemetry.events.values import Array, Move, Playbook, Say, ToolCall, ToolCalls
from tests import till
from tests.local import Local
from tests.model_server import ModelServer, answers, call, calls, choice, says
from tests.reruns import count, decisions, line, one, whole


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "organ.toml"


# --- what the table says ----------------------------------------------------------------------------


def test_what_the_heart_would_refuse_or_allow_is_told_with_its_rule(local: Local, file: Path) -> None:
    local.run("free", count(), cycles=20)
    local.run("bound", count(("ones", "refuse", "1")), cycles=20)
    file.write_text(count(("ones", "refuse", "1")))
    bound = one(local.log, "free", heart=str(file))
    ones = sum(action == Move(to=1) for action in decisions(local, "free"))
    assert 0 < ones == bound.counts.refused == bound.cycles - bound.covered
    assert bound.first is not None
    assert bound.first.why == "heart: the rule ones holds back move 1; instead: move 0"
    free = one(local.log, "bound", heart="none")
    assert free.counts.allowed == free.cycles - free.covered > 0
    assert free.first is not None
    assert free.first.why == "heart: allows move 1, which the rule ones held back; done was: move 0"
    assert (free.counts.refused, bound.counts.allowed) == (0, 0)


def test_nothing_allowed_any_more_is_a_wait(local: Local, file: Path) -> None:
    local.run("s", count(), cycles=3)
    file.write_text(count(("all", "refuse", "0, 1")))
    row = one(local.log, heart=str(file))
    assert (row.counts.refused, row.covered) == (3, 0)
    assert row.differences[0].why.endswith("; instead: wait")


def test_a_persons_recorded_answer_is_served_for_the_same_arguments(local: Local, file: Path) -> None:
    asking = count(("both", "ask", "0, 1"))
    assert local.run("s", asking, cycles=2).status == "waiting"
    assert whole(one(local.log)), "a question without an answer is the same question"
    for granted in (True, False):
        effect = [r.event for r in local.events("s", "execute.approval_asked")][-1]
        assert isinstance(effect, execute.ApprovalAsked)
        append_answer(local.log, "s", effect.effect[:8], granted=granted, by="ann", why="")
        local.run("s", asking, cycles=2)
    assert whole(one(local.log))
    row = one(local.log, heart="none")
    assert (row.counts.same, row.counts.allowed) == (1, 1), "what was granted needs no leave; what was denied is new"
    assert row.first is not None
    assert row.first.why.endswith("needs nobody's leave, which a person had refused")
    file.write_text(count(("both", "ask", "0, 1"), on_ask="refuse"))
    assert one(local.log, heart=str(file)).counts.refused == 2


def test_a_question_that_nobody_was_asked_has_no_recorded_answer(local: Local, file: Path) -> None:
    local.run("s", count(), cycles=4)
    file.write_text(count(("both", "ask", "0, 1")))
    row = one(local.log, heart=str(file))
    assert (row.counts.asked, row.covered) == (4, 0)
    assert row.first is not None
    assert row.first.why.startswith("heart: the rule both asks a person about move")


def test_actions_that_the_world_does_not_tell_apart_are_one_action(local: Local) -> None:
    coarse = line("explore", more=", quantum = 100")
    local.run("s", coarse, cycles=20)
    seen = [r.event for r in local.events("s", "sense.observed")]
    moved = {
        tuple(b.observations[0].array.numpy() - a.observations[0].array.numpy())  # type: ignore[union-attr]  # arrays
        for a, b in pairwise(seen)
        if isinstance(a, sense.Observed) and isinstance(b, sense.Observed) and b.step
    }
    assert {tuple(round(float(x), 9) for x in step) for step in moved} == {(-0.5, -0.5)}, "the world rounds too"
    row = one(local.log, reasoner="greedy")
    assert row.share == 1.0
    assert row.identical < row.cycles


def test_a_key_is_equal_for_actions_that_do_the_same() -> None:
    box = BoxActions(low=Array.of([-1.0, 0.0]), high=Array.of([1.0, 1.0]), quantum=0.25)

    def move(*values: float) -> Move:
        return Move(to=Array.of([*values]))

    assert box.key(move(0.3, 0.1)) == box.key(move(0.2, 0.0)) != box.key(move(0.4, 0.1))
    assert box.fit(move(0.3, 0.95)).tolist() == [0.25, 1.0]
    exact = box.model_copy(update={"quantum": None})
    assert exact.key(move(0.3, 0.1)) != exact.key(move(0.3, 0.1000001))
    assert DiscreteActions(n=3).key(Move(to=1)) != DiscreteActions(n=3).key(Move(to=2))
    tools = ToolActions()
    first, second = (ToolCalls(calls=(ToolCall(id=name, tool="pay", arguments={"to": "bob"}),)) for name in "ab")
    other = ToolCalls(calls=(ToolCall(id="a", tool="pay", arguments={"to": "eve"}),))
    assert tools.key(first) == tools.key(second) != tools.key(other)
    assert tools.key(Say(text="a")) != tools.key(Say(text="b"))


# --- language models --------------------------------------------------------------------------------

SHOP = """
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
messages = ["pay bob", "pay eve", "bye"]
[world_model]
kind = "none"
[memory]
recall = 0
[heart]
on_ask = "wait"
"""
BIG = """
[[heart.rules]]
id = "big"
verdict = "ask"
tools = ["pay"]
reason = "large payments need leave"
where = {{ amount = {{ above = {above} }} }}
"""
EVE = """
[[heart.rules]]
id = "no-eve"
tools = ["pay"]
reason = "eve is never paid"
where = { to = { is = "eve" } }
"""


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture
def shop(local: Local, server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Local:
    """A conversation `s` in which bob and eve are paid 3 and 60."""
    monkeypatch.setenv("TILL", str(tmp_path / "till"))
    server.will(
        calls(_pays("bob", 3, "call_1")),
        says("Paid bob."),
        calls(_pays("eve", 60, "call_2")),
        says("Paid eve."),
        says("Bye."),
    )
    row = local.run("s", SHOP.format(url=server.url) + BIG.format(above=100))
    assert (row.outcome, row.cycles) == ("done", 5)
    return local


def _pays(to: str, amount: float, call_id: str) -> Any:  # noqa: ANN401  JSON
    return call("pay", json.dumps({"to": to, "amount": amount}), call_id=call_id)


def test_recorded_answers_are_served_and_neither_model_nor_tool_is_called(shop: Local, server: ModelServer) -> None:
    sent, done = len(server.sent), till.ledger()
    assert whole(one(shop.log))
    assert (len(server.sent), till.ledger()) == (sent, done)


def test_a_long_conversation_of_several_who_propose_is_covered_whole(
    local: Local, server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILL", str(tmp_path / "till"))
    calm = write(local.log, Playbook(name="calm", prompt="Breathe first.", tools=("look",)))
    reasoner = f"""kind = "language"
playbook = "{calm}"
[reasoner.language]
n = 2
context.budget_tokens = 2500
context.keep_turns = 2
[[reasoner.language.specialists]]
name = "careful"
prompt = "Doubt."
[[reasoner.language.specialists]]
name = "swift"
prompt = "Go."
"""
    messages = json.dumps([f"{number}: {'tell me more ' * 60}" for number in range(12)])
    text = SHOP.replace('kind = "language"\n', reasoner).replace('["pay bob", "pay eve", "bye"]', messages)
    server.always = answers(choice(None), choice(f"Well. {'So it is. ' * 50}"))
    assert local.run("s", text.format(url=server.url)).outcome == "done"
    assert "sense.context_compacted" in local.types("s")
    asked = len(server.sent)
    row = one(local.log)
    assert whole(row)
    assert (row.cycles, len(server.sent)) == (12, asked)


def test_a_conversation_whose_model_this_machine_named_needs_no_settings_to_be_rerun(
    shop: Local, server: ModelServer
) -> None:
    nameless = (SHOP.format(url=server.url) + BIG.format(above=100)).replace('model = "test-model"\n', "")
    (opened,) = shop.log.read("session/s", to=1)
    first = opened.event.model_copy(update={"scenario_text": nameless})
    rest = [r for r in shop.log.read("session/s") if r.version > 1]
    drafts = [Draft(event=r.event, command=r.command, ordinal=r.ordinal, cycle=r.cycle) for r in rest]  # type: ignore[arg-type]  # all are known
    shop.log.append("session/t", [Draft(event=first, command="open"), *drafts], expected_version=0, epoch=1)  # type: ignore[arg-type]  # opened
    row = one(shop.log, "t")
    assert row.cycles == 5
    assert row.share == 1.0


def test_a_rule_that_asks_sooner_is_answered_from_the_record_where_the_prompt_is_the_same(
    shop: Local, file: Path
) -> None:
    file.write_text(f"[heart]\n{BIG.format(above=50)}")
    row = one(shop.log, heart=str(file))
    assert (row.counts.asked, row.covered, row.counts.not_comparable) == (1, 4, 0)
    assert row.first is not None
    assert row.first.why == 'heart: the rule big asks a person about pay(amount=60, to="eve")'


def test_where_the_rules_in_the_prompt_differ_the_recorded_proposals_are_judged_and_nothing_is_covered(
    shop: Local, server: ModelServer, file: Path
) -> None:
    sent = len(server.sent)
    file.write_text(f"[heart]\n{EVE}")
    row = one(shop.log, heart=str(file))
    assert (row.counts.refused, row.counts.not_comparable, row.covered) == (1, 4, 0)
    assert row.first is not None
    assert row.first.why == "the request differs in its prompt, so it has no recorded answer"
    (refused,) = (d for d in row.differences if d.kind == "refused")
    assert refused.why.startswith('heart: the rule no-eve holds back pay(amount=60, to="eve"); instead: wait')
    assert len(server.sent) == sent


def test_a_model_is_asked_where_no_answer_is_recorded_only_when_that_was_declared(
    shop: Local, server: ModelServer, file: Path
) -> None:
    file.write_text(SHOP.format(url=server.url).replace("retries = 0", "retries = 0\ntemperature = 0.5"))
    with pytest.raises(UsageError, match="--live"):
        read_policy({"reasoner": str(file)})
    sent = len(server.sent)
    policy = read_policy({"reasoner": str(file)}, live=True)
    server.will(calls(_pays("bob", 3, "other_id")), says("Paid."), calls(_pays("ann", 1, "c")), says("Well."))
    server.always = None
    (row,) = rerun(shop.log, ["s"], policy).sessions
    assert [server.sent[sent].body[name] for name in ("temperature", "model")] == [0.5, "test-model"]
    assert len(server.sent) == sent + 5
    assert (row.counts.same, row.counts.otherwise, row.counts.not_comparable) == (1, 3, 1)
    kinds = {difference.cycle: difference for difference in row.differences}
    assert kinds[3].why == 'reasoner: pay(amount=1, to="ann") instead of pay(amount=60, to="eve")'
    assert kinds[5].why.startswith("a model that was asked now did not answer")
