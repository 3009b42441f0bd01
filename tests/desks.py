"""A desk with one conversation that a test plays: what was said to it, and what it shows, are plain lists.

Knows the words of `runtime.people.desk`; runs no session. It is served over the real socket, from a thread with its own
event loop, as a host serves from its process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from runtime.entry import stream_of_entry
from runtime.errors import NotFound
from runtime.people.desk import Ended, Notice
from runtime.people.letters import address_of
from runtime.people.serving import Serving, serve
from telemetry.events.learn import Entry
from telemetry.events.values import EventId, Feedback, Message, Playbook

SESSION = "0123456789ab"
PATIENCE_S = 60.0


@dataclass
class PlayedDesk:
    """Answers for SESSION only; `script` says what is shown after each thing it is told."""

    script: Callable[[Message | Feedback], list[Notice]] = lambda _: []
    first: list[Notice] = field(default_factory=list)
    heard: list[Message | Feedback] = field(default_factory=list)
    decisions: list[tuple[str, bool, str, str]] = field(default_factory=list)
    rested: bool = False
    watchers: int = 0
    raises: Exception | None = None
    _shown: list[asyncio.Queue[Notice]] = field(default_factory=list)

    async def tell(self, session: str, said: Message | Feedback) -> EventId:
        self._check(session)
        if said not in self.heard:
            self.heard.append(said)
            self.show(*self.script(said))
        return f"session/{session}@{1 + self.heard.index(said)}"

    async def decide(self, session: str, effect: str, *, granted: bool, by: str, why: str) -> EventId:
        self._check(session)
        self.decisions.append((effect, granted, by, why))
        return f"session/{session}@99"

    async def watch(self, session: str) -> AsyncIterator[Notice]:
        self._check(session)
        queue: asyncio.Queue[Notice] = asyncio.Queue()
        for notice in self.first:
            queue.put_nowait(notice)
        self._shown.append(queue)
        self.watchers += 1
        try:
            while True:
                notice = await queue.get()
                yield notice
                if isinstance(notice, Ended):
                    return
        finally:
            self._shown.remove(queue)
            self.watchers -= 1

    def check_live(self, session: str) -> None:
        self._check(session)

    async def rest(self, session: str) -> None:
        self._check(session)
        self.rested = True
        self.show(Ended(status="suspended", reason="asked to stop"))

    async def reconcile(
        self, session: str, effect: str, *, happened: bool, by: str, why: str, result: str | None
    ) -> EventId:
        self._check(session)
        raise NotFound(f"{effect} is not unknown here")

    async def fork(self, session: str, *, at: int, new: str) -> EventId:
        self._check(session)
        return f"session/{new}@{at + 1}"

    async def lay_down(self, playbook: Playbook, *, why: str) -> EventId:
        return f"model/{playbook.name}@1"

    async def enter(self, entry: Entry, *, refs: tuple[EventId, ...], run: str) -> EventId:
        return f"{stream_of_entry(entry)}@1"

    def show(self, *notices: Notice) -> None:
        for queue in self._shown:
            for notice in notices:
                queue.put_nowait(notice)

    def _check(self, session: str) -> None:
        if self.raises is not None:
            raise self.raises
        if session != SESSION:
            raise NotFound(f"no conversation {session} is live here")


class Served:
    """A desk behind the socket of `log`. `call` runs something on its loop."""

    def __init__(self, desk: PlayedDesk, loop: asyncio.AbstractEventLoop, serving: Serving) -> None:
        self.desk = desk
        self.path = serving.path
        self._loop = loop

    def show(self, *notices: Notice) -> None:
        done: Future[None] = Future()

        def now() -> None:
            self.desk.show(*notices)
            done.set_result(None)

        self._loop.call_soon_threadsafe(now)
        done.result(PATIENCE_S)


@contextmanager
def served(desk: PlayedDesk, log: Path | str) -> Iterator[Served]:
    """Serves `desk` until the block ends, as a host does for its life."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        serving = asyncio.run_coroutine_threadsafe(
            serve(desk, log if isinstance(log, Path) and log.suffix == ".sock" else address_of(str(log))), loop
        ).result(PATIENCE_S)
        try:
            yield Served(desk, loop, serving)
        finally:
            asyncio.run_coroutine_threadsafe(serving.close(), loop).result(PATIENCE_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE_S)
        loop.close()
