"""The host's side of the mailbox: a Unix socket on which its desk is reached.

Knows asyncio's sockets; knows neither Ray nor what a desk does with a command. Invariant: nobody but this user is
heard, and what one caller does or leaves undone costs no other."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import cast

from pydantic import BaseModel, ValidationError

from runtime.errors import EXPECTED, Backpressure, Unavailable, UsageError
from runtime.people.desk import Desk, Notice
from runtime.people.letters import (
    COMMAND,
    COMMAND_TIMEOUT_S,
    MAX_COMMAND_BYTES,
    Answer,
    Command,
    Decide,
    Enter,
    Error,
    Fork,
    Holds,
    LayDown,
    Reconcile,
    Rest,
    Tell,
    Watch,
    Written,
    check_folder,
)
from telemetry.events.values import EventId

MAX_CONNECTIONS = 256
FAREWELL_S = 1.0
"""When the host ends, callers have so long to be told."""


async def serve(desk: Desk, path: Path) -> Serving:
    """Listens at `path`, a host's address, until `close`. To be called by whoever writes the log: a socket that is
    there already is then a dead host's, and is replaced. Raises `Unavailable` where it cannot listen."""
    with suppress(FileExistsError):
        path.parent.mkdir(mode=0o700)
    check_folder(path.parent)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _bind(listening, path)
        serving = Serving(desk, path)
        serving.server = await asyncio.start_unix_server(serving.answer, sock=listening, limit=MAX_COMMAND_BYTES)
    except OSError as error:
        listening.close()
        raise Unavailable(f"the host cannot listen at {path}: {error.strerror}. Nothing was started") from error
    return serving


def _bind(listening: socket.socket, path: Path) -> None:
    """Removes what a dead host left at this address, and what dead ones of the same log left beside it."""
    path.unlink(missing_ok=True)
    listening.bind(str(path))
    path.chmod(0o600)
    name, dash, _ = path.stem.partition("-")
    for other in path.parent.glob(f"{name}-*.sock") if dash else ():
        try:
            os.kill(int(other.stem.rpartition("-")[2]), 0)
        except ProcessLookupError:
            with socket.socket(socket.AF_UNIX) as knocking:  # a container has the same folder and other processes
                if knocking.connect_ex(str(other)):
                    other.unlink(missing_ok=True)
        except PermissionError:
            pass  # somebody else has that pid by now; the next host looks again


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

    async def _do(self, command: Written | Rest | Holds) -> EventId | None:
        match command:
            case Tell():
                return await self._desk.tell(command.session, command.said)
            case Decide(granted=granted, by=by, why=why):
                return await self._desk.decide(command.session, command.effect, granted=granted, by=by, why=why)
            case Reconcile(happened=happened, by=by, why=why, result=result):
                return await self._desk.reconcile(
                    command.session, command.effect, happened=happened, by=by, why=why, result=result
                )
            case Fork(session=session, at=at, new=new):
                return await self._desk.fork(session, at=at, new=new)
            case LayDown(playbook=playbook, why=why):
                return await self._desk.lay_down(playbook, why=why)
            case Enter(entry=entry, refs=refs, run=run):
                return await self._desk.enter(entry, refs=refs, run=run)
            case Rest():
                await self._desk.rest(command.session)
                return None
            case Holds(session=session):
                self._desk.check_live(session)
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
