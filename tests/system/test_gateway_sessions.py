"""Observed sessions: what the log holds of what was said through the gateway, and which session it is."""

from __future__ import annotations

import asyncio
import base64

import pytest
from aiohttp import web

from telemetry.events import Draft, execute, reason, sense, session
from telemetry.events.values import FilePart, Say, TextPart, ToolCalls, ToolResult
from telemetry.log import EventLog
from tests.aether import RUN_TIMEOUT_S
from tests.gateways import FIND, Agent, check_replay, gateway, heard, hello, one, posted, sessions, shop, told
from tests.upstream import DONE, Body, begin, chunks, message, reply, result, scripted, user


@pytest.mark.parametrize("stream", [False, True])
async def test_a_conversation_is_one_session_with_its_calls_and_their_results(log: EventLog, stream: bool) -> None:
    async with gateway(log, scripted(shop)) as agent:
        said = [{"role": "system", "content": "You run a shop."}, user("Where is order 17?")]
        for _ in range(2):
            async with agent.post(said, tools=[FIND], stream=stream, temperature=0.5) as answer:
                await answer.read()
            said += [shop(said)] if said[-1]["role"] == "tool" else [shop(said), result("call_1", "paid")]
        async with agent.post([*said, user("Thank you")], tools=[FIND], stream=stream) as answer:
            await answer.read()
    name = one(log)
    assert heard(log, name) == [["You run a shop.", "Where is order 17?"], [], ["Thank you"]]
    asked = told(log, name, reason.Requested)
    assert [event.model for event in asked] == ["small"] * 3
    assert asked[0].parameters == {"stream": stream, "temperature": 0.5}
    actions = [event.action for event in told(log, name, reason.Decided)]
    assert isinstance(actions[0], ToolCalls)
    assert actions[0].calls[0].arguments == {"order": 17}
    assert actions[1] == Say(text="It says paid")
    (happened,) = told(log, name, execute.Succeeded)
    assert happened.result == ToolResult(call="call_1", tool="find_order", content="paid")
    second = told(log, name, sense.Observed)[1]
    succeeded = next(r.id for r in log.read(name) if r.type == "execute.succeeded")
    assert second.of == (succeeded,)
    assert [event.usage.input_tokens for event in told(log, name, session.CycleClosed)] == [0 if stream else 11] * 3
    assert isinstance(told(log, name)[-1], session.Suspended)
    assert {recorded.mode for recorded in log.read(name)} == {"import"}
    check_replay(log)


async def test_a_call_whose_result_is_never_told_has_an_unknown_outcome(log: EventLog) -> None:
    async with gateway(log, scripted(shop)) as agent:
        await agent.ask([user("Where is order 17?")])
    (outcome,) = told(log, one(log), execute.UnknownOutcome)
    assert outcome.why == "the gateway ended"
    check_replay(log)


async def test_the_next_request_may_come_before_the_last_stream_has_ended(log: EventLog) -> None:
    second = asyncio.Event()

    async def both(request: web.Request, body: Body) -> web.StreamResponse:
        response = await begin(request)
        first = len(body["messages"]) == 1
        for piece in chunks(message("first" if first else "second")):
            await response.write(piece)
        if first:
            await asyncio.wait_for(second.wait(), RUN_TIMEOUT_S)
        second.set()
        return response

    async with gateway(log, both) as agent, agent.post([user("Go")], stream=True) as got:
        assert (await got.content.readuntil(DONE)).endswith(DONE)
        async with agent.post([user("Go"), message("first"), user("on")], stream=True) as next_one:
            await next_one.read()
    assert heard(log, one(log)) == [["Go"], ["on"]]


async def test_a_request_made_again_after_an_error_is_of_the_same_session(log: EventLog) -> None:
    async def answer(request: web.Request, body: Body) -> web.StreamResponse:
        if len(agent.upstream.requests) == 1:
            return web.Response(status=503, text="busy")
        return await reply(request, body, message("here"))

    async with gateway(log, answer) as agent:
        assert (await agent.http.post(f"{agent.base_url}/chat/completions", json=posted([user("Hi")]))).status == 503
        assert (await agent.ask([user("Hi")]))["content"] == "here"
    assert heard(log, one(log)) == [["Hi"], []]


async def test_a_header_names_the_session_and_an_edited_history_is_heard_again(log: EventLog) -> None:
    named = {"x-aether-session": "my-agent_1"}
    async with gateway(log, hello) as agent:
        await agent.ask([user("One")], headers=named)
        await agent.ask([user("One"), message("hello there"), user("Two")], headers=named)
        await agent.ask([user("Summary of all that"), user("Three")], headers=named)
        assert all("x-aether-session" not in headers for headers in agent.upstream.headers)
    assert one(log) == "session/my-agent_1"
    assert heard(log, one(log)) == [["One"], ["Two"], ["Summary of all that", "Three"]]
    check_replay(log)


async def test_two_requests_of_one_name_at_a_time_are_recorded_one_after_the_other(log: EventLog) -> None:
    both = asyncio.Barrier(2)

    async def answer(request: web.Request, body: Body) -> web.StreamResponse:
        await both.wait()
        return await reply(request, body, message("hello there"))

    async with gateway(log, answer) as agent:
        named = {"x-aether-session": "pair"}
        await asyncio.gather(*(agent.ask([user(text)], headers=named) for text in ("left", "right")))
    assert sorted(heard(log, one(log))) == [["left"], ["right"]]
    assert [event.cycle for event in told(log, one(log), session.CycleClosed)] == [1, 2]
    check_replay(log)


@pytest.mark.parametrize("name", ["", "Big", "a/b", "a" * 65])
async def test_a_name_that_is_none_is_refused_and_nothing_is_asked(log: EventLog, name: str) -> None:
    async with gateway(log, hello) as agent:
        told_back = await agent.ask([user("Hi")], headers={"x-aether-session": name})
        assert told_back["error"]["type"] == "invalid_request_error"
        assert not agent.upstream.requests
    assert not sessions(log)


async def test_a_session_that_was_not_observed_is_not_written_to(log: EventLog) -> None:
    mine = session.Opened(
        scenario="maze",
        scenario_text="",
        scenario_digest="0" * 64,
        seed=0,
        environment="null",
        spaces={"action": {"kind": "discrete", "n": 2}, "observation": []},
        versions={},
    )
    log.append("session/mine", [Draft(event=mine, command="open")], expected_version=0, epoch=1)
    async with gateway(log, hello) as agent:
        told_back = await agent.ask([user("Hi")], headers={"x-aether-session": "mine"})
        assert "not observed" in told_back["error"]["message"]
    assert log.position() == 1


async def test_a_named_session_goes_on_after_the_gateway_was_started_again(log: EventLog) -> None:
    named = {"x-aether-session": "long"}
    for text in ("One", "Two"):
        async with gateway(log, hello) as agent:
            await agent.ask([user(text)], headers=named)
    assert heard(log, one(log)) == [["One"], ["Two"]]
    assert [event.after for event in told(log, one(log), session.Resumed)] == ["suspended"]
    check_replay(log)


async def test_a_fork_of_a_conversation_is_a_session_of_its_own(log: EventLog) -> None:
    async with gateway(log, hello) as agent:
        trunk = [user("Hi"), await agent.ask([user("Hi")])]
        await agent.ask([*trunk, user("left")])
        await agent.ask([*trunk, user("right")])
    first, second = sessions(log)
    assert heard(log, first) == [["Hi"], ["left"]]
    assert heard(log, second) == [["Hi", "hello there", "right"]]
    check_replay(log)


async def test_equal_conversations_at_the_same_time_are_sessions_of_their_own(log: EventLog) -> None:
    async def talk(agent: Agent) -> None:
        said = [user("Where is order 17?")]
        for answer in ([result("call_1", "paid")], []):
            said += [await agent.ask(said), *answer]

    async with gateway(log, scripted(shop)) as agent:
        await asyncio.gather(*(talk(agent) for _ in range(20)))
    assert len(sessions(log)) == 20
    for stream in sessions(log):
        assert [r.type for r in log.read(stream)].count("session.cycle_closed") == 2
    check_replay(log)


async def test_of_several_answers_the_one_that_the_agent_goes_on_with_was_its_decision(log: EventLog) -> None:
    left, right = message("left"), message(calls=[("c", "find_order", "{}")])

    async def answer(request: web.Request, body: Body) -> web.StreamResponse:
        return await reply(request, body, left, right)

    async with gateway(log, answer) as agent:
        await agent.ask([user("Choose")], n=2)
        await agent.ask([user("Choose"), right, result("c", "done")], n=2)
    decisions = told(log, one(log), reason.Decided)
    assert len(told(log, one(log), reason.Answered)) == 4
    assert [event.proposal for event in decisions] == [1]
    assert told(log, one(log), execute.Succeeded)[0].result.content == "done"
    check_replay(log)


async def test_a_picture_in_a_message_is_kept_by_its_digest(log: EventLog) -> None:
    picture = b"\x89PNG not really"
    url = "data:image/png;base64," + base64.b64encode(picture).decode()
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    async with gateway(log, hello) as agent:
        await agent.ask([{"role": "user", "content": parts}])
    ((seen,),) = [event.observations for event in told(log, one(log), sense.Observed)]
    text, file = seen.parts
    assert text == TextPart(text="What is this?")
    assert isinstance(file, FilePart)
    assert file.media_type == "image/png"
    assert log.get_blob(file.digest) == picture
