"""The session host: one Ray actor that owns many sessions, each an asyncio task, and alone writes their events.

Knows the log, the placements and its mailbox; knows nothing of what phases do. Invariant: every call can be made
again after the actor was killed, because all that it needs is in the call and on the log."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import ray

from loops.gateway import Gateway
from runtime.errors import Backpressure, Unavailable
from runtime.hosting.executors import this_process
from runtime.hosting.live import Live
from runtime.hosting.memory_actor import SharedMemory
from runtime.hosting.orders import HostStatus, SessionOrder, Surroundings
from runtime.hosting.placement import Placement, gateway_of
from runtime.hosting.recall import HostMemory, Memory, open_index
from runtime.models.standing import Standings
from runtime.people.clerk import Clerk
from runtime.people.letters import host_address
from runtime.people.serving import Serving, serve
from runtime.runner import Progress, SessionRunner
from runtime.scenario import ScenarioFile, parse_scenario
from runtime.sessions import SessionRow, opened, stream_of
from telemetry.errors import LogError, LogHeld, LogUnwritable
from telemetry.log import EventLog, is_postgres, open_log
from telemetry.log.latency import Latencies

LOCK_PATIENCE_S = 10.0
"""A restarted host waits this long for its killed predecessor's lock to be released by the system."""
SWITCH_INTERVAL_S = 0.0005
"""Threads take turns every half millisecond: the log's writer must not wait 5 ms for the event loop."""
BLOCKING_CALLS = 256
"""Calls of environments, tools and models under way at once; further ones queue."""


FOLLOW_S = 0.5
"""How often a host looks for what others said of models: one look-up of a stream's head for each name."""
STALL_MEMORY_S = 5.0
"""Write errors further apart than this are stalls of their own."""


@dataclass(frozen=True, slots=True)
class _Stalled:
    error: str
    since: float
    latest: float


class SessionHost:
    def __init__(
        self,
        log: str,
        *,
        max_sessions: int,
        disk_patience_s: float,
        growth_patience_s: float = 0,
        idle_patience_s: float | None = None,
        surroundings: Surroundings | None = None,
        home: str | None = None,
        memory: str | None = None,
    ) -> None:
        """`memory` names the actor that several hosts share; without one this host keeps an index, of a log that is no
        file under `home`."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._url = log
        self._max_sessions = max_sessions
        self._disk_patience_s = disk_patience_s
        self._growth_patience_s = growth_patience_s
        self._idle_patience_s = idle_patience_s
        self._surroundings = surroundings or Surroundings()
        self._surroundings.enter()
        self._owner = this_process()
        self._log: EventLog | None = None
        self._gateway: Gateway | None = None
        self._home = Path(home) if home is not None else Path(log).parent
        self._shared = memory
        self._memory: Memory | None = None
        self._placements: dict[str, asyncio.Task[Placement]] = {}
        self._standings: Standings | None = None
        self._following: asyncio.Task[None] | None = None
        self._threads = ThreadPoolExecutor(max_workers=BLOCKING_CALLS, thread_name_prefix="environment")
        self._progress: dict[str, Progress] = {}
        self.live = Live()
        self.desk = Clerk(self.live, opened=self._open, run=self.run, said=self._look)
        self._serving: Serving | None = None
        self._stalled: _Stalled | None = None
        self._ready = asyncio.Lock()
        self._closed = False

    async def open(self) -> None:
        """Opens the log. Raises `LogHeld` when another live host writes it, `LogDamaged`, `LogUnwritable`."""
        await self._open()

    def open_log(self) -> EventLog:
        """The log as the sessions here see it."""
        return open_log(self._url)

    async def ping(self) -> None:
        """Answers once the actor has its resources."""

    async def run(self, order: SessionOrder) -> SessionRow:
        """Runs the session to its end, suspension or stall. The same order again joins the run under way. One that is
        evicted meanwhile has not ended: it is revived when somebody wants it.

        Raises `Backpressure` when the host is full, `LogHeld`, `VerificationFailed`, `NotFound`."""
        log = await self._open()
        stream = stream_of(order.session)
        task = self.live.running.get(stream)
        if task is None or task.done():
            if len(self.live.running) >= self._max_sessions:
                raise Backpressure(
                    f"this host runs {len(self.live.running)} sessions, its bound is {self._max_sessions}; "
                    f"{order.session} was not started. Try again when one has ended, or raise max_sessions"
                )
            task = asyncio.create_task(self._run(log, stream, order))
            self.live.begins(stream, task)
        self.live.want(stream)
        return await asyncio.shield(task)

    async def _run(self, log: EventLog, stream: str, order: SessionOrder) -> SessionRow:
        try:
            runner, row = await self._live_once(log, stream, order, revived=False)
            while runner.evicted:
                left_s = runner.left_s
                del runner  # its journal, scene and inbox go with it
                if not await self.live.evicted(stream, left_s=left_s):
                    break
                again = SessionOrder(session=order.session, attended=order.attended)
                runner, row = await self._live_once(log, stream, again, revived=True)
            return row
        finally:
            self.live.ends(stream)

    async def _live_once(
        self, log: EventLog, stream: str, order: SessionOrder, *, revived: bool
    ) -> tuple[SessionRunner, SessionRow]:
        """One stay of the session in memory."""
        seed, cycles, text = order.seed, order.cycles, order.scenario_text
        if text is None:
            first = await asyncio.to_thread(opened, log, stream)
            seed, cycles, text = first.seed, first.cycles, first.scenario_text
        file = parse_scenario(text, source=order.source)
        runner = SessionRunner(
            stream,
            file,
            log=log,
            placement=await self._placement(log, file),
            memory=self._recalling(log, file),
            owner=self._owner,
            stall=self._stall,
            standings=self._standings,
            attended=order.attended,
            idle_patience_s=self._idle_patience_s,
            revived=revived,
        )
        self._progress[stream] = runner.progress
        self.live.comes(stream, runner)
        try:
            row = await runner.run(
                seed=seed,
                cycles=cycles,
                stop=lambda: self.live.stop(stream),
                person=order.person,
                model=order.model,
                purpose=order.purpose,
            )
        finally:
            self.live.goes(stream)
        return runner, row

    async def position(self) -> int:
        """Position of the log's last event."""
        return (await self._open()).position()

    async def epoch(self, stream: str) -> int:
        """The stream's epoch as the log says now; 0 where it has no events."""
        log = await self._open()
        head = await asyncio.to_thread(log.head, stream)
        return 0 if head is None else head.epoch

    def status(self) -> HostStatus:
        everything = list(self._progress.values())
        running = [self._progress[stream] for stream in self.live.running if stream in self._progress]
        nats = [p.nats for p in running if p.nats is not None]
        return HostStatus(
            running=len(running),
            evicted=self.live.count_evicted(),
            sessions=len(everything),
            cycles=sum(p.cycles for p in everything),
            episodes=sum(p.episodes for p in everything),
            successes=sum(p.successes for p in everything),
            nats=sum(nats) / len(nats) if nats else None,
            stalled=self._stalled.error if self._stalled and _recent(self._stalled) else None,
            waiting=next((p.waiting for p in running if p.waiting is not None), None),
            pid=os.getpid(),
            owner=self._owner,
            appends=Latencies() if self._log is None else self._log.latencies(),
        )

    async def suspend(self) -> None:
        """Lets every session finish its cycle and records that it rests; returns when all do."""
        self.live.rest_all()
        await asyncio.gather(*self.live.running.values(), return_exceptions=True)

    async def close(self) -> HostStatus:
        """Suspends, then releases the log and its lock for good. Returns how it stood in the end."""
        await self.suspend()
        async with self._ready:
            self._closed = True
        await self.suspend()  # what came by a log that was being opened
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
        if self._serving is not None:
            await self._serving.close()
        if self._memory is not None:
            await asyncio.to_thread(self._memory.close)
        if self._log is not None:
            await asyncio.to_thread(self._log.close)
        self._threads.shutdown(wait=False, cancel_futures=True)
        last = self.status()
        self._log = self._memory = self._serving = self._standings = self._following = None
        return last

    async def _open(self) -> EventLog:
        async with self._ready:
            if self._closed:
                raise Unavailable("this session host has ended. Go on with its sessions: aether session resume --all")
            deadline = time.monotonic() + LOCK_PATIENCE_S
            while self._log is None:
                try:
                    self._log = await asyncio.to_thread(self.open_log)
                except LogHeld:
                    if not _restarted() or time.monotonic() > deadline:
                        raise
                    await asyncio.sleep(0.1)
            if self._standings is None:
                self._standings = Standings(self._log)
                if is_postgres(self._log.url):
                    self._following = asyncio.create_task(self._follow())
            if self._serving is None:
                self._serving = await serve(self.desk, host_address(self._log))
            return self._log

    async def _follow(self) -> None:
        """Takes up what other hosts of the log say of models, and others that write to it."""
        while True:
            await asyncio.sleep(FOLLOW_S)
            with suppress(LogError):  # a server that is away for now: sessions go on as they do
                await asyncio.to_thread(self._look)

    def _look(self) -> None:
        """Takes up what was said of models: their sessions act on it at their next boundary."""
        if self._standings is not None:
            self._standings.look()

    async def _placement(self, log: EventLog, file: ScenarioFile) -> Placement:
        """The scenario's phases, started once for all its sessions. Raises `Unavailable` for want of resources."""
        starting = self._placements.get(file.digest)
        if starting is None or (starting.done() and starting.exception() is not None):
            starting = asyncio.create_task(self._start_placement(log, file))
            self._placements[file.digest] = starting
        return await asyncio.shield(starting)

    async def _start_placement(self, log: EventLog, file: ScenarioFile) -> Placement:
        self._gateway = self._gateway or gateway_of(log)  # one for all: an effect is under way here or is not
        placement = await asyncio.to_thread(  # it may load torch, which takes longer than a host may be silent
            Placement,
            file.scenario,
            file.text,
            log,
            self._threads,
            surroundings=self._surroundings,
            heard=self.live.token,
            gateway=self._gateway,
        )
        await placement.start_pools(growth_patience_s=self._growth_patience_s)
        return placement

    def _recalling(self, log: EventLog, file: ScenarioFile) -> Memory | None:
        if not file.scenario.memory.recall:
            return None
        if self._memory is None and self._shared is not None:
            self._memory = SharedMemory(self._shared)
        if self._memory is None:  # Qdrant costs memory that not every host needs: it is loaded for the first recall
            self._memory = HostMemory(open_index(log, self._home))
        return self._memory

    async def _stall(self, error: LogUnwritable) -> None:
        """Waits a second for room on the disk; gives up after the patience that was set."""
        now = time.monotonic()
        since = self._stalled.since if self._stalled and now - self._stalled.latest < STALL_MEMORY_S else now
        self._stalled = _Stalled(str(error), since, now)
        if now - since >= self._disk_patience_s:
            raise error
        await asyncio.sleep(1.0)


def _recent(stalled: _Stalled) -> bool:
    return time.monotonic() - stalled.latest < STALL_MEMORY_S


def _restarted() -> bool:
    return bool(ray.get_runtime_context().was_current_actor_reconstructed)
