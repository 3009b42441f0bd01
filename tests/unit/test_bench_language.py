"""What the language benchmarks ask, and how they count what a kill left."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.kills import Fell, Kills, result, strike
from benchmarks.scripted import answer, model, order, orders, please_look, please_refund, refunded, stock, surroundings
from examples.refund.shop import refund
from runtime.scenario import parse_scenario


@pytest.fixture(autouse=True)
def a_shop(tmp_path: Path) -> Iterator[None]:
    with surroundings(tmp_path / "shop.db"):
        yield


def said(message: str, *results: object) -> list[dict[str, str]]:
    told = [{"role": "tool", "content": json.dumps(one)} for one in results]
    return [{"role": "user", "content": message}, *told]


def test_the_model_asks_a_tenth_of_what_was_paid_back_so_that_a_second_refund_would_fit() -> None:
    found = {"order": "2000", "customer": "ada", "item": "a kettle", "paid": 30.0, "refunded": 0}
    ((name, arguments),) = answer(said(please_refund("2000"), found)).calls
    assert name == "refund"
    assert json.loads(arguments) == {"order": "2000", "customer": "ada", "amount": 3.0}


def test_the_model_looks_up_as_often_as_it_is_asked_and_then_says_so() -> None:
    assert [name for name, _ in answer(said(please_look(2), {})).calls] == ["find_order"]
    last = answer(said(please_look(2), {}, {}))
    assert not last.calls
    assert last.text


@pytest.mark.parametrize("stream", [True, False])
def test_a_session_of_the_benchmark_is_the_example_with_another_message(stream: bool) -> None:
    text = order(please_look(3), index=1, stream=stream).scenario_text
    assert text is not None
    scenario = parse_scenario(text, source="the bench").scenario
    assert scenario.conversation.messages == (please_look(3),)
    assert [rule.id for rule in scenario.heart.rules] == ["own-orders", "large-refunds"]
    assert scenario.reasoner.language.endpoints["main"].stream is stream


def test_the_model_hands_over_the_requests_that_came_since_they_were_last_taken() -> None:
    with model() as scripted:
        assert scripted.take_requests() == []


def test_refunds_are_counted_by_order() -> None:
    numbers = orders(3)
    stock(numbers)
    for key in ("a", "b"):
        refund(numbers[0], "ada", 3.0, key)
    refund(numbers[1], "ada", 3.0, "c")
    refund(numbers[1], "ada", 3.0, "c")
    kills = result(["before its outcome"] * 3, numbers)
    assert (kills.duplicates, kills.missing) == ([1, 0, 0], [0, 0, 1])


@pytest.mark.parametrize(
    ("paid", "recorded", "fell"),
    [
        (False, False, "before the refund"),
        (True, False, "before its outcome"),
        (True, True, "after its outcome"),
    ],
)
def test_a_kill_says_what_was_there_once_the_process_was_gone(paid: bool, recorded: bool, fell: Fell) -> None:
    stock(orders(1))
    if paid:
        refund("2000", "ada", 3.0, "a")
    seed = 0 if paid else 1
    assert (random.Random(seed).random() >= 0.5) is paid, "a strike after the refund needs one"
    assert refunded() == ({"2000": 1} if paid else {})
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        threading.Thread(target=process.wait).start()  # a process that nobody waits for is never gone
        found = strike("2000", process.pid, random.Random(seed), recorded=lambda: recorded)
    assert found == fell
    assert process.returncode == -9


def test_kills_are_counted_by_where_they_fell() -> None:
    kills = Kills(("before the refund", "before its outcome", "after its outcome"), (1, 1, 1))
    assert kills.counted("before the refund", "before its outcome") == [1, 1, 0]
