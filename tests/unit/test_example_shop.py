"""The example's shop refunds once, whoever asks how often; its scripted agent speaks from the messages alone."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from examples.refund import shop as module
from examples.refund.policy import Reply, refunds
from examples.refund.shop import ORDERS, email, find_order, refund, shop, tables
from loops.environments.tools.declare import declared
from loops.environments.tools.vault import Vault

Wire = dict[str, Any]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHOP_DB", str(tmp_path / "shop.db"))
    monkeypatch.delenv(module.HOLD, raising=False)
    return tmp_path


def rows(table: str) -> list[tuple[Any, ...]]:
    with shop() as database:
        return database.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall()


def test_the_shop_declares_a_read_a_keyed_and_an_unsafe_tool_and_hides_the_key() -> None:
    specs = {tool.spec.name: tool.spec for tool in declared(module, vault=Vault())}
    assert {name: spec.effect_class for name, spec in specs.items()} == {
        "find_order": "read",
        "refund": "keyed",
        "email": "unsafe",
    }
    properties = specs["refund"].parameters["properties"]
    assert isinstance(properties, dict)
    assert sorted(properties) == ["amount", "customer", "order"]


def test_an_order_says_what_was_refunded_of_it() -> None:
    refund("1001", "ada", 10.0, "k")
    assert find_order("1001") == {
        "order": "1001",
        "customer": "ada",
        "item": "a kettle",
        "paid": 30.0,
        "refunded": 10.0,
    }
    with pytest.raises(LookupError, match="no order 4711"):
        find_order("4711")


def test_the_same_key_again_is_the_first_refund_even_with_other_words() -> None:
    first = refund("1001", "ada", 30.0, "k")
    assert refund("1001", "ada", 30.0, "k") == first
    assert refund("1003", "ada", 420.0, "k") == first
    assert rows("refunds") == [("k", "1001", 30.0)]


@pytest.mark.parametrize("keys", [["k"] * 16, [f"k{i}" for i in range(16)]], ids=["one key", "many keys"])
def test_of_many_refunds_at_once_one_is_made(keys: list[str]) -> None:
    def attempt(key: str) -> str:
        try:
            return str(refund("1001", "ada", 30.0, key)["amount"])
        except ValueError:
            return "refused"

    with ThreadPoolExecutor(len(keys)) as pool:
        answers = list(pool.map(attempt, keys))
    assert answers.count("30.0") == (len(keys) if len(set(keys)) == 1 else 1)
    assert len(rows("refunds")) == 1


@pytest.mark.parametrize(
    ("order", "customer", "amount", "why"),
    [
        ("1001", "ada", 30.01, "too much"),
        ("1002", "ada", 45.0, "no order 1002 of ada"),
        ("4711", "ada", 1.0, "no order 4711"),
    ],
)
def test_the_shop_itself_refuses_what_is_too_much_or_not_theirs(
    order: str, customer: str, amount: float, why: str
) -> None:
    with pytest.raises((LookupError, ValueError), match=why):
        refund(order, customer, amount, "k")
    assert rows("refunds") == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 2999), unique=True, max_size=4).map(sorted))
@example(cuts=[1515, 1874, 1954, 2104])  # as floats, the parts add up to more than 30
def test_an_order_can_be_refunded_in_parts_to_the_cent_and_not_a_cent_further(cuts: list[int], folder: Path) -> None:
    for path in folder.glob("shop.db*"):
        path.unlink()
    bounds = [0, *cuts, 3000]
    for key, (low, high) in enumerate(pairwise(bounds)):
        refund("1001", "ada", (high - low) / 100, str(key))
    with pytest.raises(ValueError, match="too much"):
        refund("1001", "ada", 0.01, "one more")


def test_a_held_refund_is_in_the_table_before_it_answers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hold = folder / "hold"
    hold.touch()
    monkeypatch.setenv(module.HOLD, str(hold))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(refund, "1001", "ada", 30.0, "k")
        while not rows("refunds"):
            assert not answer.done()
        assert not answer.done()
        hold.unlink()
        assert answer.result(timeout=30) == {"order": "1001", "amount": 30.0}


def test_every_e_mail_is_one_more_in_the_outbox() -> None:
    for _ in range(2):
        email("ada", "Hello", "You were refunded.")
    assert rows("outbox") == [("ada", "Hello", "You were refunded.")] * 2
    assert tables().count("ada  Hello") == 2


def test_a_visit_to_the_shop_that_fails_leaves_nothing_behind() -> None:
    two = [("k", "1001", 30.0)] * 2
    with pytest.raises(sqlite3.IntegrityError), shop() as database:
        database.executemany("INSERT INTO refunds VALUES (?, ?, ?)", two)
    assert rows("refunds") == []


def play(said: str, tools: dict[str, Callable[[Wire], str]]) -> tuple[list[tuple[str, Wire]], str]:
    """What the scripted agent calls, and what it says in the end."""
    messages: list[Wire] = [{"role": "system", "content": "Refunds."}, {"role": "user", "content": said}]
    called: list[tuple[str, Wire]] = []
    while True:
        reply = refunds(messages)
        assert refunds(json.loads(json.dumps(messages))) == reply, "equal messages get equal answers"
        if not reply.calls:
            return called, reply.text
        ((name, written),) = reply.calls
        called.append((name, json.loads(written)))
        messages.append({"role": "assistant", "content": reply.text or None, "tool_calls": []})
        messages.append({"role": "tool", "content": tools[name](json.loads(written))})


ADA = {
    "find_order": lambda a: json.dumps(find_order(a["order"])),
    "refund": lambda a: json.dumps(refund(a["order"], a["customer"], a["amount"], f"key of {a['order']}")),
    "email": lambda a: json.dumps(email(a["to"], a["subject"], a["body"])),
}


@pytest.mark.parametrize(("order", "customer", "item", "paid"), ORDERS)
def test_the_agent_finds_refunds_writes_and_says_so(order: str, customer: str, item: str, paid: float) -> None:
    called, said = play(f"Please refund my order {order}.", ADA)
    assert [name for name, _ in called] == ["find_order", "refund", "email"]
    assert called[1][1] == {"order": order, "customer": customer, "amount": paid}
    assert called[2][1]["to"] == customer
    assert said == f"I refunded {paid:.2f} euros for {item} and wrote you an e-mail."
    assert rows("refunds") == [(f"key of {order}", order, paid)]


@pytest.mark.parametrize("error", ["denied by a person: too much", "held back by the rule own-orders: not yours"])
def test_the_agent_passes_on_why_a_refund_was_not_made_and_writes_to_nobody(error: str) -> None:
    called, said = play("Refund order 1003.", {**ADA, "refund": lambda _: error})
    assert [name for name, _ in called] == ["find_order", "refund"]
    assert said == f"I could not refund order 1003: {error}."


def test_the_agent_says_when_there_is_no_such_order_and_when_an_e_mail_is_in_doubt() -> None:
    _, said = play("Refund order 4711.", {"find_order": lambda _: "there is no order 4711"})
    assert said == "I am sorry: there is no order 4711."
    _, said = play("Refund order 1001.", {**ADA, "email": lambda _: "whether this happened is unknown"})
    assert "in doubt: whether this happened is unknown" in said


def test_the_agent_goes_by_the_latest_message_of_a_person() -> None:
    _, said = play("Refund order 1001.", ADA)
    before: list[Wire] = [{"role": "user", "content": "Refund order 1001."}, {"role": "assistant", "content": said}]
    assert refunds([*before, {"role": "user", "content": "And 1003?"}]).calls == (("find_order", '{"order": "1003"}'),)
    parts = [{"type": "text", "text": "Refund order 1004."}]
    assert refunds([*before, {"role": "user", "content": parts}]).calls[0][1] == '{"order": "1004"}'


@pytest.mark.parametrize("role", ["user", "system"])
def test_the_agent_asks_for_a_number_that_it_was_not_given(role: str) -> None:
    asked = Reply(text="Which order is it? Please give me its number.")
    assert refunds([{"role": role, "content": "Hello."}]) == asked
