"""An endpoint of the chat-completions protocol on a real socket, which answers as a test says.

Knows the wire only. `Upstream.answer` gets each request and uses the helpers below; everything that came is kept."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Body = dict[str, Any]
Answer = Callable[[web.Request, Body], Awaitable[web.StreamResponse]]

DONE = b"data: [DONE]\n\n"


@dataclass
class Upstream:
    """`url` ends in /v1. `left` is set when a client goes away before its answer is whole."""

    answer: Answer
    url: str = ""
    requests: list[Body] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = json.loads(raw) if request.content_type == "application/json" and raw else {}
        self.requests.append(body)
        self.headers.append(dict(request.headers))
        try:
            return await self.answer(request, body)
        except (asyncio.CancelledError, ConnectionResetError):
            self.left.set()
            raise


@asynccontextmanager
async def upstream(answer: Answer) -> AsyncIterator[Upstream]:
    served = Upstream(answer)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", served.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield served
    await runner.cleanup()


def message(text: str | None = None, calls: Sequence[tuple[str, str, str]] = ()) -> Body:
    """An assistant's message; a call is (id, tool, arguments as JSON text)."""
    said: Body = {"role": "assistant", "content": text}
    if calls:
        said["tool_calls"] = [
            {"id": id_, "type": "function", "function": {"name": tool, "arguments": arguments}}
            for id_, tool, arguments in calls
        ]
    return said


def result(call: str, content: str) -> Body:
    return {"role": "tool", "tool_call_id": call, "content": content}


def user(text: str) -> Body:
    return {"role": "user", "content": text}


def event(body: Body) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def chunk(delta: Body, *, index: int = 0, finish: str | None = None) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return event({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "small-1", "choices": [choice]})


def chunks(said: Body) -> list[bytes]:
    """The stream of one message: its text word by word, its calls' arguments in two halves, no usage, [DONE]."""
    pieces = [chunk({"role": "assistant", "content": ""})]
    pieces += [chunk({"content": word}) for word in re.findall(r"\S+\s*", said["content"] or "")]
    for index, call in enumerate(said.get("tool_calls", ())):
        arguments = call["function"]["arguments"]
        head = {"name": call["function"]["name"], "arguments": arguments[: len(arguments) // 2]}
        pieces.append(chunk({"tool_calls": [{**call, "index": index, "function": head}]}))
        rest = {"index": index, "function": {"arguments": arguments[len(arguments) // 2 :]}}
        pieces.append(chunk({"tool_calls": [rest]}))
    return [*pieces, chunk({}, finish="tool_calls" if said.get("tool_calls") else "stop"), DONE]


def whole(*said: Body) -> Body:
    choices = [{"index": i, "message": m, "finish_reason": "stop"} for i, m in enumerate(said)]
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "small-1"}
    return {**body, "choices": choices, "usage": usage}


async def begin(request: web.Request) -> web.StreamResponse:
    """An event stream that is open."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    return response


async def reply(request: web.Request, body: Body, *said: Body) -> web.StreamResponse:
    """Answers as the request wants it: whole, or as a stream of the first message."""
    if not body.get("stream"):
        return web.json_response(whole(*said))
    response = await begin(request)
    for piece in chunks(said[0]):
        await response.write(piece)
    await response.write_eof()
    return response


def scripted(policy: Callable[[list[Body]], Body]) -> Answer:
    """Answers each request by its messages."""

    async def answer(request: web.Request, body: Body) -> web.StreamResponse:
        return await reply(request, body, policy(body["messages"]))

    return answer
