"""Every way an endpoint fails, on a real socket: a recorded outcome, a clear message, and how often it was tried."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from pydantic import JsonValue

from loops.reasoners.language.client import Endpoint
from loops.reasoners.language.ear import Ear
from loops.reasoners.language.failures import Failure
from loops.reasoners.language.settings import EndpointSettings
from loops.reasoners.language.wire import Reply
from telemetry.events import reason
from tests.model_server import (
    ModelServer,
    Script,
    answers,
    breaks_off,
    choice,
    cuts,
    fails,
    hangs,
    pings,
    says,
    stalls,
    stalls_error,
)
from tests.talk import Talk, ask_once, language

BODY: dict[str, JsonValue] = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "seed": 3}
STREAMED: dict[str, JsonValue] = {**BODY, "stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


class Waits(list[float]):
    """Waits by noting for how long."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def endpoint(url: str, waits: Waits | None = None, *, key: str | None = None, **settings: Any) -> Endpoint:  # noqa: ANN401
    read = EndpointSettings.model_validate(settings)
    return Endpoint("main", read, base_url=url, secret=lambda _name: key, wait=Waits() if waits is None else waits)


def ear(heard: list[str] | None = None) -> Ear:
    listens = None if heard is None else heard.append
    return Ear(listens, redact=lambda text: text, hide_tags=False, by_line=False)


def failure(result: Reply | Failure) -> Failure:
    assert isinstance(result, Failure), result
    return result


@pytest.mark.parametrize("stream", [True, False])
def test_an_endpoint_that_is_down_is_tried_again_with_doubling_waits_and_then_told(
    stream: bool, closed_port: int
) -> None:
    waits, port = Waits(), closed_port
    client = endpoint(f"http://127.0.0.1:{port}/v1", waits, retries=3)
    attempts, result = client.ask(STREAMED if stream else BODY, seed=5, ear=ear())
    assert (attempts, failure(result).kind) == (4, "unreachable")
    assert [low <= wait <= 2 * low for low, wait in zip((0.375, 0.75, 1.5), waits, strict=True)] == [True] * 3
    said = client.explain(failure(result), attempts=attempts)
    assert said.startswith(f"endpoint 'main' at 127.0.0.1:{port} could not be reached: ")
    assert said.endswith(
        "(4 attempts). Nothing was done. Check that it runs and that base_url is right, "
        "then resume the session to ask again."
    )
    again = Waits()
    endpoint(f"http://127.0.0.1:{port}/v1", again, retries=3).ask(BODY, seed=5, ear=ear())
    assert again == waits, "the same request waits as long"


@pytest.mark.parametrize("stream", [True, False])
def test_an_endpoint_that_recovers_is_asked_until_it_answers(server: ModelServer, stream: bool) -> None:
    server.will(fails(500), fails(503), says("Hello."))
    attempts, result = endpoint(server.url).ask(STREAMED if stream else BODY, seed=1, ear=ear())
    assert isinstance(result, Reply)
    assert (attempts, result.text) == (3, "Hello.")
    assert (result.input_tokens, result.output_tokens) == (100, 20)


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"Retry-After": "7"}, 7, 7),
        ({"retry-after-ms": "1500"}, 1.5, 1.5),
        ({"Retry-After": "a date"}, 1, 51),
        ({"Retry-After": "soon"}, 0.375, 0.5),
        ({"Retry-After": "nan"}, 0.375, 0.5),
        ({"Retry-After": "-3"}, 0.375, 0.5),
        ({}, 0.375, 0.5),
    ],
)
def test_a_429_is_waited_out_as_long_as_it_asks(
    server: ModelServer, headers: dict[str, str], least: float, most: float
) -> None:
    if headers.get("Retry-After") == "a date":
        headers = {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)}
    waits = Waits()
    server.will(fails(429, headers=headers), says("Hello."))
    attempts, result = endpoint(server.url, waits).ask(BODY, seed=1, ear=ear())
    assert isinstance(result, Reply)
    assert attempts == 2
    assert least <= waits[0] <= most


def test_a_429_that_asks_for_longer_than_a_minute_is_given_up_at_once(server: ModelServer) -> None:
    waits = Waits()
    server.will(fails(429, "slow down", headers={"Retry-After": "3600"}))
    client = endpoint(server.url, waits)
    attempts, result = client.ask(BODY, seed=1, ear=ear())
    assert (attempts, waits) == (1, [])
    assert "takes no more requests for now, asking to wait 3600 s (429): slow down (1 attempt)" in client.explain(
        failure(result), attempts=attempts
    )


def test_an_account_without_money_is_not_asked_again(server: ModelServer) -> None:
    server.will(fails(429, "You exceeded your current quota", code="insufficient_quota"))
    attempts, result = endpoint(server.url).ask(BODY, seed=1, ear=ear())
    assert (attempts, failure(result).kind) == (1, "rate_limited")


@pytest.mark.parametrize("stream", [True, False])
def test_a_server_error_is_recorded_with_its_status_and_words(server: ModelServer, stream: bool) -> None:
    event = ask_once(server, fails(500, "the GPU is\non fire"), stream=stream)
    assert (event.kind, event.status, event.attempts) == ("server_error", 500, 1)
    assert "failed (500): the GPU is on fire (1 attempt). Nothing was done." in event.error


def test_a_refused_key_names_the_variable_and_never_the_key(server: ModelServer) -> None:
    event = ask_once(server, fails(401, "Incorrect API key provided: sk-very-secret"))
    assert (event.kind, event.status) == ("refused", 401)
    assert "sk-very-secret" not in event.error
    assert event.error.endswith("Its key is read from the environment variable OPENAI_API_KEY, which is set.")
    server.will(fails(401))
    client = endpoint(server.url, key=None)
    attempts, result = client.ask(BODY, seed=1, ear=ear())
    assert client.explain(failure(result), attempts=attempts).endswith("OPENAI_API_KEY, which is not set.")
    assert server.sent[-1].headers["Authorization"] == "Bearer unused"


def test_a_key_that_no_header_can_hold_is_refused_without_being_shown(server: ModelServer) -> None:
    client = endpoint(server.url, key="geheim\x00nis")
    attempts, result = client.ask(BODY, seed=1, ear=ear())
    said = client.explain(failure(result), attempts=attempts)
    assert server.sent == []
    assert "geheim" not in said
    assert "takes no key that is not printable ASCII" in said


def test_a_request_that_is_refused_is_not_sent_again(server: ModelServer) -> None:
    event = ask_once(server, fails(400, "the context is too long"))
    assert (event.kind, event.status) == ("refused", 400)
    assert "refused the request (400): the context is too long" in event.error
    missing = ask_once(server, fails(404, "no such model"))
    assert "Check the model's name" in missing.error


@pytest.mark.parametrize(
    ("script", "stream"), [(hangs(), True), (hangs(), False), (stalls("Hel"), True), (pings(), True)]
)
def test_an_endpoint_that_is_slow_is_given_up_when_its_time_is_over(
    server: ModelServer, script: Script, stream: bool
) -> None:
    event = ask_once(server, script, stream=stream, timeout_s=0.3)
    assert (event.kind, event.status) == ("timeout", None)
    assert "gave no whole answer within 0.3 s (1 attempt)" in event.error
    assert "raise timeout_s above 0.3" in event.error


@pytest.mark.parametrize("stream", [True, False])
def test_an_error_whose_words_never_come_is_given_up_as_well(server: ModelServer, stream: bool) -> None:
    event = ask_once(server, stalls_error(500), stream=stream, timeout_s=0.3)
    assert event.kind == "timeout"


def test_a_stream_that_is_cut_before_a_word_was_heard_is_asked_for_again(server: ModelServer) -> None:
    server.will(cuts(""), cuts("unheard"), says("Hello."))
    attempts, result = endpoint(server.url).ask(STREAMED, seed=1, ear=ear())
    assert isinstance(result, Reply)
    assert (attempts, result.text) == (3, "Hello.")


def test_a_stream_that_is_cut_after_a_word_was_heard_is_recorded_as_far_as_it_came(server: ModelServer) -> None:
    heard: list[str] = []
    server.will(cuts("Your order"))
    attempts, result = endpoint(server.url).ask(STREAMED, seed=1, ear=ear(heard))
    assert (attempts, failure(result).kind, heard) == (1, "cut", ["Your order"])
    event = ask_once(server, cuts("Your order"))
    assert (event.kind, event.text) == ("cut", "Your order")
    assert "ended its answer early: " in event.error


def test_a_stream_without_its_end_is_no_answer(server: ModelServer) -> None:
    event = ask_once(server, answers(choice("Refund it al"), finishes=False))
    assert (event.kind, event.text) == ("cut", "Refund it al")


def test_an_error_within_a_stream_is_told_in_its_words(server: ModelServer) -> None:
    event = ask_once(server, breaks_off("Your", "upstream overloaded"))
    assert (event.kind, event.text) == ("server_error", "Your")
    assert "broke off with an error: upstream overloaded" in event.error


def test_parameters_that_an_endpoint_does_not_know_are_left_out_from_then_on(server: ModelServer) -> None:
    server.will(
        fails(400, "Unrecognized request argument supplied: stream_options"),
        fails(422, '[{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]'),
        fails(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
    )
    server.always = says("Hello.")
    reasoner = language(server.url, endpoints={"main": {"max_tokens": 50, "retries": 0}})
    talk = Talk()
    talk.says("Hi")
    (event,) = talk.asks(reasoner)
    assert isinstance(event, reason.Answered)
    assert event.usage.model_calls == 4
    talk.decides(reasoner)
    talk.says("And again")
    talk.asks(reasoner)
    last = server.sent[-1].body
    assert len(server.sent) == 5
    assert not {"seed", "stream_options", "max_tokens"} & last.keys()
    assert last["max_completion_tokens"] == 50
    (asked,) = talk.context.scene.requests
    assert asked.parameters["left_out"] == ["max_tokens", "seed", "stream_options"]


def test_a_refusal_that_leaving_parameters_out_does_not_mend_is_told_once(server: ModelServer) -> None:
    server.always = fails(400, "seed logprobs stream_options: all wrong")
    client = endpoint(server.url)
    attempts, result = client.ask(STREAMED, seed=1, ear=ear())
    assert (attempts, failure(result).kind) == (3, "refused")
    assert client.left_out == frozenset()
