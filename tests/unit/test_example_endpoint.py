"""The example's endpoint, as the official `openai` client sees it: its answers, its streams and its faults."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

from examples.refund.endpoint import CUT_AFTER, Endpoint, Fault, running
from examples.refund.policy import Messages, Reply, chatter

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
"""The client's own is 5 s for a connection, which 200 of them that are made at once may take."""
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello."}]
FIND = ("find_order", '{"order": "1001"}')
REFUND = ("refund", '{"order": "1001", "customer": "ada", "amount": 30}')


def talks(_: Messages) -> Reply:
    return Reply(text="Let me look.", calls=(FIND, REFUND))


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with running(talks) as served:
        yield served


@pytest.fixture
def client(endpoint: Endpoint) -> Iterator[OpenAI]:
    with OpenAI(base_url=endpoint.url, api_key="any", max_retries=0, timeout=PATIENCE_S) as made:
        yield made


def streamed(client: OpenAI, model: str = "m") -> list[ChatCompletionChunk]:
    return list(client.chat.completions.create(model=model, messages=HELLO, stream=True))


def test_a_whole_answer_has_words_calls_and_usage(endpoint: Endpoint, client: OpenAI) -> None:
    answer = client.chat.completions.create(model="m", messages=HELLO, seed=3)
    (choice,) = answer.choices
    assert choice.message.content == "Let me look."
    assert choice.finish_reason == "tool_calls"
    calls = [call for call in choice.message.tool_calls or () if call.type == "function"]
    assert [(call.function.name, call.function.arguments) for call in calls] == [FIND, REFUND]
    assert len({call.id for call in calls}) == 2
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert [body["seed"] for body in endpoint.requests] == [3]


def test_a_stream_adds_up_to_the_whole_answer(client: OpenAI) -> None:
    whole = client.chat.completions.create(model="m", messages=HELLO)
    with client.chat.completions.stream(model="m", messages=HELLO, stream_options={"include_usage": True}) as stream:
        deltas = [event for event in stream if event.type == "tool_calls.function.arguments.delta"]
        added = stream.get_final_completion()
    assert added.id == whole.id
    assert added.usage == whole.usage
    assert len(deltas) == 4, "the arguments of both calls come in two pieces"
    (told,), (said,) = added.choices, whole.choices
    assert told.message.content == said.message.content
    assert told.finish_reason == said.finish_reason
    assert [call.model_dump(include={"id"}) for call in told.message.tool_calls or ()] == [
        call.model_dump(include={"id"}) for call in said.message.tool_calls or ()
    ]
    assert [call.function.arguments for call in told.message.tool_calls or ()] == [FIND[1], REFUND[1]]


def test_usage_is_streamed_only_when_asked_for(client: OpenAI) -> None:
    assert all(chunk.usage is None for chunk in streamed(client))


def test_several_choices_come_numbered_whole_and_streamed(client: OpenAI) -> None:
    whole = client.chat.completions.create(model="m", messages=HELLO, n=2)
    assert [choice.index for choice in whole.choices] == [0, 1]
    texts = {0: "", 1: ""}
    for chunk in client.chat.completions.create(model="m", messages=HELLO, n=2, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == {0: "Let me look.", 1: "Let me look."}


def test_log_probabilities_come_when_asked_for_and_spell_the_text(client: OpenAI) -> None:
    whole = client.chat.completions.create(model="m", messages=HELLO, logprobs=True, top_logprobs=3)
    logprobs = whole.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert b"".join(bytes(token.bytes or ()) for token in logprobs.content) == b"Let me look."
    assert all(token.logprob < 0 and token.top_logprobs[0].token == token.token for token in logprobs.content)
    chunks = client.chat.completions.create(model="m", messages=HELLO, logprobs=True, top_logprobs=3, stream=True)
    parts = [choice.logprobs for chunk in chunks for choice in chunk.choices if choice.logprobs]
    assert [token for part in parts for token in part.content or ()] == logprobs.content
    assert client.chat.completions.create(model="m", messages=HELLO).choices[0].logprobs is None


def test_equal_messages_get_equal_answers_from_two_endpoints(client: OpenAI) -> None:
    with running(talks) as other, OpenAI(base_url=other.url, api_key="any", timeout=PATIENCE_S) as second:
        answers = [one.chat.completions.create(model="m", messages=HELLO) for one in (client, second)]
        unlike = second.chat.completions.create(model="m", messages=[{"role": "user", "content": "Bye."}])
    assert answers[0] == answers[1]
    assert unlike.id != answers[0].id


def test_models_are_listed_and_a_key_is_asked_of_everybody_where_one_is_set(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["scripted"]
    with running(talks, key="right") as closed:
        wrong, right = (
            OpenAI(base_url=closed.url, api_key=key, max_retries=0, timeout=PATIENCE_S) for key in ("wrong", "right")
        )
        for ask in (wrong.models.list, lambda: wrong.chat.completions.create(model="m", messages=HELLO)):
            with pytest.raises(openai.AuthenticationError, match="API key is missing or wrong"):
                ask()
        assert [model.id for model in right.models.list()] == ["scripted"]
        assert len(closed.requests) == 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "error"),
    [("429", openai.RateLimitError), ("500", openai.InternalServerError), ("503", openai.InternalServerError)],
)
def test_an_error_has_its_status_and_its_words_and_the_next_request_is_answered(
    endpoint: Endpoint, client: OpenAI, fault: Fault, error: type[openai.APIStatusError], stream: bool
) -> None:
    endpoint.faults.append(fault)
    with pytest.raises(error) as raised:
        client.chat.completions.create(model="m", messages=HELLO, stream=stream)
    assert raised.value.status_code == int(fault)
    assert raised.value.type == "scripted"
    assert raised.value.response.headers.get("Retry-After") == ("0" if fault == "429" else None)
    assert streamed(client)[-1].choices[0].finish_reason == "tool_calls"


def test_a_client_that_retries_gets_through_429_and_503(endpoint: Endpoint, client: OpenAI) -> None:
    endpoint.faults += ["429", "503"]
    answer = client.with_options(max_retries=2).chat.completions.create(model="m", messages=HELLO)
    assert answer.choices[0].message.content == "Let me look."
    assert len(endpoint.requests) == 3


def test_a_cut_stream_ends_in_an_error_after_its_first_word(endpoint: Endpoint, client: OpenAI) -> None:
    endpoint.faults.append("cut")
    stream = client.chat.completions.create(model="m", messages=HELLO, stream=True)
    assert [next(stream).choices[0].delta.content for _ in range(CUT_AFTER)] == ["", "Let"]
    with pytest.raises(openai.APIConnectionError):
        next(stream)
    endpoint.faults.append("cut")
    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(model="m", messages=HELLO)


def test_an_endpoint_that_hangs_runs_into_the_client_s_time_out(endpoint: Endpoint, client: OpenAI) -> None:
    endpoint.faults.append("hang")
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.2).chat.completions.create(model="m", messages=HELLO)


def test_a_slow_endpoint_answers_late_and_whole(endpoint: Endpoint, client: OpenAI) -> None:
    endpoint.slow_s = 0.3
    endpoint.faults.append("slow")
    began = time.monotonic()
    stream = client.chat.completions.create(model="m", messages=HELLO, stream=True)
    next(iter(stream))
    assert time.monotonic() - began >= 0.3
    assert [chunk.choices[0].finish_reason for chunk in stream][-1] == "tool_calls"


def test_a_body_that_is_no_json_is_not_taken_for_an_answer(endpoint: Endpoint, client: OpenAI) -> None:
    endpoint.faults.append("not-json")
    with pytest.raises(json.JSONDecodeError):
        client.chat.completions.create(model="m", messages=HELLO)


def test_a_page_instead_of_an_answer_has_the_type_of_a_page(endpoint: Endpoint, client: OpenAI) -> None:
    endpoint.faults.append("html")
    raw = client.chat.completions.with_raw_response.create(model="m", messages=HELLO)
    assert raw.headers["Content-Type"].startswith("text/html")
    assert "not what you asked for" in raw.text


def test_an_answer_without_choices_has_usage_and_nothing_else(endpoint: Endpoint, client: OpenAI) -> None:
    endpoint.faults += ["no-choices", "no-choices"]
    answer = client.chat.completions.create(model="m", messages=HELLO)
    assert answer.choices == []
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 0
    assert streamed(client) == []


@pytest.mark.parametrize(
    ("fault", "call"),
    [("bad-arguments", ("find_order", '{"order": 1001')), ("unknown-tool", ("find_ordr", '{"order": "1001"}'))],
)
def test_a_spoilt_call_comes_as_the_model_wrote_it(
    endpoint: Endpoint, client: OpenAI, fault: Fault, call: tuple[str, str]
) -> None:
    endpoint.faults.append(fault)
    message = client.chat.completions.create(model="m", messages=HELLO).choices[0].message
    made = [one.function for one in message.tool_calls or () if one.type == "function"]
    assert [(function.name, function.arguments) for function in made] == [call]


def test_a_fault_can_be_had_by_the_name_of_the_model(client: OpenAI) -> None:
    for _ in range(2):
        with pytest.raises(openai.InternalServerError, match="overloaded"):
            client.chat.completions.create(model="fault-503", messages=HELLO)


def test_an_endpoint_that_has_ended_refuses_connections() -> None:
    with (
        running(talks) as ended,
        OpenAI(base_url=ended.url, api_key="any", max_retries=0, timeout=PATIENCE_S) as client,
    ):
        assert streamed(client)
    with OpenAI(base_url=ended.url, api_key="any", max_retries=0, timeout=PATIENCE_S) as client:
        with pytest.raises(openai.APIConnectionError) as raised:
            client.models.list()
        assert not isinstance(raised.value, openai.APITimeoutError)


@pytest.mark.parametrize(("body", "why"), [("{", "no JSON"), ("{}", "no messages"), ("[]", "no messages")])
def test_a_request_that_cannot_be_meant_is_refused_and_not_kept(
    endpoint: Endpoint, client: OpenAI, body: str, why: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=why):
        client.post("/chat/completions", content=body.encode(), cast_to=object)
    assert endpoint.requests == []


def test_a_taken_port_is_an_error_and_leaves_no_thread(endpoint: Endpoint) -> None:
    before = {*threading.enumerate()}  # of which any may end meanwhile
    taken = int(endpoint.url.removesuffix("/v1").rpartition(":")[2])
    with pytest.raises(OSError, match="address already in use"), running(talks, port=taken):
        pass
    assert {*threading.enumerate()} <= before


async def test_two_hundred_streams_at_once_are_all_whole() -> None:
    with running(chatter(50)) as endpoint:
        async with AsyncOpenAI(base_url=endpoint.url, api_key="any", max_retries=0, timeout=PATIENCE_S) as client:

            async def read() -> str:
                stream = await client.chat.completions.create(model="m", messages=HELLO, stream=True)
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

            texts = await asyncio.gather(*(read() for _ in range(200)))
    assert set(texts) == {" ".join(f"word{i}" for i in range(50))}
    assert len(endpoint.requests) == 200


def test_as_a_command_it_prints_its_address_first() -> None:
    command = [sys.executable, "-m", "examples.refund.endpoint", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with OpenAI(base_url=url, api_key="any", max_retries=0, timeout=PATIENCE_S) as client:
            answer = client.chat.completions.create(model="scripted", messages=HELLO)
        process.terminate()
    assert answer.choices[0].message.content == "Which order is it? Please give me its number."
