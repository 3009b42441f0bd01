"""The people of one live session: what they say comes in, what the agent says and asks goes out.

Knows the inbox, the script of the scenario and who is watching; knows no socket and writes no event. Invariant: what
was taken is given back to whoever said it as an event only once that is on disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from loops.journal import Journal
from runtime.errors import Backpressure, NotFound
from runtime.people.desk import Asks, Doing, Ended, Idle, Notice, Said, Token
from telemetry.events import Recorded, execute
from telemetry.events.values import (
    Action,
    AskHuman,
    Digest,
    EventId,
    Feedback,
    Message,
    Observation,
    Say,
    TextPart,
    ToolCall,
    ToolCalls,
)

MAX_WAITING = 64
"""Messages that may wait for the agent; a further one is answered with back-pressure."""
MAX_NOTICES = 4096
"""Notices a slow watcher may be behind; beyond that it misses tokens, never a saying, because those are events."""
SHOWN_CHARACTERS = 200


class Evicted(Exception):
    """The session was let go from memory; what was said was not taken and can be said to its next runner."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    said: Message | Feedback
    heard: asyncio.Future[EventId]


class Talk:
    """`script` is what the scenario's person says, one message after the other, where nobody is there to speak."""

    def __init__(self, journal: Journal, *, script: Sequence[str], attended: bool) -> None:
        self.attended = attended
        self._journal = journal
        self._script = () if attended else script
        self._inbox: list[_Waiting] = []
        self._taken: list[_Waiting] = []
        self._again = False
        self._stirred = asyncio.Event()
        self._watchers: set[asyncio.Queue[Notice | Evicted]] = set()
        self._standing: Notice | None = None
        self._alone_since = time.monotonic()
        self._loop: asyncio.AbstractEventLoop | None = None
        """Of whoever watches; tokens come from other threads."""

    # --- what comes in ---------------------------------------------------------------------------

    async def tell(self, said: Message | Feedback) -> EventId:
        """Hands over what a person said; the event that holds it, once that is on disk. An empty message says
        nothing: it only asks the agent to try again. Raises `Backpressure`."""
        if isinstance(said, Message):
            if not said.parts:
                self._again = True
                self.stir()
                return f"{self._journal.stream}@{self._journal.committed}"
            for waiting in (*self._taken, *self._inbox):
                if isinstance(waiting.said, Message) and said.id and waiting.said.id == said.id:
                    return await asyncio.shield(waiting.heard)
            known = self._known(said)
            if known is not None:
                return known
        if len(self._inbox) >= MAX_WAITING:
            raise Backpressure(f"{MAX_WAITING} messages wait for the agent; this one was not taken. Try again later")
        waiting = _Waiting(said, asyncio.get_running_loop().create_future())
        self._inbox.append(waiting)
        self.stir()
        return await asyncio.shield(waiting.heard)

    def take(self) -> Sequence[Observation]:
        """What was said since, or the script's next message when the agent has nothing else to do."""
        self._sift()
        self._inbox, self._taken = [], self._inbox
        state = self._journal.state
        if self._taken or state.goes_on or state.messages >= len(self._script):
            return tuple(waiting.said for waiting in self._taken)
        return (Message(role="user", parts=(TextPart(text=self._script[state.messages]),)),)

    def _sift(self) -> None:
        """Answers those whose message stands on the log: it came while that was still being read, from somebody who had
        lost the session's former runner."""
        inbox, self._inbox = self._inbox, []
        for waiting in inbox:
            known = self._known(waiting.said)
            if known is None:
                self._inbox.append(waiting)
            elif not waiting.heard.done():
                waiting.heard.set_result(known)

    def _known(self, said: Message | Feedback) -> EventId | None:
        """The event that holds this message already."""
        if not isinstance(said, Message) or not said.id:
            return None
        return next((turn.event for turn in self._journal.scene.dialogue if turn.message == said.id), None)

    def kept(self) -> None:
        for waiting in self._taken:
            if not waiting.heard.done():
                waiting.heard.set_result(self._journal.scene.ids["sense.observed"])
        self._taken = []

    @property
    def has_input(self) -> bool:
        """Whether there is something new for the agent."""
        self._sift()
        return bool(self._inbox) or self._journal.state.messages < len(self._script)

    @property
    def scripted(self) -> bool:
        return bool(self._script)

    @property
    def spoken_to(self) -> bool:
        """Whether somebody said something that was not taken yet, or asked the agent to try again."""
        return bool(self._inbox) or self._again

    def take_nudge(self) -> bool:
        """Whether somebody asked the agent to try again, once."""
        again, self._again = self._again, False
        return again

    async def stirred(self, timeout_s: float | None = None) -> None:
        """Returns when something was said, answered or is to stop, or after the time-out."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stirred.wait(), timeout_s)
        self._stirred.clear()

    def stir(self) -> None:
        self._stirred.set()

    # --- what goes out ---------------------------------------------------------------------------

    async def watch(self) -> AsyncGenerator[Notice]:
        """Notices from now on, first how the session stands where it rests; ends with `Ended`. Raises `Evicted`."""
        self._loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Notice | Evicted] = asyncio.Queue(MAX_NOTICES)
        if self._standing is not None:
            queue.put_nowait(self._standing)
        self._watchers.add(queue)
        try:
            while True:
                notice = await queue.get()
                if isinstance(notice, Evicted):
                    raise notice
                yield notice
                if isinstance(notice, Ended):
                    return
        finally:
            self._watchers.discard(queue)
            self._alone_since = time.monotonic()
            self.stir()  # whoever waits to let the session go counts from now

    async def say(self, effect: Digest, action: Action) -> None:
        text = action.text if isinstance(action, Say) else action.question if isinstance(action, AskHuman) else ""
        self.show(Said(effect=effect, text=text))

    def token(self, text: str) -> None:
        """From any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.show, Token(text=text))

    def rests(self, notice: Idle | Asks | Ended) -> None:
        """Shows how the session stands until it moves again."""
        if notice != self._standing:
            self.show(notice)
            self._alone_since = time.monotonic()
        self._standing = notice
        if isinstance(notice, Ended):
            for waiting in (*self._taken, *self._inbox):
                if not waiting.heard.done():
                    waiting.heard.set_exception(NotFound(f"the session rests: {notice.reason}; this was not heard"))
            self._taken, self._inbox = [], []

    def alone_s(self) -> float | None:
        """How long the session has stood as it does with nobody watching; None while somebody is."""
        return None if self._watchers else time.monotonic() - self._alone_since

    def leave(self) -> None:
        """Sends whoever speaks or watches to the session's next runner."""
        for waiting in self._inbox:
            if not waiting.heard.done():
                waiting.heard.set_exception(Evicted())
        self._inbox = []
        for queue in self._watchers:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(Evicted())

    def moves(self) -> None:
        self._standing = None

    def show(self, notice: Notice) -> None:
        for queue in self._watchers:
            if queue.full() and not isinstance(notice, Token):
                queue.get_nowait()
            with suppress(asyncio.QueueFull):
                queue.put_nowait(notice)

    def committed(self, written: Sequence[Recorded]) -> None:
        """Shows what people want to see of events that are on disk now."""
        if not self._watchers:
            return
        for recorded in written:
            text = _line(recorded)
            if text is not None:
                self.show(Doing(text=text))


def _line(recorded: Recorded) -> str | None:
    match recorded.event:
        case execute.Intended(action=ToolCalls(calls=calls)):
            return ", ".join(_call(call) for call in calls)
        case execute.Succeeded(result=result) if result is not None:
            return _short(f"{result.tool} → {result.content}")
        case execute.Failed(error=error):
            return _short(f"failed: {error}")
        case execute.UnknownOutcome(why=why):
            return _short(f"unknown whether it happened: {why}")
        case execute.Cancelled(why=why):
            return _short(f"not done: {why}")
    return None


def _call(call: ToolCall) -> str:
    return _short(f"{call.tool}({', '.join(f'{name}={value!r}' for name, value in call.arguments.items())})")


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
