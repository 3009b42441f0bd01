"""Tools of a Model Context Protocol server, over stdio or streamable HTTP.

Knows the protocol's official client; knows nothing of events, and believes no word that a server says about how safe
its tools are. Invariant: a call is sent at most once, and ends in a result or in a `ToolFailed` that says what is known
of it."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, cast

import anyio
import httpx2
from anyio.from_thread import start_blocking_portal
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CONNECTION_CLOSED, INVALID_REQUEST
from pydantic import JsonValue, ValidationError

from loops.environments.tools.mcp_wire import bounded, difference, listed, title, value
from loops.environments.tools.settings import McpServer
from loops.environments.tools.tool import Caller, Run, Tool
from loops.errors import EnvironmentFailed, ScenarioInvalid, ToolFailed
from loops.spaces import ToolSpec

if TYPE_CHECKING:
    from anyio.abc import TaskStatus
    from mcp.client import Transport
    from mcp.client._transport import ReadStream, TransportStreams
    from mcp.client.session import IncomingMessage
    from mcp.shared.message import SessionMessage
    from mcp_types import RequestParamsMeta

    from telemetry.events.values import Digest

START_S = 20.0
"""Seconds a server has to start and to list its tools. The client gives the newest handshake 10 s, then tries the
older one."""

CLOSE_S = 5.0
"""Seconds for parting over HTTP. A process that stays gets SIGTERM after 2 s and SIGKILL after 2 more."""

MAX_EVENT_BYTES = 64 << 20
"""Most bytes of one streamed answer: far above what a result may hold, so that one too large is not taken for lost."""

STDERR_BYTES = 2_000
"""How much is kept of what a server wrote last on stderr."""

MAX_NOISE = 200
"""Characters shown of what a server wrote where only messages belong."""

EFFECT_KEY = "aetherloop/effect"
"""Where a keyed call carries its effect's key, in the `_meta` of the request."""

# Without a handler the client would write a traceback to our stderr for each line a server should not have written.
logging.getLogger("mcp").addHandler(logging.NullHandler())


class McpTools:
    """The tools of one server, named `<server>_<tool>`.

    Raises `ScenarioInvalid` for a command that cannot be run or a tool list that does not fit, `EnvironmentFailed` for
    a server that is not there, ends, or does not answer within `start_s`."""

    def __init__(self, server: McpServer, *, start_s: float = START_S) -> None:
        self._server = server
        self._start_s = start_s
        self._starting = threading.Lock()
        self._closed = False
        self._closed_why = f"the connection to {title(server)} is closed. The call was not sent"
        with ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal(name=f"mcp-{server.name}"))
            self._links = [self._connect()]
            self._thread = stack.pop_all()
        self._specs = self._links[-1].specs

    def tools(self) -> list[Tool]:
        return [Tool(spec=spec, run=self._run(name, spec)) for name, spec in self._specs.items()]

    def close(self) -> None:
        """Ends the connection and, on stdio, the server. A call still under way is lost."""
        with self._starting:
            if not self._closed:
                self._closed = True
                for link in self._links:
                    self._portal.call(link.end)
                self._thread.close()

    def _run(self, name: str, spec: ToolSpec) -> Run:
        def run(arguments: Mapping[str, JsonValue], caller: Caller) -> JsonValue:
            key = caller.effect if spec.effect_class == "keyed" else None
            link = self._usable()
            try:
                return self._portal.call(link.ask, name, arguments, key)
            except RuntimeError:  # the portal's: it was closed just now; the call's own errors are `ToolFailed`
                raise ToolFailed(self._closed_why, "lost") from None

        return run

    def _usable(self) -> _Link:
        """The connection, made anew when it broke off. Raises `ToolFailed` when there is none: nothing was sent."""
        with self._starting:
            if self._closed:
                raise ToolFailed(self._closed_why, "lost")
            if not self._links[-1].usable:
                try:
                    link = self._connect()
                except (ScenarioInvalid, EnvironmentFailed) as error:
                    raise ToolFailed(f"{error} The call was not sent; the next one tries again.", "lost") from error
                if link.specs != self._specs:
                    self._portal.call(link.end)
                    changed = difference(self._specs, link.specs)
                    why = f"{title(self._server)} was started anew and its tools are not the same: {changed}."
                    raise ToolFailed(f"{why} The call was not sent; open a new session to use them.", "lost")
                # One that broke off may still have calls under way.
                self._links = [old for old in self._links if not old.gone] + [link]
            return self._links[-1]

    def _connect(self) -> _Link:
        link = self._portal.call(_Link, self._server)
        self._portal.start_task(link.hold, self._start_s)
        return link


class _Link:
    """One connection, and on stdio one process. All of it runs in the portal's event loop, but `usable` and `gone`."""

    def __init__(self, server: McpServer) -> None:
        self._server = server
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
            self._cause = f" {bounded(str(error))}."
        finally:
            self._broken = True
            self._stderr.close()
            self._ended.set()
            self._gone.set()
        if not began:
            raise self._not_begun(error) from error

    async def ask(self, name: str, arguments: Mapping[str, JsonValue], key: Digest | None) -> JsonValue:
        """Sends one call. One that takes too long is cancelled at the server, as the protocol has it."""
        self._calls += 1
        meta = None if key is None else cast("RequestParamsMeta", {EFFECT_KEY: key})
        try:
            with anyio.move_on_after(self._server.timeout_s):
                return value(await self._client.call_tool(name, dict(arguments), meta=meta))
            late = f"{title(self._server)} did not answer within {self._server.timeout_s:g} s; it was told to stop"
            raise ToolFailed(f"{late}, and may have done it all the same", "timeout")
        except MCPError as error:
            # INVALID_REQUEST is what a server answers that has forgotten this client, as one does that was restarted.
            self._broken = self._broken or error.code in (CONNECTION_CLOSED, INVALID_REQUEST)
            if error.code != CONNECTION_CLOSED:
                raise ToolFailed(bounded(str(error))) from None
            why = str(error)
        except (RuntimeError, ValueError) as error:
            raise ToolFailed(f"it ran, but its answer cannot be used: {bounded(str(error))}") from None
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
                timeout = httpx2.Timeout(START_S, read=None)  # a call's own time bounds the reading
                http = await stack.enter_async_context(httpx2.AsyncClient(timeout=timeout))
                transport = streamable_http_client(
                    self._server.url, http_client=http, max_sse_event_size=MAX_EVENT_BYTES
                )
            read, write = await stack.enter_async_context(transport)
            yield _Watched(read, self._ended), write

    async def _heard(self, message: IncomingMessage) -> None:
        if isinstance(message, ValidationError) and not self._noise:
            self._noise = f" It writes what is not a message: {str(message.errors()[0]['input'])[:MAX_NOISE]!r}."

    def _not_begun(self, error: Exception) -> ScenarioInvalid | EnvironmentFailed:
        if isinstance(error, ScenarioInvalid):
            return error
        why = f"{title(self._server)} ({self._server.url or ' '.join(self._server.command)}) cannot be used: {error}."
        if isinstance(error, TimeoutError):
            return EnvironmentFailed(f"{why}{self._last_words()}", "timeout")
        if isinstance(error, OSError | httpx2.UnsupportedProtocol | httpx2.InvalidURL):
            return ScenarioInvalid(f"{why} Is it there, and spelled like that?")
        return EnvironmentFailed(f"{why}{self._last_words()}", "lost")

    def _last_words(self) -> str:
        said = f" Its last words on stderr: {self._stderr.tail}" if self._stderr.tail else ""
        return f"{self._noise}{said}"


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
