"""Passing on: each request to the endpoint, each byte of its answer to the agent, as it comes.

Knows HTTP; hands what is to be recorded to the recorder and never waits for it. Invariant: the agent gets the
endpoint's status, headers and bytes, and where the endpoint cuts off, it is cut off."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, replace

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    StreamReader,
    TCPConnector,
    web,
)
from multidict import CIMultiDict
from yarl import URL

from runtime.gateway.answer import AnswerReader, Kind, Nothing
from runtime.gateway.recorder import Exchange, Recorder
from telemetry.errors import TelemetryError

SESSION_HEADER = "x-aether-session"
SESSION_NAME = re.compile(r"[a-z0-9_-]{1,64}")

CONNECT_S = 30.0
"""How long reaching the endpoint may take; how long its answer may take is the agent's affair."""

MAX_REQUEST_BYTES = 64 * 1024 * 1024
"""Of a request that is recorded, as it is held in memory; a longer one is refused."""

PER_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization"}
    | {"te", "trailer", "transfer-encoding", "upgrade"}
)
"""RFC 9110, section 7.6.1, and RFC 2616, section 13.5.1."""

NOT_PASSED_ON = PER_HOP | {"host", "expect", SESSION_HEADER}

MAX_NAMES = 100_000
"""Session names of which it is remembered that they may be recorded; about 10 MiB."""

KEYS = ("authorization", "api-key", "x-api-key")
"""Headers whose values an endpoint's error may repeat; they are taken out of it before it is recorded."""

MIN_KEY_CHARACTERS = 4

Headers = CIMultiDict[str]


class Proxy:
    """The gateway's routes. `upstream` is the endpoint's base URL, its `/v1` included."""

    def __init__(self, upstream: URL, recorder: Recorder) -> None:
        self._upstream = upstream.with_user(None)
        self._base = str(upstream).rstrip("/")
        self._recorder = recorder
        self._names: set[str] = set()
        """Session names that may be recorded."""
        self._unrecorded = 0
        self._gone = "the client went away"

    def application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_REQUEST_BYTES)
        app.router.add_get("/aether/status", self._status)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_route("*", "/v1/{rest:.*}", self._other)
        app.cleanup_ctx.append(self._client)
        app.on_shutdown.append(self._ending)
        return app

    async def _client(self, _: web.Application) -> AsyncIterator[None]:
        async with ClientSession(
            connector=TCPConnector(limit=0),
            cookie_jar=DummyCookieJar(),
            timeout=ClientTimeout(total=None, sock_connect=CONNECT_S),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        ) as self._session:
            yield

    async def _ending(self, _: web.Application) -> None:
        self._gone = "the gateway ended before the answer did"

    async def _status(self, _: web.Request) -> web.Response:
        counts = asdict(self._recorder.counts)
        return web.json_response({"upstream": str(self._upstream), **counts, "passed_unrecorded": self._unrecorded})

    async def _other(self, request: web.Request) -> web.StreamResponse:
        self._unrecorded += 1
        body = request.content if request.body_exists else None
        return await self._pass_on(request, _end_to_end(request.headers), body, None)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        name = request.headers.get(SESSION_HEADER)
        if name is not None and (wrong := await self._refusal(name)) is not None:
            return _error(400, wrong, kind="invalid_request_error", code="aether_session")
        body = await request.read()
        headers = _end_to_end(request.headers)
        headers["Accept-Encoding"] = "identity"  # what is compressed could not be read on the side
        recording = _Recording(self._recorder, self._recorder.begin(body, name), request.headers)
        try:
            return await self._pass_on(request, headers, body, recording)
        finally:
            recording.end(Nothing("cancelled", None, self._gone))

    async def _refusal(self, name: str) -> str | None:
        if name in self._names:
            return None
        if not SESSION_NAME.fullmatch(name):
            return f"{SESSION_HEADER}: {name!r} is no session name; use 1 to 64 of a-z, 0-9, '_' and '-'"
        try:
            refusal = await asyncio.to_thread(self._recorder.refusal, name)
        except TelemetryError:
            return None  # a log that cannot be read stops no agent; recording will say so
        if refusal is None:
            if len(self._names) == MAX_NAMES:
                self._names.clear()
            self._names.add(name)
        return refusal

    async def _pass_on(
        self, request: web.Request, headers: Headers, body: bytes | StreamReader | None, recording: _Recording | None
    ) -> web.StreamResponse:
        target = URL(f"{self._base}{request.rel_url.raw_path_qs.removeprefix('/v1')}", encoded=True)
        try:
            answer = await self._session.request(
                request.method, target, headers=headers, data=body, allow_redirects=False
            )
        except (ClientError, TimeoutError) as error:
            return self._no_answer(error, recording)
        try:
            if recording is not None:
                recording.read(answer)
            return await _relay(request, answer, recording)
        finally:
            answer.close()

    def _no_answer(self, error: Exception, recording: _Recording | None) -> web.Response:
        """The gateway's own words, as there are none of the endpoint."""
        kind: Kind = "unreachable" if isinstance(error, ClientConnectorError) else "cut"
        if isinstance(error, TimeoutError):
            kind = "timeout"
        words = f"{self._upstream} gave no answer: {str(error) or type(error).__name__}"
        if recording is not None:
            recording.end(Nothing(kind, None, words))
        return _error(504 if kind == "timeout" else 502, words, kind="server_error", code="upstream_" + kind)


class _Recording:
    """One exchange as the proxy sees it."""

    def __init__(self, recorder: Recorder, exchange: Exchange, headers: Mapping[str, str]) -> None:
        self._recorder = recorder
        self._exchange = exchange
        self._reader: AnswerReader | None = None
        self._ended = False
        values = (headers.get(name, "").rpartition(" ")[2] for name in KEYS)
        self._keys = tuple(value for value in values if len(value) >= MIN_KEY_CHARACTERS)

    def read(self, answer: ClientResponse) -> None:
        self._reader = AnswerReader(
            answer.status,
            streamed=answer.content_type == "text/event-stream",
            encoded=answer.headers.get("Content-Encoding", "identity") != "identity",
        )

    def feed(self, piece: bytes, *, last: bool) -> None:
        """Comes before the piece is passed on: with the end of the answer the agent may go on at once, and its next
        request must find the conversation where this answer leaves it."""
        if self._reader is not None:
            self._reader.feed(piece)
            if last or self._reader.whole:
                self.end(None)

    def end(self, nothing: Nothing | None) -> None:
        """`nothing` says why there is no more of the answer, where it did not end by itself."""
        if self._ended:
            return
        self._ended = True
        ending = self._reader.ending(nothing) if self._reader is not None else nothing
        assert ending is not None, "an answer that was not read ends for a reason"
        if isinstance(ending, Nothing):
            for key in self._keys:
                ending = replace(ending, error=ending.error.replace(key, "[key]"))
        self._recorder.end(self._exchange, ending)


async def _relay(request: web.Request, answer: ClientResponse, recording: _Recording | None) -> web.StreamResponse:
    """Status, headers and bytes of `answer`, piece by piece."""
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=_end_to_end(answer.headers))
    await response.prepare(request)
    while True:
        try:
            piece = await answer.content.readany()
        except (ClientError, OSError) as error:
            piece = answer.content._read_nowait(-1)  # what came before the cut, which it keeps to itself from then on
            if recording is not None:
                recording.feed(piece, last=False)
                recording.end(Nothing("cut", answer.status, f"the endpoint cut its answer off: {error}"))
            await response.write(piece)
            if request.transport is not None:
                request.transport.close()  # without the end of the body, so that the agent sees that it is not whole
            return response
        if recording is not None:
            recording.feed(piece, last=answer.content.at_eof())
        if not piece:
            await response.write_eof()
            return response
        await response.write(piece)


def _end_to_end(headers: Mapping[str, str]) -> Headers:
    """The headers that are not between two neighbours only."""
    listed = {name.strip().lower() for name in headers.get("Connection", "").split(",")}
    return CIMultiDict((k, v) for k, v in headers.items() if k.lower() not in NOT_PASSED_ON | listed)


def _error(status: int, message: str, *, kind: str, code: str) -> web.Response:
    """An error in the shape that clients of the protocol read."""
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return web.json_response(body, status=status)
