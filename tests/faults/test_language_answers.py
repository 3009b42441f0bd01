"""Answers that are none, and calls that cannot be made, on a real socket: each is recorded and told in words."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from telemetry.events import reason
from tests.model_server import ModelServer, answers, call, calls, choice, replies
from tests.talk import FIND, Talk, ask_once, language


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"[]",
        b"null",
        b"12",
        b'{"object": "list"}',
        b'{"choices": "none"}',
        b'{"choices": [{"message": {"content": 7}, "finish_reason": "stop"}]}',
        b'{"choices": [{"message": {"tool_calls": {}}, "finish_reason": "stop"}]}',
        b'{"choices": [], "usage": {"prompt_tokens": -1}}',
        b"[" * 100_000,
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_what_is_no_answer_of_the_protocol_is_invalid(server: ModelServer, raw: bytes, stream: bool) -> None:
    sent = replies(b"data: " + raw + b"\n\n", content_type="text/event-stream") if stream else replies(raw)
    event = ask_once(server, sent, stream=stream)
    assert event.kind == "invalid"
    assert "did not answer in the protocol" in event.error
    assert len(event.error) < 700


def test_a_web_page_in_place_of_an_endpoint_is_recorded_as_invalid(server: ModelServer) -> None:
    for stream in (True, False):
        event = ask_once(server, replies(b"<html>Welcome!</html>", content_type="text/html"), stream=stream)
        assert event.kind == "invalid"
        assert "Check that base_url leads to an OpenAI-compatible endpoint" in event.error


def test_an_answer_without_a_word_is_no_answer(server: ModelServer) -> None:
    event = ask_once(server, answers(choice("", finish="length")))
    assert event.kind == "invalid"
    assert "answered without a word or a call; it ended with 'length'" in event.error
    assert (event.usage.input_tokens, event.usage.output_tokens) == (100, 20)


def test_calls_that_are_not_numbered_or_named_apart_are_told_apart(server: ModelServer) -> None:
    first, second = (call("find_order", f'{{"order": {n}}}', call_id=None) for n in (1, 2))
    server.will(calls(first, second), calls(first, second))
    talk, reasoner = Talk(FIND), language(server.url)
    ids: list[str] = []
    for _ in range(2):
        talk.says("1 and 2?")
        (event,) = talk.asks(reasoner)
        assert isinstance(event, reason.Answered)
        assert [one.arguments for one in event.calls] == [{"order": 1}, {"order": 2}]
        ids += [one.id for one in event.calls]
        talk.decides(reasoner)
        talk.does("one", "two")
    assert len(set(ids)) == 4
    assert all(len(one) == 9 and one.isalnum() for one in ids)


@pytest.mark.parametrize(
    "arguments",
    [
        '{"order": 123456789012345678901234567890}',
        '{"order": NaN}',
        '{"order": 1e999}',
        '{"order": "\\ud800"}',
        '{"order": ' + "[" * 100 + "]" * 100 + "}",
        '{"order": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"order": 1} and more',
        '"text"',
        "null",
    ],
)
def test_arguments_that_no_event_can_hold_are_told_to_the_model(server: ModelServer, arguments: str) -> None:
    server.will(calls(call("find_order", arguments)))
    talk, reasoner = Talk(FIND), language(server.url, endpoints={"main": {"stream": False}})
    talk.says("Which?")
    (event,) = talk.asks(reasoner)
    assert isinstance(event, reason.Answered)
    assert event.calls[0].arguments == {}
    assert str(event.calls[0].invalid).startswith("its arguments ")
    talk.decides(reasoner)
    talk.read_back()


def test_half_a_character_is_replaced_and_two_halves_are_joined(server: ModelServer) -> None:
    raw = b"".join(
        b'data: {"choices": [{"index": 0, "delta": {"content": "%s"}, "finish_reason": "stop"}]}\n\n' % piece
        for piece in (b"\\ud83d", b"\\ude42 ok \\ud83d")
    )
    server.will(replies(raw, content_type="text/event-stream"))
    talk = Talk()
    talk.says("Hi")
    (event,) = talk.asks(language(server.url))
    assert isinstance(event, reason.Answered)
    assert event.text == "🙂 ok \ufffd"
