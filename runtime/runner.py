"""One session from its first event to its last: open or resume, then cycle by cycle.

Knows the journal, the phases and when to stop; knows nothing of Ray. Invariant: it writes only under an epoch
that it has taken, and every way out leaves a log that the next owner can go on from."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from heart.errors import HeartError
from loops.context import Context
from loops.cycle import run_cycle
from loops.errors import EnvironmentFailed, ScenarioInvalid, StateTooLarge
from loops.frame import Conversation, Cycle
from loops.journal import Journal, Stall
from loops.review import review
from loops.state import apply, state_hash
from runtime.adopting import Adopter
from runtime.errors import OwnedElsewhere, VerificationFailed
from runtime.hosting.executors import over
from runtime.hosting.placement import Placement
from runtime.hosting.recall import Memory
from runtime.models.standing import Standings, followed
from runtime.opening import Opening, Purpose, Told
from runtime.people.attend import Attendant
from runtime.people.desk import Doing, Ended
from runtime.people.talk import Talk
from runtime.scenario import ScenarioFile
from runtime.sessions import PREFIX, WAITING, SessionRow, owner_of, row_of
from telemetry.errors import ChainBroken, FencedWriter, IdempotencyConflict, InvalidEvent, WrongExpectedVersion
from telemetry.events import Recorded, execute, sense, session, split_id
from telemetry.events.values import ModelId
from telemetry.log import EventLog, Head
from world_model.errors import WorldModelError

FAILURES = (EnvironmentFailed, StateTooLarge, ScenarioInvalid, InvalidEvent, HeartError, WorldModelError)
"""What ends one session with its reason on the log, while others go on. Anything else leaves it open to resume."""


OVERTAKEN = (WrongExpectedVersion, FencedWriter, IdempotencyConflict)
"""How the log says to one of two owners that the other was first; a conflict of commands when both take up at once."""


@dataclass(slots=True)
class Progress:
    """How far a session is: written by its runner, read by whoever shows it."""

    cycles: int = 0
    episodes: int = 0
    successes: int = 0
    nats: float | None = None
    """The latest surprise."""
    closed: bool = False
    waiting: str | None = None
    """What it waits for before it settles an effect of a former owner."""


class SessionRunner:
    """Runs one session. `file` is its scenario, `owner` names this host, `stall` waits for room on the disk;
    `standings` says which models stand, without it the session follows none; `attended` says that somebody is there to
    speak and to answer; for `idle_patience_s` and `revived` see `Attendant`."""

    def __init__(
        self,
        stream: str,
        file: ScenarioFile,
        *,
        log: EventLog,
        placement: Placement,
        memory: Memory | None,
        owner: str,
        stall: Stall,
        standings: Standings | None = None,
        attended: bool = False,
        idle_patience_s: float | None = None,
        revived: bool = False,
    ) -> None:
        self.progress = Progress()
        self.ready = asyncio.Event()
        """Set once the session is taken up, or will not be."""
        self._stream = stream
        self._file = file
        self._log = log
        self._placement = placement
        self._memory = memory
        self._owner = owner
        self._journal = Journal(log, stream, stall=stall, committed=self._committed)
        name = followed(file.scenario)
        standing = None if standings is None or name is None else partial(standings.of, name)
        self._opening = Opening(self._journal, file, log, placement, owner, standing)
        self._adopter = Adopter(self._journal, file.scenario, placement, standing)
        self.talk = Talk(self._journal, script=file.scenario.conversation.messages, attended=attended)
        self.attendant = Attendant(self._journal, self.talk, file.scenario, patience_s=idle_patience_s, revived=revived)

    async def run(
        self,
        *,
        seed: int,
        cycles: int | None,
        stop: Callable[[], bool],
        person: str | None = None,
        model: ModelId | None = None,
        purpose: Purpose | None = None,
    ) -> SessionRow:
        """Opens the session or takes it up where it stopped; ends with its episodes or messages, after `cycles` in
        all, when it fails or waits for a person who is not there, or at the next closed cycle once `stop()` is true.

        Raises `VerificationFailed` when its log was altered, `Unavailable` when its environment cannot be made now,
        `OwnedElsewhere` when another host has taken it up, and of a new session what keeps it from being opened:
        nothing is written then."""
        try:
            person = person or self._file.scenario.conversation.person
            return await self._run(Told(seed, cycles, person, model, purpose), stop)
        except Exception as error:
            if isinstance(error, OVERTAKEN):
                error = await asyncio.to_thread(self._taken, error)
            self.talk.rests(Ended(status="open", reason=str(error)))  # nobody waits for an answer that never comes
            raise error from error.__cause__
        finally:
            self.ready.set()
            self._placement.forget(self._stream)

    async def _run(self, told: Told, stop: Callable[[], bool]) -> SessionRow:
        journal = self._journal
        await asyncio.to_thread(self._load)
        self._show()
        if journal.state.status != "closed":
            try:
                self._effect_class = await self._opening.begin(told)
                self.ready.set()
                await self._cycles(stop)
            except FAILURES as error:
                if journal.committed == 0:
                    raise  # a session that was never opened has no log to close
                await self._close("failed", str(error))
        await journal.rest()
        row = row_of(self._log, self._head())
        if self.evicted:
            self.talk.leave()
            return row
        reason = ": ".join(part for part in (row.outcome, row.error) if part)
        self.talk.rests(Ended(status=row.status, reason=reason))
        return row

    @property
    def evicted(self) -> bool:
        """Whether it rests only to be out of memory, so has not ended for whoever waits for it."""
        return self.attendant.evicts and self._journal.state.status != "closed"

    @property
    def left_s(self) -> float | None:
        """How long the question that it waits on still stands; None where nothing is asked or it stands for ever."""
        asked = self._journal.scene.asked if self._journal.state.waiting else None
        return None if asked is None or asked.until is None else max(0.0, (asked.until - time.time_ns()) / 1e9)

    @property
    def converses(self) -> bool:
        return self._file.scenario.environment.is_conversation

    def _committed(self, written: Sequence[Recorded]) -> None:
        self.talk.committed(written)

    def _load(self) -> None:
        try:
            self._journal.load()
        except ChainBroken as error:
            raise VerificationFailed(str(error)) from error

    def _taken(self, error: Exception) -> OwnedElsewhere:
        """Who owns the session now that this host's append was refused."""
        name, owner = self._stream.removeprefix(PREFIX), owner_of(self._log, self._stream)
        who = "another process" if owner is None else f"the host {owner}"
        taken = OwnedElsewhere(
            f"session {name} was taken up by {who}: {error} Its log is whole, and nothing of this host's stands after "
            f"version {self._journal.committed}. Leave it to that host, or end that one and go on with: "
            f"aether session resume {name}",
            owner=owner,
        )
        taken.__cause__ = error
        return taken

    async def _cycles(self, stop: Callable[[], bool]) -> None:
        journal, scenario = self._journal, self._file.scenario
        wait_s = scenario.heart.approval_timeout_s
        cycle = Cycle(
            journal=journal,
            phases=self._placement,
            recall=self._recall if self._memory is not None and scenario.memory.recall else None,
            effect_class=self._effect_class,
            owner=self._owner,
            executor=lambda: self._placement.executor(self._stream),
            over=lambda sent, until: self._effect_is_over(sent, until, stop),
            limit_ns=int(scenario.timeouts.execute_s * 1e9),
            approval_timeout_ns=None if wait_s is None else int(wait_s * 1e9),
            conversation=self._conversation(),
        )
        while not self._over():
            if not journal.cycle_is_open:
                if stop():
                    return await self._suspend("asked to stop")
                if cycle.conversation is not None:
                    due = await self.attendant.due(stop)
                    if due.what == "rest":
                        return await self._suspend(due.why)
                    if due.what != "cycle":
                        return await self._close(due.what, due.why or None)
                await self._adopter.look()
            result = await run_cycle(cycle)
            self._show()
            if result == "waiting" and not await self.attendant.answered(stop):
                assert journal.scene.asked is not None
                return await self._suspend(f"{WAITING} of {journal.scene.asked.effect[:12]}")
            if result == "held":
                return await self._suspend("asked to stop before an effect could be settled")
        if journal.state.failed:
            return await self._close("failed", getattr(journal.scene.outcome, "error", None))
        return await self._close("done" if journal.state.episodes >= self._episodes else "cycles", None)

    async def _effect_is_over(self, sent: execute.Dispatched, until: int, stop: Callable[[], bool]) -> bool:
        return await over(
            sent,
            until=until,
            under_way=lambda sent: self._placement.under_way(self._stream, sent),
            stop=stop,
            waits=self._wait,
        )

    def _wait(self, what: str | None) -> None:
        if what is not None and self.progress.waiting is None:
            self.talk.show(Doing(text=f"waiting {what}"))
        self.progress.waiting = what

    def _conversation(self) -> Conversation | None:
        if not self.converses:
            return None
        return Conversation(take=self.talk.take, kept=self.talk.kept, say=self.talk.say)

    @property
    def _episodes(self) -> int:
        """How many the session has; an evaluation is one."""
        return 1 if self._journal.scene.purpose == "evaluation" else self._file.scenario.environment.episodes

    def _over(self) -> bool:
        """Whether an effect failed, every episode has been sensed to its end, or the budget of cycles is used."""
        journal, state = self._journal, self._journal.state
        if journal.cycle_is_open:
            return False
        if state.failed:
            return True
        ended = state.episodes >= self._episodes and state.stage == "fresh"
        return ended or (journal.scene.cycles is not None and state.cycles_closed >= journal.scene.cycles)

    async def _recall(self, context: Context) -> sense.Recalled | None:
        assert self._memory is not None
        version = self._journal.committed
        if self.converses:
            if not context.scene.summary:
                return None  # everything that was said is in the context
            version = split_id(context.scene.dialogue[0].event)[1] - 1
        return await self._memory.recall(
            context,
            k=self._file.scenario.memory.recall,
            version=version,
            position=self._journal.positions.get("learn.remembered", 0),
        )

    async def _suspend(self, reason: str) -> None:
        state = self._journal.state
        event = session.Suspended(reason=reason, cycles=state.cycles_closed, state_hash=state_hash(state))
        await self._end(f"suspend.{self._journal.epoch}", event)

    async def _close(self, reason: Literal["done", "cycles", "failed"], error: str | None) -> None:
        journal = self._journal
        self._own_up(error or reason)
        await journal.commit()
        journal.record("review", (await asyncio.to_thread(lambda: review(self._log.read(self._stream))),))
        closing = session.Closed(reason=reason, error=error, cycles=journal.state.cycles_closed, state_hash="0" * 64)
        final = state_hash(apply(journal.state, closing))
        await self._end("close", closing.model_copy(update={"state_hash": final}))

    def _own_up(self, why: str) -> None:
        """Records of effects that are under way while the session ends that nobody will know what became of them."""
        journal = self._journal
        for effect in journal.state.effects:
            if effect.cycle == journal.state.cycle and effect.stage != "unknown":
                intended = journal.scene.effects[effect.ordinal]
                lost = execute.UnknownOutcome(
                    effect=intended.effect, ordinal=effect.ordinal, why=f"the session ended first: {why}"
                )
                journal.record(f"{effect.cycle}.lost.{effect.ordinal}", (lost,))

    async def _end(self, command: str, event: session.Suspended | session.Closed) -> None:
        self._journal.record(command, (event,))
        await self._journal.commit()
        self._show()

    def _head(self) -> Head:
        head = self._log.head(self._stream)
        assert head is not None, "a session that was opened has a head"
        return head

    def _show(self) -> None:
        state, scene, progress = self._journal.state, self._journal.scene, self.progress
        progress.cycles = state.cycles_closed
        progress.episodes, progress.successes = state.episodes, state.successes
        if scene.surprised is not None:
            progress.nats = scene.surprised.nats
        progress.closed = state.status == "closed"
