"""The language reasoner against a real socket: what is sent, what is recorded, what is proposed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from loops.environments.tools.vault import handle_of
from loops.errors import ScenarioInvalid
from loops.reasoners.language.reasoner import Language
from loops.reasoners.language.settings import LanguageSettings, ModelDefaults, Price
from telemetry.events import Event, feel, reason
from telemetry.events.values import (
    Appraisal,
    Feedback,
    Ground,
    Option,
    Playbook,
    Say,
    ToolCalls,
    Usage,
    Wait,
    digest_of,
)
from tests.model_server import ModelServer, Sent, answers, call, calls, choice, says
from tests.talk import FIND, PAY, WRITE, Talk, Vaulted, language, letters


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


def digest_received(sent: Sent) -> str:
    """Of what the server got over the wire."""
    body = {"messages": sent.body["messages"], "tools": sent.body.get("tools", [])}
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


def requested(events: Talk) -> list[reason.Requested]:
    return [event for _, event in events.events if isinstance(event, reason.Requested)]


def only(events: Any) -> reason.Answered:  # noqa: ANN401  whatever came
    (answer,) = events
    assert isinstance(answer, reason.Answered), answer
    return answer


def test_a_question_is_answered_in_words_that_are_heard_as_they_come(server: ModelServer) -> None:
    server.will(says("Your order is on its way."))
    talk, reasoner, heard = Talk(FIND), language(server.url), list[str]()
    talk.says("Where is my order?")
    answer = only(talk.asks(reasoner, heard.append))
    assert answer.text == "".join(heard) == "Your order is on its way."
    assert len(heard) > 1
    assert (answer.model, answer.finish) == ("test-model", "stop")
    assert talk.decides(reasoner) == Say(text="Your order is on its way.")
    assert server.sent[0].headers["Authorization"] == "Bearer sk-very-secret"
    assert server.sent[0].path == "/v1/chat/completions"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("native_tools", [True, False])
def test_the_digest_on_the_log_is_that_of_what_the_server_received(
    server: ModelServer, stream: bool, native_tools: bool
) -> None:
    written = call("find_order", '{"order": 7}')
    spelled = '<aether-find_order order="7"/>'
    server.will(calls(written) if native_tools else says(spelled), says("It is on its way."))
    playbook = Playbook(name="shop", prompt="Be brief.", strategies=("look first",), tools=("write_file",))
    talk = Talk(FIND, WRITE, person="ann", playbook=playbook)
    reasoner = language(server.url, endpoints={"main": {"stream": stream, "native_tools": native_tools}})
    talk.says("Where is order 7? Ünïcode 🙂")
    talk.recalls("ann asked this before", "")
    talk.asks(reasoner)
    talk.decides(reasoner)
    talk.does({"state": "on its way", "at": 1.5})
    talk.hears()
    talk.asks(reasoner)
    assert [one.prompt for one in requested(talk)] == [digest_received(sent) for sent in server.sent]
    assert server.sent[1].body["seed"] == requested(talk)[1].seed


def test_the_same_events_read_back_from_the_log_give_the_same_requests(server: ModelServer) -> None:
    server.always = says("ok")
    limits = {"budget_tokens": 500, "keep_turns": 2}
    talk, reasoner = Talk(FIND), language(server.url, context=limits)
    for step in range(20):
        talk.called("find_order", {"b": [1, 2.5, None], "a": "x" * 120}, order=step)
        talk.told("word " * 20)
        talk.says(f"What of {step}? é")
        asked = reasoner.request(talk.context)
        again = talk.read_back()
        assert asked
        assert language(server.url, context=limits).request(again.context) == asked
        talk.add(*asked)
        talk.add(*reasoner.answer(talk.context, lambda _text: None))
        assert requested(talk)[-1].prompt == digest_received(server.sent[-1])
    assert any(event.type == "sense.context_compacted" for _, event in talk.events)


def test_calls_and_their_results_are_sent_back_as_the_protocol_has_them(server: ModelServer) -> None:
    two = (call("find_order", '{"order": 7}', call_id="a"), call("find_order", '{"order": 8}', call_id="b"))
    server.will(calls(*two, text="Looking."), says("Done."))
    talk, reasoner = Talk(FIND), language(server.url)
    talk.says("7 and 8?")
    answer = only(talk.asks(reasoner))
    assert [(one.id, one.tool, one.arguments, one.invalid) for one in answer.calls] == [
        ("a", "find_order", {"order": 7}, None),
        ("b", "find_order", {"order": 8}, None),
    ]
    action = talk.decides(reasoner)
    assert isinstance(action, ToolCalls)
    talk.does("here", "there")
    talk.hears()
    talk.asks(reasoner)
    sent = server.sent[1].body["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "tool", "tool"]
    assert sent[2]["content"] == "Looking."
    assert sent[2]["tool_calls"][1]["function"] == {"name": "find_order", "arguments": '{"order":8}'}
    assert [(m["tool_call_id"], m["content"]) for m in sent[3:]] == [("a", '"here"'), ("b", '"there"')]
    assert server.sent[1].body["tools"][0]["function"]["name"] == "find_order"


def test_a_call_that_cannot_be_made_is_answered_in_words_and_asked_again(server: ModelServer) -> None:
    bad = (call("find_ordr", '{"order": 7}', call_id="a"), call("find_order", '{"order": 7', call_id="b"))
    server.will(calls(*bad, call("find_order", "[7]", call_id="c")), says("Sorry."))
    talk, reasoner = Talk(FIND), language(server.url)
    talk.says("7?")
    answer = only(talk.asks(reasoner))
    assert [one.arguments for one in answer.calls] == [{}, {}, {}]
    words = [str(one.invalid) for one in answer.calls]
    assert words[0] == "there is no tool 'find_ordr'; did you mean find_order?"
    assert words[1].startswith("its arguments are no JSON")
    assert words[2] == "its arguments must be a JSON object: [7]"
    talk.decides(reasoner)
    talk.does()
    assert talk.context.state.malformed == 1
    talk.hears()
    talk.asks(reasoner)
    assert [m["content"] for m in server.sent[1].body["messages"] if m["role"] == "tool"] == words


def test_several_answers_are_several_proposals_and_what_they_cost_is_counted_once(server: ModelServer) -> None:
    two = (choice("One.", logprobs=[("a", -1.0), ("b", -3.0)]), choice(None, call("find_order", '{"order": 1}')))
    server.will(answers(*two))
    prices = {"test-model": Price(input_usd_per_million=2, output_usd_per_million=10)}
    talk = Talk(FIND)
    reasoner = language(server.url, n=2, defaults=ModelDefaults(prices=prices))
    talk.says("Which?")
    heard: list[str] = []
    answered = [event for event in talk.asks(reasoner, heard.append) if isinstance(event, reason.Answered)]
    assert server.sent[0].body["n"] == 2
    assert [one.choice for one in answered] == [0, 1]
    cost = (100 * 2 + 20 * 10) / 1e6
    assert answered[0].usage == Usage(model_calls=1, input_tokens=100, output_tokens=20, cost_usd=cost)
    assert answered[1].usage == Usage()
    assert heard == []
    proposed = reasoner.propose(talk.context, lambda _actions: None)
    assert [one.proposal for one in proposed] == [0, 1]
    assert proposed[0].action == Say(text="One.")
    assert proposed[0].score == 2.0
    assert isinstance(proposed[1].action, ToolCalls)
    assert proposed[1].arguments == digest_of(proposed[1].action)
    assert {one.why for one in proposed} == {"test-model"}


def test_each_specialist_asks_for_itself_and_its_name_stands_with_what_it_proposes(server: ModelServer) -> None:
    server.always = says("Yes.")
    specialists = [{"name": "bold", "prompt": "Be bold."}, {"name": "calm", "prompt": "Be calm.", "endpoint": "other"}]
    endpoints = {"main": {}, "other": {"model": "small"}}
    talk, reasoner = Talk(FIND), language(server.url, specialists=specialists, endpoints=endpoints)
    talk.says("Shall we?")
    talk.asks(reasoner)
    asked = requested(talk)
    assert [(one.call, one.specialist, one.endpoint, one.model) for one in asked] == [
        (0, "bold", "main", "test-model"),
        (1, "calm", "other", "small"),
    ]
    assert asked[0].seed != asked[1].seed
    assert asked[1].why == "the specialist calm asks it"
    received = {digest_received(sent): sent.body["messages"][0]["content"] for sent in server.sent}
    assert received[asked[0].prompt].endswith("Be bold.")
    assert received[asked[1].prompt].endswith("Be calm.")
    assert [one.why for one in reasoner.propose(talk.context, lambda _actions: None)] == ["bold", "calm"]


def test_secrets_are_replaced_before_an_event_is_built_and_stay_so_when_sent_back(server: ModelServer) -> None:
    first = call("pay", '{"card": "4111-1111", "amount": 5}')
    broken = call("pay", '{"card": "4222-2222", ', call_id="b")
    server.will(calls(first, broken, text="I pay with 4111-1111\nnow."), says("Paid with 4111-1111."))
    talk, heard = Talk(PAY), list[str]()
    reasoner = language(server.url, redact=Vaulted())
    talk.says("Pay 5.")
    pays, _ = only(talk.asks(reasoner, heard.append)).calls
    talk.decides(reasoner)
    talk.does("paid")
    talk.hears()
    talk.asks(reasoner, heard.append)
    stored = b"".join(event.model_dump_json().encode() for _, event in talk.events if isinstance(event, Event))
    assert b"4111" not in stored
    assert b"4222" not in stored
    assert b"sk-very-secret" not in stored
    assert "4111" not in orjson.dumps(server.sent[1].body).decode()
    assert heard[0] == "I pay with 4111-1111\n"  # not known to be a secret until the call itself comes
    handle = handle_of(pays.arguments["card"])
    assert heard[-1] == talk.answers[0].text == f"Paid with [secret {handle}]."


def test_token_ids_and_log_probabilities_are_recorded_where_the_endpoint_gives_them(server: ModelServer) -> None:
    server.will(
        answers(choice("Hi", logprobs=[("token_id:11", -0.5), ("token_id:12", -0.25)])),
        answers(choice("Hi", logprobs=[("H", -0.5)])),
    )
    talk, reasoner = Talk(), language(server.url, endpoints={"main": {"logprobs": True, "stream": False}})
    talk.says("Hi")
    vllm = only(talk.asks(reasoner))
    talk.decides(reasoner)
    talk.says("Hi again")
    other = only(talk.asks(reasoner))
    assert (vllm.tokens, vllm.logprobs) == ((11, 12), (-0.5, -0.25))
    assert (other.tokens, other.logprobs) == (None, (-0.5,))
    assert server.sent[0].body["logprobs"] is True
    assert requested(talk)[0].parameters["return_tokens_as_token_ids"] is True


def test_feedback_alone_asks_no_model(server: ModelServer) -> None:
    server.always = says("Fine.")
    talk, reasoner = Talk(), language(server.url)
    talk.says("Hi")
    talk.asks(reasoner)
    talk.decides(reasoner)
    for _ in range(2):
        talk.hears(Feedback(rating=1.0, text="nice"))
        assert reasoner.request(talk.context) == ()
        assert reasoner.answer(talk.context, print) == ()
        assert reasoner.propose(talk.context, lambda _actions: None) == []
    talk.says("And you?")
    assert reasoner.request(talk.context)
    talk.hears(Feedback(rating=1.0, text="nice"))
    assert reasoner.request(talk.context), "the question before the feedback was not answered yet"


def test_an_agent_to_which_nothing_is_allowed_stops_and_names_the_rules(server: ModelServer) -> None:
    talk, reasoner = Talk(FIND), language(server.url, max_refused=2)
    for _ in range(2):
        talk.says("Refund it.")
        ground = Ground(rule="no-refunds", reason="refunds are for people")
        talk.add(feel.Appraised(appraisal=Appraisal(of="proposal", verdict="refuse", proposal=0, grounds=(ground,))))
        options = (Option(proposal=0, verdict="refuse"),)
        talk.add(reason.Decided(action=Wait(), arguments=digest_of(Wait()), options=options, why="nothing"))
    talk.hears()
    assert talk.context.state.refused == 2
    assert reasoner.request(talk.context) == ()
    (said,) = reasoner.propose(talk.context, lambda _actions: None)
    assert said.why == "max_refused"
    assert said.action == Say(
        text="I stop here: nothing that I proposed is allowed.\n- no-refunds: refunds are for people"
    )
    assert server.sent == []


def test_a_route_picks_the_endpoint_and_the_request_says_why(server: ModelServer) -> None:
    server.always = says("Ok.")
    routes = [
        {"endpoint": "money", "contains": ["refund", "pay back"]},
        {"endpoint": "code", "like": ["zzz zzzz", "zzzzz"]},
        {"endpoint": "main", "like": ["hello there"]},
    ]
    endpoints = {"main": {}, "money": {"model": "exact"}, "code": {}}
    talk, reasoner = Talk(), language(server.url, routes=routes, endpoints=endpoints)
    for text in ("Pay Back what I paid", "zz", "hello, refunds?"):
        talk.says(text)
        talk.asks(reasoner)
        talk.decides(reasoner)
    first, second, third = requested(talk)
    assert (first.endpoint, first.why) == ("money", "the message contains 'pay back'")
    assert (second.endpoint, second.why) == (
        "code",
        "the message is nearest to the examples of this route, cosine 1.000",
    )
    assert third.endpoint == "main"
    assert server.sent[0].body["model"] == "exact"


def test_an_endpoint_without_a_model_is_told_before_anything_runs() -> None:
    with pytest.raises(
        ScenarioInvalid, match=r"the endpoint 'main' names no model.*\[reasoner.language.endpoints.main\]"
    ):
        Language(
            LanguageSettings(), defaults=ModelDefaults(), secret=lambda _name: None, redact=Vaulted(), embed=letters
        )
