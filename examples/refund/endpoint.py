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
from typing import Any, Literal

from aiohttp import web

from examples.refund.policy import Policy, Reply, refunds

MODEL = "scripted"
Body = dict[str, Any]
Fault = Literal["429", "500", "cut", "hang", "not-json", "bad-arguments", "unknown-tool"]
"""429 with Retry-After, an error of the server, a stream that ends early, silence, a body that is no JSON, arguments
that are no JSON, a call of a tool that does not exist."""


@dataclass
class Endpoint:
    """`faults` are used up, one a request; `requests` holds the bodies that came. `delay_s` is between two chunks."""

    policy: Policy
    delay_s: float = 0.0
    faults: list[Fault] = field(default_factory=list)
    requests: list[Body] = field(default_factory=list)
    url: str = ""

    def application(self) -> web.Application:
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        return app

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        fault = self.faults.pop(0) if self.faults else None
        if fault == "429":
            return _error(429, "slow down", {"Retry-After": "0"})
        if fault == "500":
            return _error(500, "the scripted server is broken")
        if fault == "hang":
            await asyncio.Event().wait()
        if fault == "not-json":
            return web.Response(text="<html>not what you asked for</html>", content_type="text/html")
        reply = _spoilt(self.policy(body["messages"]), fault)
        answer = _Answer(body, reply)
        if not body.get("stream"):
            return web.json_response(answer.whole())
        return await self._stream(request, answer, cut=fault == "cut")

    async def _stream(self, request: web.Request, answer: _Answer, *, cut: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        for number, chunk in enumerate(answer.chunks()):
            if cut and number == 2:
                assert request.transport is not None, "a request that is answered has a connection"
                request.transport.abort()
                return response
            if self.delay_s and number:
                await asyncio.sleep(self.delay_s)
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response


class _Answer:
    """One reply in the protocol's shapes, once for each of the `n` choices that were asked for."""

    def __init__(self, body: Body, reply: Reply) -> None:
        self._body = body
        self._reply = reply
        self._id = hashlib.sha256(json.dumps(body["messages"], sort_keys=True).encode()).hexdigest()[:24]
        self._choices = range(body.get("n") or 1)
        written = len(reply.text.split()) + sum(len(arguments) // 4 for _, arguments in reply.calls)
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
                choice["logprobs"] = {"content": [_logprob(word) for word in _words(self._reply.text)]}
        return {**self._head("chat.completion"), "choices": choices, "usage": self._usage}

    def chunks(self) -> Iterator[Body]:
        """As a stream: words one by one, the arguments of a call in two halves."""
        head = self._head("chat.completion.chunk")
        for index in self._choices:
            yield {**head, "choices": [_delta(index, {"role": "assistant", "content": ""})]}
            for word in _words(self._reply.text):
                choice = _delta(index, {"content": word})
                if self._body.get("logprobs"):
                    choice["logprobs"] = {"content": [_logprob(word)]}
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


def _logprob(word: str) -> Body:
    return {"token": word, "logprob": -0.125 * len(word), "bytes": list(word.encode()), "top_logprobs": []}


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
def running(policy: Policy = refunds, *, port: int = 0, delay_s: float = 0.0) -> Iterator[Endpoint]:
    """The endpoint in a thread of this process, until the block ends."""
    endpoint = Endpoint(policy, delay_s=delay_s)
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(endpoint.application(), access_log=None, shutdown_timeout=0.1)

    async def start() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
        endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, name="endpoint", daemon=True)
    thread.start()
    try:
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
