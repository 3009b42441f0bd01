"""An OpenAI-compatible endpoint on loopback that answers by a policy, and fails on demand.

    python -m examples.refund.endpoint --port 8321

Knows the protocol (chat completions, streamed and whole; models); knows nothing of the shop. Invariant: equal
messages get equal answers."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from examples.refund.policy import Policy, Reply, refunds

MODEL = "scripted"
Body = dict[str, Any]
Fault = Literal[
    "429", "500", "503", "slow", "hang", "cut", "not-json", "html", "no-choices", "bad-arguments", "unknown-tool"
]
"""429 with Retry-After, two errors of the server, `slow_s` before the first byte, silence, a connection dropped after
CUT_AFTER chunks (before a whole answer), a body that is no JSON, a page instead, an answer without choices, arguments
that are no JSON, a call of a tool that does not exist."""
CUT_AFTER = 2


@dataclass
class Endpoint:
    """`faults` are used up, one a request; without any, the model `fault-503` has that fault at each request.
    `requests` holds the bodies that came. `delay_s` is between two chunks. Only who brings `key` is let in."""

    policy: Policy
    delay_s: float = 0.0
    slow_s: float = 1.0
    key: str | None = None
    faults: list[Fault] = field(default_factory=list)
    requests: list[Body] = field(default_factory=list)
    url: str = ""

    def application(self) -> web.Application:
        app = web.Application(client_max_size=64 * 2**20, middlewares=[self._admit])
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        return app

    @web.middleware
    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self.key is not None and request.headers.get("Authorization") != f"Bearer {self.key}":
            return _error(401, "the API key is missing or wrong")
        return await handler(request)

    async def _models(self, _: web.Request) -> web.Response:
        model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "examples"}
        return web.json_response({"object": "list", "data": [model]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        try:
            body = orjson.loads(await request.read())
        except orjson.JSONDecodeError as error:
            return _error(400, f"the request is no JSON: {error}")
        if not isinstance(body, dict) or not body.get("messages"):
            return _error(400, "the request has no messages")
        self.requests.append(body)
        fault = self.faults.pop(0) if self.faults else _named(body)
        if fault == "slow":
            await asyncio.sleep(self.slow_s)
        if fault == "hang":
            await asyncio.Event().wait()
        if (failure := _failure(fault)) is not None:
            return failure
        answer = _Answer(body, _spoilt(self.policy(body["messages"]), fault), choices=fault != "no-choices")
        if body.get("stream"):
            return await self._stream(request, answer, cut=fault == "cut")
        if fault == "cut":
            _drop(request)
        return web.json_response(answer.whole())

    async def _stream(self, request: web.Request, answer: _Answer, *, cut: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        for number, chunk in enumerate(answer.chunks()):
            if cut and number == CUT_AFTER:
                _drop(request)
                return response
            if self.delay_s and number:
                await asyncio.sleep(self.delay_s)
            await response.write(b"data: " + orjson.dumps(chunk) + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response


class _Answer:
    """One reply in the protocol's shapes, once for each of the `n` choices that were asked for."""

    def __init__(self, body: Body, reply: Reply, *, choices: bool = True) -> None:
        self._body = body
        self._reply = reply
        self._id = hashlib.sha256(json.dumps(body["messages"], sort_keys=True).encode()).hexdigest()[:24]
        self._choices = range((body.get("n") or 1) if choices else 0)
        one = len(reply.text.split()) + sum(len(arguments) // 4 for _, arguments in reply.calls)
        written = one * len(self._choices)
        read = sum(len(str(message.get("content") or "")) // 4 for message in body["messages"])
        self._usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}

    def _head(self, kind: str) -> Body:
        return {"id": f"chatcmpl-{self._id}", "object": kind, "created": 0, "model": self._body.get("model", MODEL)}

    def _calls(self) -> list[Body]:
        return [
            {
                "id": f"call_{self._id[:12]}_{i}",
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }
            for i, (name, arguments) in enumerate(self._reply.calls)
        ]

    def _logprob(self, word: str) -> Body:
        """Of a word as one token; the script knows no other that could stand there."""
        likely: Body = {"token": word, "logprob": -0.125 * len(word), "bytes": list(word.encode())}
        return {**likely, "top_logprobs": [likely] if self._body.get("top_logprobs") else []}

    @property
    def _finish(self) -> str:
        return "tool_calls" if self._reply.calls else "stop"

    def whole(self) -> Body:
        message: Body = {"role": "assistant", "content": self._reply.text or None}
        if self._reply.calls:
            message["tool_calls"] = self._calls()
        choices = [{"index": i, "message": message, "finish_reason": self._finish} for i in self._choices]
        if self._body.get("logprobs"):
            for choice in choices:
                choice["logprobs"] = {"content": [self._logprob(word) for word in _words(self._reply.text)]}
        return {**self._head("chat.completion"), "choices": choices, "usage": self._usage}

    def chunks(self) -> Iterator[Body]:
        """As a stream: words one by one, the arguments of a call in two halves."""
        head = self._head("chat.completion.chunk")
        for index in self._choices:
            yield {**head, "choices": [_delta(index, {"role": "assistant", "content": ""})]}
            for word in _words(self._reply.text):
                choice = _delta(index, {"content": word})
                if self._body.get("logprobs"):
                    choice["logprobs"] = {"content": [self._logprob(word)]}
                yield {**head, "choices": [choice]}
            for i, call in enumerate(self._calls()):
                function, half = call["function"], len(call["function"]["arguments"]) // 2
                began = {**call, "index": i, "function": {**function, "arguments": function["arguments"][:half]}}
                yield {**head, "choices": [_delta(index, {"tool_calls": [began]})]}
                rest = {"index": i, "function": {"arguments": function["arguments"][half:]}}
                yield {**head, "choices": [_delta(index, {"tool_calls": [rest]})]}
            yield {**head, "choices": [{**_delta(index, {}), "finish_reason": self._finish}]}
        if (self._body.get("stream_options") or {}).get("include_usage"):
            yield {**head, "choices": [], "usage": self._usage}


def _delta(index: int, delta: Body) -> Body:
    return {"index": index, "delta": delta, "finish_reason": None}


def _words(text: str) -> list[str]:
    return [word if i == 0 else f" {word}" for i, word in enumerate(text.split(" "))] if text else []


def _named(body: Body) -> Fault | None:
    return next((fault for fault in get_args(Fault) if body.get("model") == f"fault-{fault}"), None)


def _failure(fault: Fault | None) -> web.Response | None:
    """What is answered instead of an answer."""
    match fault:
        case "429":
            return _error(429, "slow down", {"Retry-After": "0"})
        case "500":
            return _error(500, "the scripted server is broken")
        case "503":
            return _error(503, "the scripted server is overloaded")
        case "not-json":
            return web.Response(text='{"choices": [', content_type="application/json")
        case "html":
            return web.Response(text="<html>not what you asked for</html>", content_type="text/html")
    return None


def _drop(request: web.Request) -> None:
    assert request.transport is not None, "a request that is answered has a connection"
    request.transport.abort()


def _spoilt(reply: Reply, fault: Fault | None) -> Reply:
    if fault == "bad-arguments":
        return Reply(calls=(("find_order", '{"order": 1001'),))
    if fault == "unknown-tool":
        return Reply(calls=(("find_ordr", '{"order": "1001"}'),))
    return reply


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {"error": {"message": message, "type": "scripted", "param": None, "code": None}}
    return web.json_response(body, status=status, headers=headers)


@contextmanager
def running(
    policy: Policy = refunds, *, port: int = 0, delay_s: float = 0.0, key: str | None = None
) -> Iterator[Endpoint]:
    """The endpoint in a thread of this process, until the block ends."""
    endpoint = Endpoint(policy, delay_s=delay_s, key=key)
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(endpoint.application(), access_log=None, shutdown_timeout=0.1)

    async def start() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
        endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"

    thread = threading.Thread(target=loop.run_forever, name="endpoint", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(start(), loop).result(timeout=10)
        yield endpoint
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(timeout=10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    with running(port=parser.parse_args().port) as endpoint:
        sys.stdout.write(f"{endpoint.url}\n")
        sys.stdout.flush()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            sys.exit(130)


if __name__ == "__main__":
    main()
