"""An OpenAI-compatible endpoint on loopback that says what a test tells it to, in every way an endpoint can fail.

Real HTTP on a real socket, in a thread of its own. Each request takes the next of the scripted answers."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Script = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]
Wire = dict[str, Any]
PATIENCE_S = 60.0


@dataclass
class Sent:
    """One request as the server received it."""

    headers: dict[str, str]
    body: Wire
    path: str


@dataclass
class ModelServer:
    """`with ModelServer() as server: server.will(says("hello"))`."""

    sent: list[Sent] = field(default_factory=list)
    scripts: deque[Script] = field(default_factory=deque)
    always: Script | None = None
    """Taken when the scripts are used up."""

    def __enter__(self) -> ModelServer:
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._started.wait(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(PATIENCE_S)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def will(self, *scripts: Script) -> None:
        self.scripts.extend(scripts)

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._port = runner.addresses[0][1]
        self._started.set()
        await self._end.wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        self.sent.append(Sent(dict(request.headers), body, request.path))
        script = self.scripts.popleft() if self.scripts else self.always
        if script is None:
            return web.Response(status=500, text="the test scripted no answer to this request")
        return await script(request, body)


def call(name: str, arguments: str, *, call_id: str | None = "call_1") -> Wire:
    """A native tool call; `arguments` is whatever the model wrote."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def choice(
    text: str | None = None, *calls: Wire, finish: str | None = None, logprobs: Sequence[tuple[str, float]] = ()
) -> Wire:
    ended = finish or ("tool_calls" if calls else "stop")
    read: Wire = {"message": {"role": "assistant", "content": text}, "finish_reason": ended}
    if calls:
        read["message"]["tool_calls"] = list(calls)
    if logprobs:
        read["logprobs"] = {"content": [{"token": token, "logprob": lp} for token, lp in logprobs]}
    return read


USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


def answers(*choices: Wire, model: str = "test-model", usage: Wire | None = USAGE, finishes: bool = True) -> Script:
    """A whole answer; streamed in small pieces where the request asks for a stream. Without `finishes`, a stream ends
    without its last chunks."""

    async def script(request: web.Request, body: Wire) -> web.StreamResponse:
        if not body.get("stream"):
            numbered = [{"index": i, **one} for i, one in enumerate(choices)]
            return web.json_response({"id": "x", "model": model, "choices": numbered, "usage": usage})
        chunks = [chunk for i, one in enumerate(choices) for chunk in _deltas(i, one, finishes=finishes)]
        response = await _stream(request)
        for chunk in chunks:
            await _send(response, {"id": "x", "model": model, "choices": [chunk]})
        if finishes:
            if (body.get("stream_options") or {}).get("include_usage"):
                await _send(response, {"id": "x", "model": model, "choices": [], "usage": usage})
            await response.write(b"data: [DONE]\n\n")
        return response

    return script


def says(text: str, **more: Any) -> Script:  # noqa: ANN401  as `answers`
    return answers(choice(text), **more)


def calls(*wire: Wire, text: str | None = None, **more: Any) -> Script:  # noqa: ANN401  as `answers`
    return answers(choice(text, *wire), **more)


def fails(
    status: int, message: str = "it is broken", *, headers: dict[str, str] | None = None, code: str = ""
) -> Script:
    async def script(request: web.Request, body: Wire) -> web.StreamResponse:
        error = {"error": {"message": message, "type": "error", "code": code or None}}
        return web.json_response(error, status=status, headers=headers)

    return script


def replies(raw: bytes, *, content_type: str = "application/json") -> Script:
    """These bytes."""

    async def script(request: web.Request, body: Wire) -> web.StreamResponse:
        return web.Response(body=raw, content_type=content_type)

    return script


def hangs() -> Script:
    """Takes the request and says nothing until the server ends."""

    async def script(request: web.Request, body: Wire) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError("it waits for ever")

    return script


def stalls(text: str) -> Script:
    """Streams the text, and then nothing."""

    async def script(request: web.Request, body: Wire) -> web.StreamResponse:
        response = await _stream(request)
        await _send(response, {"id": "x", "model": "m", "choices": [{"index": 0, "delta": {"content": text}}]})
        await asyncio.Event().wait()
        raise AssertionError("it waits for ever")

    return script


def stalls_error(status: int) -> Script:
    """Says that it fails, and never says how."""

    async def script(request: web.Request, body: Wire) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"error": ')
        await asyncio.Event().wait()
        raise AssertionError("it waits for ever")

    return script


def pings(every_s: float = 0.02) -> Script:
    """Keeps the stream alive with comments and never answers."""

    async def script(request: web.Request, body: Wire) -> web.StreamResponse:
        response = await _stream(request)
        while True:
            await response.write(b": still there\n\n")
            await asyncio.sleep(every_s)

    return script


def cuts(text: str) -> Script:
    """Streams the text and drops the connection."""

    async def script(request: web.Request, body: Wire) -> web.StreamResponse:
        response = await _stream(request)
        if text:
            await _send(response, {"id": "x", "model": "m", "choices": [{"index": 0, "delta": {"content": text}}]})
        assert request.transport is not None
        request.transport.abort()
        return response

    return script


def breaks_off(text: str, message: str) -> Script:
    """Streams the text and then an error, as gateways do when their upstream fails."""

    async def script(request: web.Request, body: Wire) -> web.StreamResponse:
        response = await _stream(request)
        await _send(response, {"id": "x", "model": "m", "choices": [{"index": 0, "delta": {"content": text}}]})
        await _send(response, {"error": {"message": message}})
        return response

    return script


async def _stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    return response


async def _send(response: web.StreamResponse, chunk: Wire) -> None:
    await response.write(f"data: {json.dumps(chunk)}\n\n".encode())


def _deltas(index: int, whole: Wire, *, finishes: bool) -> list[Wire]:
    message, made = whole["message"], [{"index": index, "delta": {"role": "assistant", "content": ""}}]
    text, listed = message["content"] or "", whole.get("logprobs", {}).get("content", [])
    made += [{"index": index, "delta": {"content": text[i : i + 3]}} for i in range(0, len(text), 3)]
    made += [{"index": index, "delta": {}, "logprobs": {"content": [one]}} for one in listed]
    for place, one in enumerate(message.get("tool_calls", [])):
        written = one["function"]["arguments"]
        first = {"index": place, "id": one["id"], "type": "function"}
        first["function"] = {"name": one["function"]["name"], "arguments": ""}
        pieces = [{"index": place, "function": {"arguments": written[i : i + 4]}} for i in range(0, len(written), 4)]
        made += [{"index": index, "delta": {"tool_calls": [piece]}} for piece in (first, *pieces)]
    return [*made, {"index": index, "delta": {}, "finish_reason": whole["finish_reason"]}] if finishes else made
