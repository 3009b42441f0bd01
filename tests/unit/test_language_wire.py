"""A whole answer and its stream give the same reply, however the stream is cut; and what a reply costs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from loops.reasoners.language import wire
from loops.reasoners.language.settings import EndpointSettings, LanguageSettings, Price
from loops.reasoners.language.wire import Assembly, Reply, TooLong

Wire = dict[str, Any]

texts = st.text(max_size=12)
calls = st.lists(st.tuples(st.sampled_from(["", "a", "b", "c"]), st.just("find"), texts), max_size=3)
choices = st.lists(st.tuples(texts, calls, st.lists(st.floats(-9, 0), max_size=3)), min_size=1, max_size=3)


def taken(*bodies: Wire) -> Reply:
    assembly = Assembly(lambda _text: None)
    for body in bodies:
        assembly.take(body)
    return assembly.reply()


def numbered(ids: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """The calls with ids that differ, as endpoints that number their calls give them."""
    return [(f"{call_id}{place}", name, arguments) for place, (call_id, name, arguments) in enumerate(ids)]


@given(choices, st.integers(1, 4))
def test_a_stream_gives_the_reply_that_the_whole_answer_gives(
    made: list[tuple[str, list[tuple[str, str, str]], list[float]]], step: int
) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 5}}
    whole: list[Wire] = []
    chunks: list[Wire] = []
    for index, (text, listed, logprobs) in enumerate(made):
        spelled = [{"id": i, "function": {"name": n, "arguments": a}} for i, n, a in numbered(listed)]
        content = [{"token": f"token_id:{place}", "logprob": lp} for place, lp in enumerate(logprobs)]
        message = {"content": text or None, "tool_calls": spelled or None}
        ended = {"index": index, "finish_reason": "stop"}
        whole.append({**ended, "message": message, "logprobs": {"content": content}})
        chunks += [{"index": index, "delta": {"content": text[i : i + step]}} for i in range(0, len(text), step)]
        for place, call in enumerate(spelled):
            function: Wire = call["function"]  # type: ignore[assignment]  # built above
            chunks.append(_piece(index, place, call["id"], function["name"], ""))
            arguments = function["arguments"]
            cut = [arguments[i : i + step] for i in range(0, len(arguments), step)]
            chunks += [_piece(index, place, None, None, part) for part in cut]
        chunks += [{"index": index, "delta": {}, "logprobs": {"content": [one]}} for one in content]
        chunks.append({**ended, "delta": {}})
    streamed = [{"model": "m", "choices": [chunk]} for chunk in chunks] + [{"choices": [], "usage": usage}]
    reply = taken({"model": "m", "choices": whole, "usage": usage})
    assert taken(*streamed) == reply
    assert reply.whole
    assert (reply.input_tokens, reply.cached_tokens, reply.output_tokens) == (9, 5, 4)
    assert [choice.text for choice in reply.choices] == [text for text, _, _ in made]
    ids = [tuple(range(len(logprobs))) or None for _, _, logprobs in made]
    assert [choice.tokens for choice in reply.choices] == ids


def _piece(index: int, place: int, call_id: object, name: str | None, arguments: str) -> Wire:
    function = {"name": name, "arguments": arguments}
    return {"index": index, "delta": {"tool_calls": [{"index": place, "id": call_id, "function": function}]}}


def test_calls_that_share_a_number_or_have_none_are_told_apart_by_id_or_name() -> None:
    def of(*pieces: Wire) -> list[tuple[str, str, str]]:
        bodies = [{"choices": [{"index": 0, "delta": {"tool_calls": [piece]}}]} for piece in pieces]
        return [(one.id, one.name, one.arguments) for one in taken(*bodies).choices[0].calls]

    same = [{"index": 0, "id": i, "function": {"name": "f", "arguments": i}} for i in ("a", "b")]
    assert of(*same) == [("a", "f", "a"), ("b", "f", "b")]
    none = [{"function": {"name": n, "arguments": "{"}} for n in ("f", "g")]
    assert of(none[0], {"function": {"arguments": "}"}}, none[1]) == [("", "f", "{}"), ("", "g", "{")]


def test_token_ids_that_the_endpoint_lists_come_before_those_in_log_probabilities() -> None:
    body = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop", "token_ids": [5, 6]}]}
    assert taken(body).choices[0].tokens == (5, 6)
    unlikely = {"content": [{"token": "x", "logprob": float("-inf")}]}
    assert taken({"choices": [{"message": {"content": "x"}, "logprobs": unlikely}]}).choices[0].logprobs is None


def test_an_answer_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MOST_CHARACTERS", 10)
    with pytest.raises(TooLong, match="longer than 10 characters"):
        taken(*({"choices": [{"delta": {"content": "x" * 4}}]} for _ in range(3)))


def test_cached_tokens_cost_their_own_price() -> None:
    price = Price(input_usd_per_million=2, output_usd_per_million=8, cached_input_usd_per_million=0.5)
    assert price.of(input_tokens=1_000_000, cached_tokens=400_000, output_tokens=500_000) == pytest.approx(5.4)
    plain = Price(input_usd_per_million=2, output_usd_per_million=8)
    assert plain.of(input_tokens=1_000_000, cached_tokens=400_000, output_tokens=0) == pytest.approx(2)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"endpoints": {}}, "needs at least one endpoint"),
        ({"routes": [{"endpoint": "gone", "contains": ["x"]}]}, "there is no endpoint 'gone'; there are: main"),
        ({"n": 5, "specialists": [{"name": "a", "prompt": "x"}, {"name": "b", "prompt": "x"}]}, "the 8 proposals"),
        ({"endpoints": {"main": {"base_url": "localhost:8000"}}}, "base_url"),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_words(settings: Wire, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        LanguageSettings.model_validate(settings)


def test_an_address_that_cannot_be_one_is_refused() -> None:
    for bad in ("http://", "http://[bad", "http://host:99999999/v1", "ftp://host/v1"):
        with pytest.raises(ValidationError):
            EndpointSettings(base_url=bad)
