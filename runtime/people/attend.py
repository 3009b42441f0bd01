"""When a session goes on, waits or rests, as far as people are concerned; and their answers to what is asked.

Knows the state, the talk and the scenario's policies; runs no phase. Invariant: a question is answered once, by a
person or by its time-out, and the answer is on disk before anything comes of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from loops.journal import Journal
from runtime.errors import NotFound, Unavailable
from runtime.people.approvals import given_for
from runtime.people.desk import Asks, Idle
from runtime.people.talk import Talk
from runtime.scenario import Scenario
from runtime.sessions import IDLE, UNANSWERED
from telemetry.events import execute
from telemetry.events.values import EventId


@dataclass(frozen=True, slots=True)
class Due:
    """What a session does next: another cycle, a rest, or its end."""

    what: Literal["cycle", "rest", "done", "failed"]
    why: str = ""


class Attendant:
    """`patience_s` is how long a session that waits for people is kept in memory while nobody watches it; for ever
    where it is None. `revived` says that it was kept until now, so that nothing is tried again because of a resume."""

    def __init__(
        self,
        journal: Journal,
        talk: Talk,
        scenario: Scenario,
        *,
        clock: Callable[[], int] = time.time_ns,
        patience_s: float | None = None,
        revived: bool = False,
    ) -> None:
        self._journal = journal
        self._talk = talk
        self._scenario = scenario
        self._clock = clock
        self._patience_s = patience_s
        self._asked_again = revived
        self.evicts = False
        """Whether the session rests only to be out of memory until somebody wants it."""

    async def due(self, stop: Callable[[], bool]) -> Due:
        """Waits, where somebody is there to speak, until a conversation has something to reason about."""
        journal, talk, language = self._journal, self._talk, self._scenario.reasoner.language
        if journal.state.malformed >= language.max_malformed:
            return Due(
                "failed", f"the model asked {journal.state.malformed} times in a row for calls that no tool takes"
            )
        if journal.state.unanswered and self._asked_again:
            problem = "; ".join(failure.error for failure in journal.scene.unanswered)
            if language.on_unanswered == "fail":
                return Due("failed", problem)
            if not talk.attended:
                return Due("rest", f"{UNANSWERED}: {problem}")
            talk.rests(Idle(problem=problem))
            while not (talk.has_input or talk.take_nudge() or stop()):
                if await self._left_alone():
                    return Due("rest", f"{UNANSWERED}: {problem}")
        self._asked_again = True
        while not (journal.state.goes_on or talk.has_input):
            if stop():
                break
            if not talk.attended:
                return Due("done") if talk.scripted else Due("rest", "waits for a message")
            talk.rests(Idle())
            if await self._left_alone():
                return Due("rest", IDLE)
            talk.take_nudge()
        self._moves()
        return Due("rest", "asked to stop") if stop() else Due("cycle")

    async def answered(self, stop: Callable[[], bool]) -> bool:
        """Waits for the answer to what is asked as long as somebody may give it; whether there is one now."""
        journal, asked = self._journal, self._journal.scene.asked
        assert asked is not None, "a session waits for the answer to a question"
        while journal.state.waiting:
            left_s = None if asked.until is None else (asked.until - self._clock()) / 1e9
            if left_s is not None and left_s <= 0:
                late = execute.ApprovalGiven(
                    effect=asked.effect,
                    ordinal=asked.ordinal,
                    arguments=asked.arguments,
                    granted=False,
                    by="time-out",
                    why="nobody answered in time",
                )
                await self._answer(late)
                break
            if stop() or (left_s is None and not self._talk.attended):
                return False
            self._talk.rests(Asks(effect=asked.effect, action=asked.action, why=asked.why))
            if await self._left_alone(left_s) and journal.state.waiting:
                return False
        self._moves()
        return True

    def _moves(self) -> None:
        self.evicts = False
        self._talk.moves()

    async def _left_alone(self, left_s: float | None = None) -> bool:
        """Waits until something stirs the session, or `left_s` are over; whether it is to be evicted instead."""
        talk, patience_s = self._talk, self._patience_s
        if patience_s is None or (alone_s := talk.alone_s()) is None:
            await talk.stirred(left_s)
            return False
        rest_s = patience_s - alone_s
        await talk.stirred(rest_s if left_s is None else min(rest_s, left_s))
        alone_s = talk.alone_s()
        self.evicts = alone_s is not None and alone_s >= patience_s and not talk.spoken_to
        return self.evicts

    @property
    def rests(self) -> bool:
        """Whether the session has said that it rests, so that what is answered from now on is its next runner's."""
        return self._journal.recorded(f"suspend.{self._journal.epoch}")

    async def decide(self, effect: str, *, granted: bool, by: str, why: str) -> EventId:
        """As `Desk.decide`, for this session."""
        asked = self._journal.scene.asked
        if asked is None or not self._journal.state.waiting:
            raise NotFound(f"{self._journal.stream} asks nothing now; nothing was written")
        given = given_for(asked, effect, granted=granted, by=by, why=why, now_ns=self._clock())
        answer = await self._answer(given)
        self._talk.stir()
        return answer

    async def reconcile(self, event: execute.Reconciled, *, command: str, version: int) -> EventId:
        """Records what became of an unknown effect of this session, as the log told it up to `version`. An agent that
        is idle stays idle: it is told when it goes on. Raises `Unavailable` while the journal does not hold it."""
        journal = self._journal
        doubted = any(doubt.intended.effect == event.effect for doubt in journal.scene.doubts)
        if journal.committed < version or not doubted:
            raise Unavailable(
                f"{journal.stream} is taken up, or somebody settles {event.effect[:12]} at this moment; "
                "nothing was written. Try again"
            )
        journal.record(command, (event,))
        found = journal.scene.ids["execute.reconciled"]
        await journal.commit()
        return found

    async def _answer(self, given: execute.ApprovalGiven) -> EventId:
        self._journal.record(f"{self._journal.state.cycle}.approval", (given,))
        await self._journal.commit()
        return self._journal.scene.ids["execute.approval_given"]
