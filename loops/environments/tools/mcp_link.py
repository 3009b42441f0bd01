"""One connection to a Model Context Protocol server, over stdio or streamable HTTP.

Knows the protocol's official client and its errors; knows nothing of sessions and starts nothing anew. Invariant: a
call ends in a result or in a `ToolFailed` that says what is known of it, also when the server dies in it."""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, cast

import anyio
import httpx2
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CONNECTION_CLOSED, INVALID_REQUEST, JSONRPCRequest
from pydantic import JsonValue, ValidationError

from loops.environments.tools.mcp_wire import listed, said, title, value
from loops.environments.tools.settings import McpServer
from loops.errors import EnvironmentFailed, ScenarioInvalid, ToolFailed
from loops.spaces import ToolSpec
from telemetry.otel.context import carriers, is_carried_to

if TYPE_CHECKING:
    from anyio.abc import TaskStatus
    from mcp.client import Transport
    from mcp.client._transport import ReadStream, TransportStreams, WriteStream
    from mcp.client.session import IncomingMessage
    from mcp.shared.message import SessionMessage
    from mcp_types import RequestParamsMeta

    from telemetry.events.values import Digest

CONNECT_S = 20.0
"""Seconds an HTTP server has to accept a request; answering is bounded by the call's own time."""

CLOSE_S = 5.0
"""Seconds for parting over HTTP. A process that stays gets SIGTERM after 2 s and SIGKILL after 2 more."""

MAX_EVENT_BYTES = 64 << 20
"""Most bytes of one streamed answer: far above what a result may hold, so that one too large is not taken for lost."""

TURNS = 12
"""Turns of the event loop before a call, in which a server that is gone by then is noticed. From a process' end to the
end of its messages here it takes 6 of them with mcp 2.3; a turn costs 3 µs, a call above 1 ms."""

STDERR_BYTES = 2_000
"""How much is kept of what a server wrote last on stderr."""

MAX_NOISE = 200
"""Characters shown of what a server wrote where only messages belong."""

EFFECT_KEY = "aetherloop/effect"
"""Where a keyed call carries its effect's key, in the `_meta` of the request."""

# Without a handler the client would write a traceback to our stderr for each line a server should not have written.
logging.getLogger("mcp").addHandler(logging.NullHandler())


class Link:
    """One connection, and on stdio one process. All of it runs in the portal's event loop, but `usable` and `gone`."""

    def __init__(self, server: McpServer) -> None:
        self._server = server
        # A server on stdio is a process of this machine's that the scenario names.
        self._joined = is_carried_to(server.url or "//localhost", wish=server.traceparent)
        self._ended, self._gone = anyio.Event(), anyio.Event()
        self._calls = 0
        self._broken = False
        self._cause = self._noise = ""
        self._stderr = _Stderr()
        self._client = Client(self._streams(), cache=None, message_handler=self._heard)
        self.specs: Mapping[str, ToolSpec] = {}
        """By the names that the server knows them under."""

    @property
    def usable(self) -> bool:
        return not (self._broken or self._ended.is_set())

    @property
    def gone(self) -> bool:
        return self._gone.is_set()

    def end(self) -> None:
        self._ended.set()

    async def stands(self) -> bool:
        """Whether it can be used, also where the server's end has come but was not read yet."""
        for _ in range(TURNS):
            if not self.usable:
                return False
            await anyio.lowlevel.checkpoint()
        return self.usable

    async def hold(self, start_s: float, *, task_status: TaskStatus[None]) -> None:
        """Owns the connection from its beginning to its end: its scopes must be left by the task that entered them.
        Raises `ScenarioInvalid` or `EnvironmentFailed` when it does not come about within `start_s`."""
        began = False
        error: Exception = TimeoutError(f"it did not answer within {start_s:g} s")
        try:
            with anyio.CancelScope(deadline=anyio.current_time() + start_s) as scope:
                async with self._client:
                    self.specs = await listed(self._server, self._client)
                    scope.deadline = math.inf
                    began = True
                    task_status.started()
                    await self._ended.wait()
                    scope.deadline = anyio.current_time() + CLOSE_S
        except Exception as raised:  # noqa: BLE001  whatever a transport raises is why there is no connection
            error = _first(raised)
            self._cause = f" {said(error)}."
        finally:
            self._broken = True
            self._stderr.close()
            self._ended.set()
            self._gone.set()
        if not began:
            raise self._not_begun(error) from error

    async def ask(self, name: str, arguments: Mapping[str, JsonValue], key: Digest | None) -> JsonValue:
        """Sends one call. One that takes too long is cancelled at the server, as the protocol has it."""
        if not self.usable:
            raise ToolFailed(f"the connection to {title(self._server)} broke off. The call was not sent", "not_done")
        self._calls += 1
        meta = None if key is None else cast("RequestParamsMeta", {EFFECT_KEY: key})
        try:
            with anyio.move_on_after(self._server.timeout_s):
                return value(await self._client.call_tool(name, dict(arguments), meta=meta))
            late = f"{title(self._server)} did not answer within {self._server.timeout_s:g} s; it was told to stop"
            raise ToolFailed(f"{late}, and may have done it all the same", "timeout")
        except MCPError as error:
            # An HTTP server that was restarted has forgotten this client, and says so by INVALID_REQUEST.
            forgotten = error.code == INVALID_REQUEST and self._server.url is not None
            self._broken = self._broken or forgotten or error.code == CONNECTION_CLOSED
            if error.code != CONNECTION_CLOSED:
                raise ToolFailed(said(error)) from None
            why = said(error)
        except (RuntimeError, ValueError) as error:
            raise ToolFailed(f"it ran, but its answer cannot be used: {said(error)}") from None
        finally:
            self._calls -= 1
            if self._broken and not self._calls:
                self._ended.set()
        if self._ended.is_set():
            with anyio.move_on_after(CLOSE_S):
                await self._gone.wait()
        lost = f"the connection to {title(self._server)} broke off before it answered ({why})"
        raise ToolFailed(
            f"{lost}; it may have done it, and the next call starts anew.{self._cause}{self._last_words()}", "lost"
        )

    @asynccontextmanager
    async def _streams(self) -> AsyncIterator[TransportStreams]:
        async with AsyncExitStack() as stack:
            transport: Transport
            if self._server.url is None:
                program, *arguments = self._server.command
                # The client hands on HOME, LOGNAME, PATH, SHELL, TERM and USER; nothing else of ours gets through.
                parameters = StdioServerParameters(
                    command=program, args=arguments, env={"LANG": "C.UTF-8"}, encoding_error_handler="replace"
                )
                transport = stdio_client(parameters, errlog=self._stderr.pen)
            else:
                timeout = httpx2.Timeout(CONNECT_S, read=None)
                http = await stack.enter_async_context(httpx2.AsyncClient(timeout=timeout))
                transport = streamable_http_client(
                    self._server.url, http_client=http, max_sse_event_size=MAX_EVENT_BYTES
                )
            read, write = await stack.enter_async_context(transport)
            yield _Watched(read, self._ended), write if self._joined else _Apart(write)

    async def _heard(self, message: IncomingMessage) -> None:
        if isinstance(message, ValidationError) and not self._noise:
            self._noise = f" It writes what is not a message: {str(message.errors()[0]['input'])[:MAX_NOISE]!r}."

    def _not_begun(self, error: Exception) -> ScenarioInvalid | EnvironmentFailed:
        if isinstance(error, ScenarioInvalid):
            return error
        where = self._server.url or " ".join(self._server.command)
        why = f"{title(self._server)} ({where}) cannot be used: {said(error)}."
        if isinstance(error, TimeoutError):
            return EnvironmentFailed(f"{why}{self._last_words()}", "timeout")
        if isinstance(error, OSError | httpx2.UnsupportedProtocol | httpx2.InvalidURL):
            return ScenarioInvalid(f"{why} Is it there, and spelled like that?")
        return EnvironmentFailed(f"{why}{self._last_words()}", "lost")

    def _last_words(self) -> str:
        return self._noise + (f" Its last words on stderr: {self._stderr.tail}" if self._stderr.tail else "")


class _Watched:
    """A connection's incoming messages; says when there are no more, which the client tells nobody."""

    def __init__(self, stream: ReadStream[SessionMessage | Exception], ended: anyio.Event) -> None:
        self._stream = stream
        self._ended = ended

    async def receive(self) -> SessionMessage | Exception:
        return await self._stream.receive()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def __aiter__(self) -> _Watched:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self._stream.__anext__()
        except StopAsyncIteration:
            self._ended.set()
            raise

    async def __aenter__(self) -> _Watched:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stream.__aexit__(kind, error, trace)


class _Apart:
    """A connection's outgoing messages without the trace they belong to, which the client writes into every request."""

    def __init__(self, stream: WriteStream[SessionMessage]) -> None:
        self._stream = stream
        self._names = carriers()

    async def send(self, item: SessionMessage, /) -> None:
        params = item.message.params if isinstance(item.message, JSONRPCRequest) else None
        if params is not None and isinstance(meta := params.get("_meta"), dict):
            for name in self._names & meta.keys():
                del meta[name]
            if not meta:
                del params["_meta"]
        await self._stream.send(item)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def __aenter__(self) -> _Apart:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stream.__aexit__(kind, error, trace)


class _Stderr:
    """Reads what a server writes on stderr, so that it never waits for a reader, and keeps the end of it."""

    def __init__(self) -> None:
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)
        self.pen = os.fdopen(write, "w")
        self._kept = b""
        asyncio.get_running_loop().add_reader(self._read, self._take)

    @property
    def tail(self) -> str:
        return self._kept.decode(errors="replace").strip()

    def close(self) -> None:
        self._take()
        asyncio.get_running_loop().remove_reader(self._read)
        os.close(self._read)
        self.pen.close()

    def _take(self) -> None:
        with suppress(BlockingIOError):
            self._kept = (self._kept + os.read(self._read, 1 << 20))[-STDERR_BYTES:]


def _first(error: Exception) -> Exception:
    """What went wrong first inside the task groups that carried it here."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
