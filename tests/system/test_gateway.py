"""The gateway over real sockets: what the agent gets is what the endpoint gave, whatever becomes of the log."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession, web

from runtime.gateway.proxy import _relay
from runtime.gateway.serve import listening
from telemetry.events import reason
from telemetry.log import EventLog, open_log
from tests.aether import RUN_TIMEOUT_S
from tests.gateways import KEY, check_replay, gateway, hello, one, posted, sessions, told
from tests.upstream import Body, begin, chunk, chunks, message, reply, upstream, user


async def test_a_stream_is_passed_on_piece_by_piece_and_byte_by_byte(log: EventLog) -> None:
    pieces = chunks(message("one two three"))
    passed = [asyncio.Event() for _ in pieces]

    async def answer(request: web.Request, body: Body) -> web.StreamResponse:
        response = await begin(request)
        for piece, arrived in zip(pieces, passed, strict=True):
            await response.write(piece)
            await asyncio.wait_for(arrived.wait(), RUN_TIMEOUT_S)
        return response

    async with gateway(log, answer) as agent, agent.post([user("Count")], stream=True) as got:
        for piece, arrived in zip(pieces, passed, strict=True):
            assert await got.content.readexactly(len(piece)) == piece
            arrived.set()
        assert await got.read() == b""
    assert told(log, one(log), reason.Answered)[0].text == "one two three"


@pytest.mark.parametrize(
    ("status", "kind"), [(429, "rate_limited"), (500, "server_error"), (400, "refused"), (401, "refused")]
)
async def test_an_error_of_the_endpoint_is_passed_on_unchanged(log: EventLog, status: int, kind: str) -> None:
    body = json.dumps({"error": {"message": f"no, not with {KEY}", "type": "t", "code": None}}, indent=1).encode()

    async def answer(request: web.Request, _: Body) -> web.StreamResponse:
        headers = {"Retry-After": "7", "x-request-id": "r1", "Content-Type": "application/json"}
        return web.Response(status=status, body=body, headers=headers)

    async with gateway(log, answer) as agent, agent.post([user("Hi")]) as got:
        assert (got.status, await got.read()) == (status, body)
        assert (got.headers["Retry-After"], got.headers["x-request-id"]) == ("7", "r1")
    (unanswered,) = told(log, one(log), reason.Unanswered)
    assert (unanswered.kind, unanswered.status, unanswered.error) == (kind, status, "no, not with [key]")
    check_replay(log)


async def cut(request: web.Request, _: Body) -> web.StreamResponse:
    """An endpoint that breaks its answer off."""
    response = await begin(request)
    await response.write(chunk({"content": "half a"}))
    assert request.transport is not None
    request.transport.close()
    return response


async def test_a_stream_that_the_endpoint_cuts_off_is_cut_off_for_the_agent(log: EventLog) -> None:
    async with gateway(log, cut) as agent, agent.post([user("Hi")], stream=True) as got:
        assert await got.content.readuntil(b"\n\n") == chunk({"content": "half a"})
        with pytest.raises(ClientError):
            await got.read()
    (unanswered,) = told(log, one(log), reason.Unanswered)
    assert (unanswered.kind, unanswered.text) == ("cut", "half a")
    check_replay(log)


async def test_what_came_before_the_cut_is_passed_on_though_it_is_read_after_it() -> None:
    async def late(request: web.Request, _: Body) -> web.StreamResponse:
        async with ClientSession() as http, http.post(endpoint.url) as answer:
            if answer.content.exception() is None:
                with pytest.raises(ClientError):
                    await answer.content.wait_eof()
            return await _relay(request, answer, None)

    async with (
        upstream(cut) as endpoint,
        upstream(late) as between,
        ClientSession() as http,
        http.post(between.url) as got,
    ):
        assert await got.content.readuntil(b"\n\n") == chunk({"content": "half a"})
        with pytest.raises(ClientError):
            await got.read()


async def test_when_the_agent_goes_away_the_endpoint_is_told_and_the_log_says_cancelled(log: EventLog) -> None:
    async def answer(request: web.Request, _: Body) -> web.StreamResponse:
        response = await begin(request)
        await response.write(chunk({"content": "thinking"}))
        await asyncio.Event().wait()
        return response

    async with gateway(log, answer) as agent:
        async with agent.post([user("Hi")], stream=True) as got:
            await got.content.readuntil(b"\n\n")
            got.close()
        await asyncio.wait_for(agent.upstream.left.wait(), RUN_TIMEOUT_S)
    (unanswered,) = told(log, one(log), reason.Unanswered)
    assert (unanswered.kind, unanswered.text) == ("cancelled", "thinking")
    check_replay(log)


async def test_an_agent_that_goes_away_before_the_first_byte_is_cancelled_too(log: EventLog) -> None:
    asked = asyncio.Event()

    async def answer(_: web.Request, __: Body) -> web.StreamResponse:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with gateway(log, answer) as agent:
        asking = asyncio.create_task(agent.ask([user("Hi")]))
        await asyncio.wait_for(asked.wait(), RUN_TIMEOUT_S)
        asking.cancel()
        await asyncio.wait_for(agent.upstream.left.wait(), RUN_TIMEOUT_S)
    assert told(log, one(log), reason.Unanswered)[0].kind == "cancelled"


async def test_an_endpoint_that_is_not_there_is_said_as_clients_read_it(log: EventLog, closed_port: int) -> None:
    where = f"http://127.0.0.1:{closed_port}/v1"
    async with (
        listening(log, upstream=where, listen="127.0.0.1:0", say=lambda _: None) as running,
        ClientSession() as http,
        http.post(f"{running.url}/chat/completions", json=posted([user("Hi")])) as got,
    ):
        assert got.status == 502
        assert (await got.json())["error"]["code"] == "upstream_unreachable"
    assert told(log, one(log), reason.Unanswered)[0].kind == "unreachable"


async def test_other_routes_are_passed_on_and_not_recorded(log: EventLog) -> None:
    async def answer(request: web.Request, body: Body) -> web.StreamResponse:
        told_back = {
            "path": request.path_qs,
            "method": request.method,
            "body": body,
            "key": request.headers["Authorization"],
        }
        response = web.json_response(told_back, status=418)
        response.headers.add("Set-Cookie", "a=1")
        response.headers.add("Set-Cookie", "b=2")
        return response

    async with gateway(log, answer) as agent:
        where = agent.base_url + "/embeddings/%2Fx?limit=2"
        async with agent.http.post(where, json={"input": "x" * 100_000}, headers={"Authorization": KEY}) as got:
            echo = await got.json()
            assert got.status == 418
            assert got.headers.getall("Set-Cookie") == ["a=1", "b=2"]
    assert echo["path"] == "/v1/embeddings/%2Fx?limit=2"
    assert echo["body"] == {"input": "x" * 100_000}
    assert echo["key"] == KEY
    assert log.position() == 0


async def test_a_compressed_request_is_passed_on_as_it_came(log: EventLog) -> None:
    async with gateway(log, hello) as agent:
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        packed = gzip.compress(json.dumps(posted([user("Hi")])).encode())
        async with agent.http.post(f"{agent.base_url}/chat/completions", data=packed, headers=headers) as got:
            assert got.status == 200
    assert agent.upstream.requests == [posted([user("Hi")])]
    assert (agent.counts.recorded, agent.counts.not_recorded) == (0, 1)


async def test_an_agent_is_answered_while_the_log_takes_nothing(log: EventLog, tmp_path: Path) -> None:
    await_reading = open_log(tmp_path / "log.db", mode="read")  # every write to it raises LogUnwritable
    async with gateway(await_reading, hello) as agent:
        assert (await agent.ask([user("Hi")]))["content"] == "hello there"
        assert (await agent.ask([user("Ho")]))["content"] == "hello there"
    assert (agent.counts.recorded, agent.counts.not_recorded) == (0, 2)
    assert "opened for reading" in agent.counts.why
    await_reading.close()


async def test_a_body_that_is_no_request_is_the_endpoints_to_judge(log: EventLog) -> None:
    async def answer(_: web.Request, __: Body) -> web.StreamResponse:
        return web.json_response({"error": {"message": "what?"}}, status=400)

    async with gateway(log, answer) as agent:
        async with agent.http.post(f"{agent.base_url}/chat/completions", json={"messages": "hm"}) as got:
            assert (got.status, await got.json()) == (400, {"error": {"message": "what?"}})
        async with agent.http.get(agent.base_url.removesuffix("/v1") + "/aether/status") as got:
            status = await got.json()
    assert (status["upstream"], status["begun"]) == (agent.upstream.url, 1)
    assert agent.counts.not_recorded == 1
    assert "messages" in agent.counts.why
    assert not sessions(log)


async def test_no_key_reaches_the_log(log: EventLog, tmp_path: Path) -> None:
    async with gateway(log, hello) as agent:
        await agent.ask([user("Hi")], headers={"api-key": KEY})
        assert agent.upstream.headers[0]["Authorization"] == f"Bearer {KEY}"
    written = await asyncio.to_thread(lambda: b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()))
    assert b"hello there" in written
    assert KEY.encode() not in written


async def test_answers_under_way_are_finished_when_the_gateway_ends(log: EventLog) -> None:
    asked, leaving = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request, body: Body) -> web.StreamResponse:
        asked.set()
        await asyncio.wait_for(leaving.wait(), RUN_TIMEOUT_S)
        return await reply(request, body, message("in time"))

    async with upstream(answer) as endpoint, ClientSession() as http:
        async with listening(log, upstream=endpoint.url, listen="127.0.0.1:0", say=lambda _: None) as running:
            asking = asyncio.create_task(_json(http.post(f"{running.url}/chat/completions", json=posted([user("Hi")]))))
            await asyncio.wait_for(asked.wait(), RUN_TIMEOUT_S)
            asyncio.get_running_loop().call_soon(leaving.set)
        assert (await asking)["choices"][0]["message"]["content"] == "in time"
    assert told(log, one(log), reason.Answered)[0].text == "in time"


async def test_connections_to_the_endpoint_are_used_again(log: EventLog) -> None:
    ports = []

    async def answer(request: web.Request, body: Body) -> web.StreamResponse:
        assert request.transport is not None
        ports.append(request.transport.get_extra_info("peername")[1])
        return await reply(request, body, message("hello there"))

    async with gateway(log, answer) as agent:
        for stream in (False, True, False):
            async with agent.post([user("Hi")], stream=stream) as got:
                await got.read()
    assert len(set(ports)) == 1


async def _json(request: Any) -> Body:  # noqa: ANN401  aiohttp's own context manager
    async with request as answer:
        return dict(await answer.json())
