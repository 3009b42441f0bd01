"""A gateway in this process between a test's endpoint and a test's agent, and readings of what it recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientSession, web

from runtime.gateway.recorder import Counts
from runtime.gateway.serve import listening
from runtime.replay import replay
from telemetry.events import Event, sense
from telemetry.events.values import Message
from telemetry.log import EventLog
from tests.upstream import Answer, Body, Upstream, message, reply, upstream

KEY = "sk-never-on-the-log"
FIND = {"type": "function", "function": {"name": "find_order", "parameters": {"type": "object"}}}


@dataclass
class Agent:
    """Speaks to the gateway as any client does."""

    base_url: str
    http: ClientSession
    upstream: Upstream
    counts: Counts

    def post(self, messages: list[Body], **more: Any) -> Any:  # noqa: ANN401  aiohttp's own context manager
        headers = {"Authorization": f"Bearer {KEY}", **more.pop("headers", {})}
        body = {"model": "small", "messages": messages, **more}
        return self.http.post(f"{self.base_url}/chat/completions", json=body, headers=headers)

    async def ask(self, messages: list[Body], **more: Any) -> Body:  # noqa: ANN401  fields of the body
        """The answered message, or the error's body."""
        async with self.post(messages, **more) as answer:
            told = await answer.json()
            return dict(told["choices"][0]["message"] if "choices" in told else told)


@asynccontextmanager
async def gateway(log: EventLog, answer: Answer) -> AsyncIterator[Agent]:
    """An endpoint, the gateway before it, and an agent; what was said is on the log when the block is left."""
    async with AsyncExitStack() as stack:
        endpoint = await stack.enter_async_context(upstream(answer))
        listens = listening(log, upstream=endpoint.url, listen="127.0.0.1:0", say=lambda _: None)
        running = await stack.enter_async_context(listens)
        http = await stack.enter_async_context(ClientSession())
        yield Agent(running.url, http, endpoint, running.counts)


def sessions(log: EventLog) -> list[str]:
    """Streams of sessions, in the order in which they were opened."""
    return [recorded.stream for recorded in log.read_all(types=["session.opened"])]


def told(log: EventLog, stream: str, *kinds: type[Event]) -> list[Any]:
    return [r.event for r in log.read(stream) if not kinds or isinstance(r.event, kinds)]


def one(log: EventLog) -> str:
    (stream,) = sessions(log)
    return stream


def heard(log: EventLog, stream: str) -> list[list[str]]:
    """Texts of the messages that each cycle perceived."""
    observed = told(log, stream, sense.Observed)
    return [[o.text for o in event.observations if isinstance(o, Message)] for event in observed]


def check_replay(log: EventLog) -> None:
    assert not log.verify().problems
    for stream in sessions(log):
        report = replay(log, stream)
        assert report.agrees
        assert report.checked >= 1


async def hello(request: web.Request, body: Body) -> web.StreamResponse:
    return await reply(request, body, message("hello there"))


def shop(messages: list[Body]) -> Body:
    """Looks an order up, then answers with what the tool said."""
    last = messages[-1]
    if last["role"] == "tool":
        return message(f"It says {last['content']}")
    return message(calls=[("call_1", "find_order", '{"order": 17}')])


def posted(messages: list[Body]) -> Body:
    """The body of a request."""
    return {"model": "small", "messages": messages}
