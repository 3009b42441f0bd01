"""A session's way to the log: facts are folded as they are recorded, and reach the disk at barriers.

Knows versions, commands and the memo of an open cycle; knows nothing of phases.
Invariant: folding the log up to the last commit, then the buffer, gives `state` and `scene`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from loops.causes import cause_of, refs_of
from loops.rebuild import Standing
from loops.scene import Scene, SceneFold
from loops.snapshot import CLOSED, Keeper
from loops.state import SessionState, apply_to
from telemetry.errors import ChainBroken, InvalidEvent, LogDamaged, LogUnwritable
from telemetry.events import Draft, Event, Recorded, session
from telemetry.events.envelope import Mode
from telemetry.log import EventLog

Stall = Callable[[LogUnwritable], Awaitable[None]]
"""Waits until another attempt makes sense, or raises the error it was given."""


Committed = Callable[[Sequence[Recorded]], None]
"""Is told what is on disk now, so may be shown outside."""


class Journal:
    """One session's events. `load` before use; `epoch` is the fencing token this owner writes with."""

    def __init__(
        self,
        log: EventLog,
        stream: str,
        *,
        stall: Stall,
        mode: Mode = "execution",
        committed: Committed = lambda _: None,
    ) -> None:
        self.stream = stream
        self.epoch = 1
        self.version = 0
        self.committed = 0
        self.last_type = ""
        """Type of the stream's latest event."""
        self.positions: dict[str, int] = {}
        """Position of the latest committed event of each type."""
        self._log = log
        self._stall = stall
        self._mode = mode
        self._told = committed
        self._buffer: list[Draft] = []
        self._committing = asyncio.Lock()
        self._done: set[str] = set()
        self._keeper = Keeper(log, stream)
        # Folded in place, and copied when somebody looks: phases look seldom, events are many.
        self._folding, self._seeing = SessionState(), SceneFold()
        self._state: SessionState | None = None
        self._scene: Scene | None = None

    @property
    def state(self) -> SessionState:
        """As of the latest recorded event; what was given out never changes."""
        if self._state is None:
            self._state = self._folding.model_copy()
        return self._state

    @property
    def scene(self) -> Scene:
        """As `state`."""
        if self._scene is None:
            self._scene = self._seeing.scene
        return self._scene

    def load(self) -> None:
        """Takes the stream's history up: from its newest sound snapshot or its beginning, the chain checked from there.

        Raises `ChainBroken` naming the first event that is not what was acknowledged, `LogDamaged` when a recorded
        state hash does not come out, `InvalidEvent` when an event cannot be read. Nothing was loaded then."""
        try:
            standing = self._keeper.load()
        except (LogDamaged, InvalidEvent) as error:
            report = self._log.verify(streams=[self.stream])
            if report.ok:
                raise
            raise ChainBroken(f"{report.problems[0]}. Nothing was written; try: aether log verify") from error
        self._folding, self._seeing = standing.state.model_copy(), SceneFold(standing.scene)
        self._state, self._scene = standing.state, standing.scene
        self.version, self.epoch, self.last_type = standing.version, standing.epoch, standing.last_type
        self.committed = standing.version
        self.positions = {**standing.positions}
        self._done = {*standing.done}

    @property
    def cycle_is_open(self) -> bool:
        return self._folding.cycle > self._folding.cycles_closed

    def recorded(self, command: str) -> bool:
        """Whether this command of the open cycle is already recorded, so must not be done again."""
        return command in self._done

    def record(self, command: str, events: Iterable[Event], *, elapsed_ns: int = 0, refs: tuple[str, ...] = ()) -> None:
        """Folds and buffers the events of one command; `elapsed_ns` is how long it took to come to them, `refs` are
        events of other streams that they rest on."""
        state, scene = self._folding, self._seeing.open
        for ordinal, event in enumerate(events):
            self._buffer.append(
                Draft(
                    event=event,
                    command=command,
                    ordinal=ordinal,
                    cycle=event.cycle if type(event) is session.CycleOpened else state.cycle,
                    cause=cause_of(scene, event),
                    refs=(*refs_of(scene, event), *refs) if refs else refs_of(scene, event),
                    elapsed_ns=elapsed_ns if ordinal == 0 else 0,
                    mode=self._mode,
                )
            )
            self.version += 1
            apply_to(state, event)
            self._seeing.see(f"{self.stream}@{self.version}", event)
            self._state = self._scene = None
            if type(event) is session.CycleOpened:
                self._done.clear()
            self._done.add(command)

    async def commit(self) -> tuple[Recorded, ...]:
        """The barrier: returns when everything recorded is on disk. Raises what the log raises."""
        async with self._committing:  # calls of one cycle run at once, and each may commit
            if not self._buffer:
                return ()
            written = await self._append(list(self._buffer))
            del self._buffer[: len(written)]
            self.committed = written[-1].version
            self.positions.update((recorded.type, recorded.position) for recorded in written)
            self._told(written)
            self._keep(written)
            return written

    def _keep(self, written: Sequence[Recorded]) -> None:
        """Has a snapshot taken when one is due: at a closed cycle, whose event says what state it must have."""
        self._keeper.wrote(written)
        last = written[-1]
        if last.type == CLOSED and last.version == self.version and self._keeper.due:
            positions, done = {**self.positions}, frozenset(self._done)
            here = Standing(self.state, self.scene, self.version, self.epoch, CLOSED, positions, done)
            self._keeper.take(here, last.hash)

    async def rest(self) -> None:
        """Waits for what is still under way beside the session: a snapshot that is being taken."""
        await self._keeper.rest()

    async def _append(self, drafts: Sequence[Draft]) -> tuple[Recorded, ...]:
        while True:
            try:
                future = self._log.submit(self.stream, drafts, expected_version=self.committed, epoch=self.epoch)
                return await asyncio.wrap_future(future)
            except LogUnwritable as error:
                await self._stall(error)

    def take_over(self) -> None:
        """Writes under the next epoch from now on, which fences the former owner."""
        self.epoch += 1
