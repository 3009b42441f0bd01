"""How other processes of the same user on the same machine reach the live host of a log: a Unix socket.

Knows sockets; knows neither Ray nor what a desk does with a command. One command a connection, one JSON line each
way; what is watched comes as one line a notice. Invariant: nobody but this user can speak on it, and a host that is
gone raises `NobodyThere`, so that callers can do the work themselves."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, closing, suppress
from pathlib import Path
from typing import Self, cast

from pydantic import BaseModel, ValidationError

from runtime.desk import Desk, Ended, Notice
from runtime.errors import EXPECTED, Backpressure, Unavailable, UsageError
from runtime.letters import (
    COMMAND,
    MAX_ANSWER_BYTES,
    MAX_COMMAND_BYTES,
    SEEN,
    Answer,
    Command,
    Decide,
    Error,
    NobodyThere,
    Rest,
    Tell,
    Watch,
    address_of,
    check_folder,
)
from telemetry.events.values import EventId, Feedback, Message

__all__ = ["Mailbox", "NobodyThere", "Serving", "Watching", "serve"]

MAX_CONNECTIONS = 256
COMMAND_TIMEOUT_S = 10.0
"""Within this a caller that connected has said what it wants."""
ANSWER_TIMEOUT_S = 120.0
"""A host that waits for room on its disk answers late; longer means that it hangs."""
FAREWELL_S = 1.0
"""When the host ends, callers have so long to be told."""

# --- the host's side ---------------------------------------------------------------------------------------


async def serve(desk: Desk, log_url: str) -> Serving:
    """Listens for this log until `close`. To be called by whoever holds the log's lock: a socket that is there
    already is then a dead host's, and is replaced. Raises `Unavailable` where it cannot listen."""
    path = address_of(log_url)
    with suppress(FileExistsError):
        path.parent.mkdir(mode=0o700)
    check_folder(path.parent)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        listening.bind(str(path))
        path.chmod(0o600)
        serving = Serving(desk, path)
        serving.server = await asyncio.start_unix_server(serving.answer, sock=listening, limit=MAX_COMMAND_BYTES)
    except OSError as error:
        listening.close()
        raise Unavailable(f"the host cannot listen at {path}: {error.strerror}. Nothing was started") from error
    return serving


class Serving:
    """A listening mailbox; made by `serve`."""

    server: asyncio.Server

    def __init__(self, desk: Desk, path: Path) -> None:
        self.path = path
        self._desk = desk
        self._callers: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stops listening, gives callers a moment to be told how it ended, then lets go of them. To be called
        before the log's lock is released: afterwards the address may be the next host's."""
        self.server.close()
        self.path.unlink(missing_ok=True)
        if self._callers:
            _, late = await asyncio.wait(self._callers, timeout=FAREWELL_S)
            for caller in late:
                caller.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hears one command of one caller and answers it."""
        task = asyncio.current_task()
        assert task is not None, "the server runs this as a task"
        self._callers.add(task)
        try:
            with suppress(ConnectionError, TimeoutError):  # it left, or it never spoke
                await self._hear(reader, writer)
        finally:
            self._callers.discard(task)
            writer.close()

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not _is_ours(writer):
            return
        try:
            if len(self._callers) > MAX_CONNECTIONS:
                raise Backpressure(f"{MAX_CONNECTIONS} callers are being answered; nothing was heard. Try again")
            command = await _command(reader)
            if isinstance(command, Watch):
                await self._show(command.session, reader, writer)
            else:
                await _send(writer, Answer(ok=await self._do(command)))
        except EXPECTED as error:
            await _send(writer, Answer(error=Error.of(error)))
        except Exception as error:
            await _send(writer, Answer(error=Error.of(error)))
            raise  # a mistake of ours: the host's stderr keeps its traceback

    async def _do(self, command: Tell | Decide | Rest) -> EventId | None:
        match command:
            case Tell():
                return await self._desk.tell(command.session, command.said)
            case Decide(granted=granted, by=by, why=why):
                return await self._desk.decide(command.session, command.effect, granted=granted, by=by, why=why)
            case Rest():
                await self._desk.rest(command.session)
                return None

    async def _show(self, session: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Sends notices until the last one, or until the caller leaves."""
        showing = asyncio.create_task(self._stream(session, writer))
        leaving = asyncio.create_task(reader.read(1))  # a watcher says nothing more, so this returns when it leaves
        try:
            await asyncio.wait((showing, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            showing.cancel()
            leaving.cancel()
            await asyncio.gather(showing, leaving, return_exceptions=True)
        if not showing.cancelled():
            showing.result()

    async def _stream(self, session: str, writer: asyncio.StreamWriter) -> None:
        # A generator that is cut off gets its end now, not when it is collected.
        async with aclosing(cast("AsyncGenerator[Notice, None]", self._desk.watch(session))) as notices:
            first = asyncio.ensure_future(anext(notices, None))
            try:
                await asyncio.sleep(0)  # lets the desk take the watcher in, or refuse it
                if not first.done() or first.exception() is None:
                    await _send(writer, Answer())
                notice = await first
            finally:
                first.cancel()
                await asyncio.gather(first, return_exceptions=True)
            if notice is not None:
                await _send(writer, notice)
            async for notice in notices:
                await _send(writer, notice)


def _is_ours(writer: asyncio.StreamWriter) -> bool:
    """Whether the caller is this user, where the system tells; elsewhere the folder's mode says so."""
    if sys.platform != "linux":
        return True
    caller: socket.socket = writer.get_extra_info("socket")
    credentials = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return bool(struct.unpack("3i", credentials)[1] == os.getuid())


async def _command(reader: asyncio.StreamReader) -> Command:
    try:
        line = await asyncio.wait_for(reader.readline(), COMMAND_TIMEOUT_S)
        if not line:
            raise ConnectionResetError
        return COMMAND.validate_json(line)
    except ValidationError as error:
        raise UsageError(f"this is no command of the mailbox: {error}") from error
    except ValueError as error:  # asyncio's word for a line above the limit
        raise UsageError(f"a command holds at most {MAX_COMMAND_BYTES:,} bytes; nothing was heard") from error


async def _send(writer: asyncio.StreamWriter, body: BaseModel) -> None:
    writer.write(body.model_dump_json().encode() + b"\n")
    await writer.drain()


# --- the caller's side -------------------------------------------------------------------------------------


class Mailbox:
    """Speaks with the live host of a log. Every call connects anew; it raises what the host raised, `NobodyThere`
    where no host lives, and `Unavailable` where one does not answer."""

    def __init__(self, log_url: str) -> None:
        self._path = address_of(log_url)
        self._log = log_url

    def tell(self, session: str, said: Message | Feedback) -> EventId:
        """See `Desk.tell`."""
        return self._event(Tell(session=session, said=said))

    def decide(self, session: str, effect: str, *, granted: bool, by: str, why: str = "") -> EventId:
        """See `Desk.decide`."""
        return self._event(Decide(session=session, effect=effect, granted=granted, by=by, why=why))

    def rest(self, session: str, *, timeout_s: float | None = None) -> None:
        """See `Desk.rest`. A cycle ends when its model and its tools answer: without `timeout_s` as long as that."""
        self._ask(Rest(session=session), timeout_s=timeout_s)

    def watch(self, session: str) -> Watching:
        """See `Desk.watch`. When this returns nothing more can be missed."""
        watching = Watching(self._say(Watch(session=session)), self._gone)
        watching.begin()
        return watching

    def _event(self, command: Tell | Decide) -> EventId:
        event = self._ask(command, timeout_s=ANSWER_TIMEOUT_S).ok
        assert event is not None, "what was heard stands in an event"
        return event

    def _ask(self, command: Tell | Decide | Rest, *, timeout_s: float | None) -> Answer:
        with closing(self._say(command)) as connection, connection.makefile("rb") as lines:
            connection.settimeout(timeout_s)
            try:
                line = lines.readline(MAX_ANSWER_BYTES)
            except TimeoutError as error:
                raise Unavailable(
                    f"the host of {self._log} did not answer within {timeout_s:g} s; whether it heard is not known. "
                    "Nothing is lost: try again, the same command is heard once"
                ) from error
            except OSError as error:
                raise self._gone() from error
        if not line.endswith(b"\n"):
            raise self._gone()
        answer = Answer.model_validate_json(line)
        if answer.error is not None:
            raise answer.error.again()
        return answer

    def _say(self, command: Command) -> socket.socket:
        """A connection on which `command` was said."""
        line = command.model_dump_json().encode() + b"\n"
        if len(line) > MAX_COMMAND_BYTES:
            raise UsageError(
                f"this is {len(line):,} bytes long, at most {MAX_COMMAND_BYTES:,} can be said at once; nothing was sent"
            )
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            check_folder(self._path.parent)
            connection.settimeout(COMMAND_TIMEOUT_S)
            connection.connect(str(self._path))
            connection.sendall(line)
            connection.settimeout(None)
        except OSError as error:
            connection.close()
            raise self._gone() from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _gone(self) -> NobodyThere:
        return NobodyThere(f"no live host answers for {self._log}. The log is intact")


class Watching:
    """Notices as they come, until `Ended`. `close` may be called from another thread and ends it there."""

    def __init__(self, connection: socket.socket, gone: Callable[[], NobodyThere]) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")
        self._gone = gone
        self._over = False

    def begin(self) -> None:
        """Returns once the host shows this watcher everything. Raises what it says instead."""
        try:
            answer = Answer.model_validate_json(self._line())
            if answer.error is not None:
                raise answer.error.again()
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Notice]:
        return self

    def __next__(self) -> Notice:
        if self._over:
            raise StopIteration
        try:
            seen = SEEN.validate_json(self._line())
        except NobodyThere:
            if self._over:  # closed meanwhile, by another thread
                raise StopIteration from None
            raise
        if isinstance(seen, Answer):
            self.close()
            assert seen.error is not None, "after its beginning a watch is only answered where it went wrong"
            raise seen.error.again()
        self._over = isinstance(seen, Ended)
        return seen

    def _line(self) -> bytes:
        try:
            line = self._lines.readline(MAX_ANSWER_BYTES)
        except (OSError, ValueError):  # ValueError: of a file that was closed meanwhile
            line = b""
        if not line.endswith(b"\n"):
            raise self._gone()
        return line

    def close(self) -> None:
        """Leaves. Whoever waits in `next` meets the end."""
        self._over = True
        with suppress(OSError):  # the other side left first
            self._connection.shutdown(socket.SHUT_RDWR)
        self._lines.close()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
