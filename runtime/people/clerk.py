"""The desk of one host: what people outside say to its sessions, answer and watch, and what they ask of its log.

Knows the live sessions and the log; knows neither sockets nor Ray. Invariant: only its own runner
appends to a session that is live; where this host alone writes the log, what others want is written here or nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress

from runtime.effects import append_reconciled, command_of, finding
from runtime.entry import entered
from runtime.errors import NotFound
from runtime.fork import fork
from runtime.hosting.live import Live
from runtime.hosting.orders import SessionOrder
from runtime.people.approvals import append_answer
from runtime.people.desk import Notice
from runtime.people.talk import Evicted
from runtime.playbooks import version, write
from runtime.runner import SessionRunner
from runtime.sessions import PREFIX, SessionRow, stream_of
from telemetry.events.learn import Entry
from telemetry.events.values import EventId, Feedback, Message, Playbook
from telemetry.log import EventLog


class Clerk:
    """`opened` gives the log; `run` takes a session up; `said` is called when something was said of a model, and may
    block."""

    def __init__(
        self,
        live: Live,
        *,
        opened: Callable[[], Awaitable[EventLog]],
        run: Callable[[SessionOrder], Awaitable[SessionRow]],
        said: Callable[[], None] = lambda: None,
    ) -> None:
        self._live = live
        self._opened = opened
        self._run = run
        self._said = said
        self.resumed: set[asyncio.Task[SessionRow]] = set()

    async def tell(self, session: str, said: Message | Feedback) -> EventId:
        """As `Desk.tell`."""
        while True:
            runner = await self._live.of(session)
            if not runner.converses:
                raise NotFound(f"session {session.removeprefix(PREFIX)} is no conversation; nobody listens there")
            with suppress(Evicted):  # at this moment, and it did not hear this
                return await runner.talk.tell(said)

    async def decide(self, session: str, effect: str, *, granted: bool, by: str, why: str) -> EventId:
        """As `Desk.decide`. A session that rests is answered on its log and taken up again."""
        stream = stream_of(session)
        runner: SessionRunner | None
        if self._live.has(stream):
            runner = await self._ready(session)
            rests = runner.attendant.rests
            answer = await runner.attendant.decide(effect, granted=granted, by=by, why=why)
            if not rests and self._live.runners.get(stream) is runner:
                return answer
        else:
            runner = None
            log = await self._opened()
            answer = await asyncio.to_thread(append_answer, log, session, effect, granted=granted, by=by, why=why)
        if not self._live.stopping:
            resumed = asyncio.create_task(self._take_up(stream, runner))
            self.resumed.add(resumed)
            resumed.add_done_callback(self.resumed.discard)
        return answer

    async def _ready(self, session: str) -> SessionRunner:
        """The session's runner, once it has read its log. Raises as `Live.of` does."""
        runner = await self._live.of(session)
        await runner.ready.wait()
        return runner

    async def _take_up(self, stream: str, before: SessionRunner | None) -> SessionRow:
        if before is not None:
            await self._live.gone(stream, before)
        ending = self._live.running.get(stream)
        if ending is not None and not self._live.has(stream):
            await asyncio.wait([ending])
        return await self._run(SessionOrder(session=stream.removeprefix(PREFIX)))

    async def reconcile(
        self, session: str, effect: str, *, happened: bool, by: str, why: str, result: str | None
    ) -> EventId:
        """As `Desk.reconcile`. A session that rests goes on resting."""
        log = await self._opened()
        found = await asyncio.to_thread(finding, log, session, effect, happened=happened, by=by, why=why, result=result)
        if isinstance(found, str):
            return found
        if self._live.has(stream_of(session)):
            runner = await self._ready(session)
            command = command_of(found.event.effect)
            return await runner.attendant.reconcile(found.event, command=command, version=found.version)
        return await asyncio.to_thread(
            append_reconciled, log, session, effect, happened=happened, by=by, why=why, result=result
        )

    async def fork(self, session: str, *, at: int, new: str) -> EventId:
        """As `Desk.fork`. The parent, live or resting, is not disturbed."""
        log = await self._opened()
        forked = await asyncio.to_thread(fork, log, session, at=at, new=new)
        return f"{stream_of(forked)}@{at + 1}"

    async def lay_down(self, playbook: Playbook, *, why: str) -> EventId:
        """As `Desk.lay_down`."""
        log = await self._opened()
        return (await asyncio.to_thread(lambda: version(log, write(log, playbook, why=why)))).event

    async def enter(self, entry: Entry, *, refs: tuple[EventId, ...], run: str) -> EventId:
        """As `Desk.enter`."""
        log = await self._opened()
        event = await asyncio.to_thread(entered, log, entry, refs=refs, run=run)
        await asyncio.to_thread(self._said)
        return event

    async def watch(self, session: str) -> AsyncGenerator[Notice]:
        """As `Desk.watch`. A session that is watched is not evicted."""
        while True:
            runner = await self._live.of(session)
            with suppress(Evicted):  # at this moment
                # A generator that is cut off gets its end now, not when it is collected.
                async with aclosing(runner.talk.watch()) as notices:
                    async for notice in notices:
                        yield notice
                return

    def check_live(self, session: str) -> None:
        """As `Desk.check_live`."""
        self._live.check(session)

    async def rest(self, session: str) -> None:
        """As `Desk.rest`."""
        stream = stream_of(session)
        if not self._live.has(stream):
            await self._live.of(session)
        running = self._live.running[stream]
        self._live.rest(stream)
        await asyncio.wait([running])
