"""Laws of the protocol's reading: chunk borders and spellings make no difference."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.gateway.answer import AnswerReader, Ending, Nothing, Reply
from runtime.gateway.wire import Message, onward, read_request
from tests.upstream import Body, chunk, chunks, event, message, user, whole

SAID = message("Fünf Dinge. ", calls=[("a", "find", '{"name": "Zoë"}'), ("b", "find", "{}")])
STREAM = b": a comment\r\n\r\n" + b"".join(chunks(SAID))


def read(*pieces: bytes, streamed: bool = True, status: int = 200) -> Ending:
    reader = AnswerReader(status, streamed=streamed, encoded=False)
    for piece in pieces:
        reader.feed(piece)
    return reader.ending()


def ended(reply: Ending) -> Reply:
    assert isinstance(reply, Reply), reply
    return reply


@given(cuts=st.lists(st.integers(0, len(STREAM))))
def test_however_a_stream_is_cut_into_chunks_the_answer_is_the_same(cuts: list[int]) -> None:
    at = [0, *sorted(cuts), len(STREAM)]
    pieces = (STREAM[i:j] for i, j in pairwise(at))
    (said,) = ended(read(*pieces)).choices
    assert (said.finish, said.message.plain) == ("tool_calls", "Fünf Dinge. ")
    assert [(c.id, c.function.name, c.function.arguments) for c in said.message.calls] == [
        ("a", "find", '{"name": "Zoë"}'),
        ("b", "find", "{}"),
    ]


@given(end=st.integers(0, STREAM.index(b'"finish_reason": "tool_calls"')))
def test_a_stream_that_ends_before_the_answer_does_is_no_answer(end: int) -> None:
    assert isinstance(read(STREAM[:end]), Nothing)


def test_an_answer_streamed_or_whole_leaves_the_conversation_at_the_same_place() -> None:
    once = ended(read(json.dumps(whole(SAID)).encode(), streamed=False)).choices[0].message
    streamed = ended(read(STREAM)).choices[0].message
    assert onward(b"", [once]) == onward(b"", [streamed])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (user("Hi"), {"role": "user", "content": [{"type": "text", "text": "Hi"}]}),
        (message(None), message("")),
        (message(calls=[("a", "f", '{"x": 1, "y": 2}')]), message("", calls=[("a", "f", '{"y":2,"x":1}')])),
        (message(calls=[("a", "f", "")]), message(calls=[("a", "f", "{}")])),
        (user("Hi"), {**user("Hi"), "name": "me"}),
    ],
)
def test_two_spellings_of_one_message_are_the_same(one: Body, other: Body) -> None:
    assert Message.model_validate(one).canonical() == Message.model_validate(other).canonical()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (user("Hi"), user("Hi ")),
        (user("Hi"), message("Hi")),
        (message(calls=[("a", "f", "{}")]), message(calls=[("b", "f", "{}")])),
        (message(calls=[("a", "f", '{"x": 1}')]), message(calls=[("a", "f", '{"x": 2}')])),
    ],
)
def test_two_messages_that_differ_are_not(one: Body, other: Body) -> None:
    assert Message.model_validate(one).canonical() != Message.model_validate(other).canonical()


def test_a_call_without_an_index_is_added_to_the_last_unless_it_brings_an_id() -> None:
    first = {"id": "a", "function": {"name": "f", "arguments": '{"x"'}}
    pieces = [
        chunk({"tool_calls": [first]}),
        chunk({"tool_calls": [{"function": {"arguments": ":1}"}}]}),
        chunk({"tool_calls": [{"id": "b", "function": {"name": "g", "arguments": {"y": 2}}}]}, finish="stop"),
    ]
    calls = ended(read(*pieces)).choices[0].message.calls
    assert [(c.id, c.function.arguments) for c in calls] == [("a", '{"x":1}'), ("b", '{"y":2}')]


def test_usage_and_probabilities_are_read_where_they_are_told() -> None:
    told = {"index": 0, "delta": {"content": "a"}, "finish_reason": "stop", "token_ids": [5]}
    told["logprobs"] = {"content": [{"token": "a", "logprob": -0.5}]}
    pieces = [event({"choices": [told]}), event({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}})]
    reply = ended(read(*pieces))
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (3, 1)
    assert (reply.choices[0].logprobs, reply.choices[0].tokens) == ((-0.5,), (5,))


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_without_a_finish_is_whole_when_the_endpoint_says_that_it_ended(streamed: bool) -> None:
    body = json.dumps({"choices": [{"message": message("Hi")}]}).encode()
    pieces = [chunk({"content": "Hi"}), b"data: [DONE]\n\n"] if streamed else [body]
    assert ended(read(*pieces, streamed=streamed)).choices[0].message.plain == "Hi"


def test_an_error_inside_a_stream_is_no_answer() -> None:
    nothing = read(chunk({"content": "a"}), event({"error": {"message": "overloaded"}}))
    assert isinstance(nothing, Nothing)
    assert (nothing.kind, nothing.error, nothing.text) == ("server_error", "overloaded", "a")


def test_a_body_nested_without_end_is_read_as_an_error() -> None:
    deep = b'{"error": ' + b"[" * 900 + b"]" * 900 + b"}"
    assert isinstance(read(deep, streamed=False), Nothing)
    assert isinstance(read(deep, streamed=False, status=500), Nothing)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"messages": 1}', b"\xff", b'{"messages": [1]}'])
def test_what_is_no_request_raises_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        read_request(body)
