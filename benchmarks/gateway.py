"""What the recording gateway adds to an answer's first token, and how many streams it carries at once.

Endpoint and gateway are processes of their own, the gateway is the real command on a real log, and everything is
real HTTP. Calls come in pairs, one to the endpoint and one through the gateway, in turns of who is first; each is a
conversation of its own, so each opens a session. The streams all begin at one moment: the endpoint answers nobody
before everybody has asked."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web

from telemetry.events import reason
from telemetry.log import open_log

GATEWAY = (sys.executable, "-m", "runtime", "gateway")
WARM_UP = 20
"""Pairs before the first that counts; the first ones import, connect and allocate."""
TOKENS = 100
"""Of each stream's answer."""
TOKEN_S = 0.02
"""Between two tokens: 50 a second, as a hosted model streams."""
START_S = 60.0
STREAM_S = 120.0


@dataclass(frozen=True, slots=True)
class Pair:
    """From sending a request to the first token of its answer, in ms."""

    direct_ms: float
    through_ms: float


@dataclass(frozen=True, slots=True)
class Streams:
    """`whole` agents got every token, `recorded` answers are on the log with every token; of `asked`."""

    asked: int
    whole: int
    recorded: int

    @property
    def without_loss(self) -> int:
        return min(self.whole, self.recorded)


def measure_added(folder: Path, *, pairs: int) -> list[Pair]:
    """First-token times, pair by pair. What the gateway adds is the median of the differences."""
    with _endpoint(together=1, tokens=1) as direct, _gateway(folder, direct) as through:
        return asyncio.run(_pairs(direct, through, pairs))


def measure_streams(folder: Path, *, streams: int) -> Streams:
    """`streams` agents at once through one gateway; the log is read after its end."""
    with _endpoint(together=streams, tokens=TOKENS) as endpoint, _gateway(folder, endpoint) as url:
        texts = asyncio.run(_all(url, streams))
    told = {_text(number, TOKENS) for number in range(streams)}
    with closing(open_log(folder / "aether.db", mode="read")) as log:
        events = (recorded.event for recorded in log.read_all(types=["reason.answered"]))
        found = Counter(event.text for event in events if isinstance(event, reason.Answered))
    return Streams(asked=streams, whole=len(told & set(texts)), recorded=sum(found[text] == 1 for text in told))


async def _pairs(direct: str, through: str, pairs: int) -> list[Pair]:
    measured = []
    async with ClientSession(timeout=ClientTimeout(total=STREAM_S)) as http:
        for number in range(-WARM_UP, pairs):
            urls = (direct, through) if number % 2 else (through, direct)
            took = {url: await _first_token_ms(http, url, number) for url in urls}
            if number >= 0:
                measured.append(Pair(direct_ms=took[direct], through_ms=took[through]))
    return measured


async def _first_token_ms(http: ClientSession, url: str, number: int) -> float:
    began = time.perf_counter_ns()
    async with http.post(f"{url}/chat/completions", json=_asked(number)) as answer:
        await answer.content.readuntil(b"\n\n")
        took_ms = (time.perf_counter_ns() - began) / 1e6
        await answer.read()
    return took_ms


async def _all(url: str, streams: int) -> list[str]:
    timeout = ClientTimeout(total=STREAM_S)
    async with ClientSession(connector=TCPConnector(limit=0), timeout=timeout) as http:
        return await asyncio.gather(*(_answer(http, url, number) for number in range(streams)))


async def _answer(http: ClientSession, url: str, number: int) -> str:
    """The streamed text; what went wrong instead, where it did."""
    try:
        async with http.post(f"{url}/chat/completions", json=_asked(number)) as answer:
            lines = [line async for line in answer.content if line.startswith(b"data: {")]
    except (ClientError, TimeoutError) as error:
        return repr(error)
    return "".join(json.loads(line[6:])["choices"][0]["delta"].get("content", "") for line in lines)


def _asked(number: int) -> dict[str, object]:
    messages = [{"role": "system", "content": "You answer."}, {"role": "user", "content": f"Question {number}"}]
    return {"model": "bench", "stream": True, "messages": messages}


def _text(number: int, tokens: int) -> str:
    return "".join(f"{number}.{token} " for token in range(tokens))


@contextmanager
def _endpoint(*, together: int, tokens: int) -> Iterator[str]:
    """The base URL of an endpoint that answers each request as soon as `together` are under way."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, together, tokens), daemon=True)
    process.start()
    try:
        if not ours.poll(START_S):
            raise TimeoutError(f"the endpoint did not listen within {START_S:.0f} s")
        yield f"http://127.0.0.1:{ours.recv()}/v1"
    finally:
        process.terminate()
        process.join()


@contextmanager
def _gateway(folder: Path, upstream: str) -> Iterator[str]:
    """The base URL of a gateway with a log of its own; at the end everything it heard is on the log."""
    folder.mkdir(parents=True, exist_ok=True)
    command = (*GATEWAY, "--upstream", upstream, "--listen", "127.0.0.1:0", "--log", str(folder / "aether.db"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(START_S)


def _serve(port: Connection, together: int, tokens: int) -> None:
    asyncio.run(_endpoint_process(port, together, tokens))


async def _endpoint_process(port: Connection, together: int, tokens: int) -> None:
    barrier = asyncio.Barrier(together)

    async def answer(request: web.Request) -> web.StreamResponse:
        number = int((await request.json())["messages"][-1]["content"].split()[1])
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await barrier.wait()
        for token in range(tokens):
            await response.write(_chunk({"content": f"{number}.{token} "}, None))
            if tokens > 1:
                await asyncio.sleep(TOKEN_S)
        await response.write(_chunk({}, "stop") + b"data: [DONE]\n\n")
        return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    port.send(runner.addresses[0][1])
    await asyncio.Event().wait()


def _chunk(delta: dict[str, str], finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "b", "object": "chat.completion.chunk", "created": 1, "model": "bench", "choices": [choice]}
    return b"data: " + json.dumps(body).encode() + b"\n\n"
