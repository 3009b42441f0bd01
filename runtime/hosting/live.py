"""The sessions of one host that are under way: those with a runner in memory, those that begin and have a place until
theirs is made, and those that were evicted and keep their place until somebody wants them.

Knows runners and their tasks; knows neither the log nor Ray. Invariant: a session has at most one runner, and whoever
wants one that begins or was evicted gets the runner that takes its place, or what kept it from coming."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from runtime.errors import NotFound
from runtime.runner import SessionRunner
from runtime.sessions import PREFIX, SessionRow, stream_of


@dataclass(frozen=True, slots=True)
class _Place:
    """Of a session without a runner."""

    evicted: bool
    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    taken: asyncio.Future[SessionRunner] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Live:
    def __init__(self) -> None:
        self.runners: dict[str, SessionRunner] = {}
        self.running: dict[str, asyncio.Task[SessionRow]] = {}
        """With a runner or a place."""
        self.stopping = False
        """Whether all of them are to rest at their next closed cycle."""
        self._resting: set[str] = set()
        self._places: dict[str, _Place] = {}
        self._going: dict[str, list[asyncio.Future[None]]] = {}
        """Who waits until a session's runner has gone."""

    # --- runners come and go ----------------------------------------------------------------------

    def begins(self, stream: str, task: asyncio.Task[SessionRow]) -> None:
        """`task` makes its runners until it ends."""
        self.running[stream] = task
        task.add_done_callback(lambda ended: self._ended(stream, ended))
        self._places[stream] = _Place(evicted=False)

    def comes(self, stream: str, runner: SessionRunner) -> None:
        self.runners[stream] = runner
        self._places.pop(stream).taken.set_result(runner)

    def goes(self, stream: str) -> None:
        del self.runners[stream]
        for waiting in self._going.pop(stream, ()):
            if not waiting.done():
                waiting.set_result(None)

    async def gone(self, stream: str, runner: SessionRunner) -> None:
        """Returns once that one has gone, and the session's place is kept where it is to be kept."""
        if self.runners.get(stream) is runner:
            waiting = asyncio.get_running_loop().create_future()
            self._going.setdefault(stream, []).append(waiting)
            await waiting

    def _ended(self, stream: str, task: asyncio.Task[SessionRow]) -> None:
        if self.running.get(stream) is task:  # or another has begun before its loop came to say so
            del self.running[stream]

    def ends(self, stream: str) -> None:
        """Nothing of the session is kept here any more."""
        self._resting.discard(stream)
        self._places.pop(stream, None)

    async def evicted(self, stream: str, *, left_s: float | None) -> bool:
        """Keeps the place of a session whose runner has gone until somebody wants it or `left_s` are over; then a
        runner is to come. False when it is to rest for good."""
        place = self._places[stream] = _Place(evicted=True)
        if not self.stop(stream):
            with suppress(TimeoutError):
                await asyncio.wait_for(place.wanted.wait(), left_s)
        return not self.stop(stream)

    # --- what others want of them -----------------------------------------------------------------

    async def of(self, session: str) -> SessionRunner:
        """The session's runner; one that begins is waited for, an evicted one is revived. Raises `NotFound` where there
        is none, and what keeps it from coming."""
        stream = stream_of(session)
        runner, place = self.runners.get(stream), self._places.get(stream)
        if runner is not None:
            return runner
        if place is None:
            raise _not_here(session)
        self.want(stream)
        running = self.running[stream]
        await asyncio.wait((place.taken, running), return_when=asyncio.FIRST_COMPLETED)
        if not place.taken.done():
            running.result()
            raise _not_here(session)
        return place.taken.result()

    def check(self, session: str) -> None:
        """Raises `NotFound` where it has neither a runner nor a place."""
        if stream_of(session) not in self.running:
            raise _not_here(session)

    def want(self, stream: str) -> None:
        """Has the session revived where it is evicted."""
        place = self._places.get(stream)
        if place is not None:
            place.wanted.set()

    def has(self, stream: str) -> bool:
        """Whether the session is live, begins or is evicted."""
        return stream in self.runners or stream in self._places

    def count_evicted(self) -> int:
        return sum(place.evicted for place in self._places.values())

    def rest(self, stream: str) -> None:
        """Has the session rest at its next closed cycle, which an evicted one has behind it."""
        self._resting.add(stream)
        self._stir(stream)

    def rest_all(self) -> None:
        self.stopping = True
        for stream in (*self.runners, *self._places):
            self._stir(stream)

    def stop(self, stream: str) -> bool:
        """Whether the session is to rest at its next closed cycle."""
        return self.stopping or stream in self._resting

    def _stir(self, stream: str) -> None:
        runner = self.runners.get(stream)
        if runner is not None:
            runner.talk.stir()
        self.want(stream)

    def token(self, stream: str, text: str) -> None:
        """Shows a piece of an answer to whoever watches. From any thread."""
        runner = self.runners.get(stream)
        if runner is not None:
            runner.talk.token(text)


def _not_here(session: str) -> NotFound:
    name = session.removeprefix(PREFIX)
    return NotFound(f"session {name} is not live here; try: aether session resume {name}")
