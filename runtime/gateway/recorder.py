"""Recording beside the answers: a thread with an event loop of its own, which the gateway only hands messages to.

Knows exchanges, their conversations and the log; knows nothing of HTTP. What cannot be written is counted and said,
and its conversation begins anew, whole, with its next request. Invariant: `begin` and `end` never wait, and are
taken in the order in which they were called."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from runtime.errors import EXPECTED
from runtime.gateway.answer import Ending
from runtime.gateway.conversations import Conversation, Conversations
from runtime.gateway.observed import ENDED, ObservedSession, ends_of
from runtime.gateway.wire import Request, read_request
from runtime.sessions import OBSERVED, new_session, opened, stream_of
from telemetry.log import EventLog

MAX_PENDING_BYTES = 256 * 1024 * 1024
"""Of requests whose recording is not done. What comes while more is pending is passed on unrecorded, and counted."""

CLOSE_S = 30.0
"""How long the end waits for the log. A commit takes milliseconds; a disk that hangs must not hang the end."""


@dataclass(eq=False, slots=True)
class Exchange:
    """One request that is being recorded, and how it ended."""

    body: bytes
    name: str | None
    ended: asyncio.Future[Ending]
    request: Request | None = None
    conversation: Conversation | None = None


@dataclass(slots=True)
class Counts:
    """What became of the requests. `recorded` and `not_recorded` grow when that is certain."""

    begun: int = 0
    recorded: int = 0
    not_recorded: int = 0
    sessions: int = 0
    why: str = ""
    """Why the latest one that was not recorded was not."""


class Recorder:
    """Owns the log's sessions, not the log. `say` gets a line for people; close it before the log."""

    def __init__(self, log: EventLog, *, upstream: str, host: str, say: Callable[[str], None]) -> None:
        self.counts = Counts()
        self._log = log
        self._upstream = upstream
        self._host = host
        self._say = say
        self._conversations = Conversations()
        self._tasks: set[asyncio.Task[None]] = set()
        self._begun_bytes = 0
        self._done_bytes = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="gateway-recorder", daemon=True)
        self._thread.start()

    def begin(self, body: bytes, name: str | None) -> Exchange:
        """A request was made. `name` is the session it names."""
        exchange = Exchange(body, name, self._loop.create_future())
        self.counts.begun += 1
        if self._begun_bytes - self._done_bytes > MAX_PENDING_BYTES:
            self._loop.call_soon_threadsafe(self._lost, "the log does not keep up")
            exchange.body = b""
        else:
            self._begun_bytes += len(body)
            self._loop.call_soon_threadsafe(self._begin, exchange)
        return exchange

    def end(self, exchange: Exchange, ending: Ending) -> None:
        """It ended so. What comes after the first end of an exchange changes nothing."""
        self._loop.call_soon_threadsafe(self._end, exchange, ending)

    def refusal(self, name: str) -> str | None:
        """Why requests cannot be recorded as session `name`; None where they can. Reads the log."""
        stream = stream_of(name)
        if self._log.head(stream) is None or opened(self._log, stream).environment == OBSERVED:
            return None
        return f"session {name!r} is on the log and was not observed by a gateway; choose another name"

    def close(self) -> None:
        """Waits until everything is on disk, at most CLOSE_S; then no session is written any more."""
        closing = asyncio.run_coroutine_threadsafe(self._close(), self._loop)
        try:
            closing.result(CLOSE_S)
        except TimeoutError:
            closing.cancel()
            self.counts.not_recorded = self.counts.begun - self.counts.recorded
            self.counts.why = f"the log took longer than {CLOSE_S:.0f} s at the end"
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def _begin(self, exchange: Exchange) -> None:
        try:
            request = read_request(exchange.body)
            conversation = self._conversation(exchange.name, request)
        except Exception as error:  # noqa: BLE001  whatever it is, the agent goes on and somebody must be told
            self._done_bytes += len(exchange.body)
            self._lost(str(error) if isinstance(error, ValueError) else _words(error))
            return
        exchange.request, exchange.conversation = request, conversation
        self._start(self._record(exchange, request, conversation))

    def _conversation(self, name: str | None, request: Request) -> Conversation:
        found = self._conversations.named(name) if name else self._conversations.going_on(request.prefixes)
        if found is not None:
            found.under_way += 1
            return found
        chosen = name or new_session()
        conversation = Conversation(chosen, self._session(chosen), named=name is not None, under_way=1)
        evicted = self._conversations.add(conversation)
        self.counts.sessions += 1
        if evicted is not None:
            self._start(self._suspend(evicted, "let go for conversations heard of since"))
        return conversation

    def _session(self, name: str) -> ObservedSession:
        return ObservedSession(stream_of(name), log=self._log, upstream=self._upstream, host=self._host)

    def _end(self, exchange: Exchange, ending: Ending) -> None:
        if exchange.ended.done():
            return
        exchange.ended.set_result(ending)
        if exchange.request is not None and exchange.conversation is not None:
            self._conversations.wait_at(exchange.conversation, ends_of(exchange.request, ending))

    async def _record(self, exchange: Exchange, request: Request, conversation: Conversation) -> None:
        try:
            async with conversation.turn:
                await conversation.session.begin(request)
                await conversation.session.end(request, await exchange.ended)
            self.counts.recorded += 1
        except Exception as error:  # noqa: BLE001  as above
            conversation.session = self._session(conversation.name)  # for requests that name it: from the log again
            if not conversation.named:
                self._conversations.drop(conversation)
            self._lost(_words(error))
        finally:
            conversation.under_way -= 1
            self._done_bytes += len(exchange.body)

    async def _suspend(self, conversation: Conversation, why: str) -> None:
        try:
            async with conversation.turn:
                await conversation.session.suspend(why)
        except Exception as error:  # noqa: BLE001  as above; the session stays open on the log
            self._say(f"session {conversation.name} was left open: {_words(error)}")

    async def _close(self) -> None:
        await asyncio.gather(*self._tasks)
        await asyncio.gather(*(self._suspend(conversation, ENDED) for conversation in self._conversations))

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _lost(self, why: str) -> None:
        self.counts.not_recorded += 1
        if why != self.counts.why:
            self._say(f"not recorded: {why}")
        self.counts.why = why


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, EXPECTED) else "".join(traceback.format_exception(error))
