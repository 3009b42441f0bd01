"""The way from one host to one phase actor: what many sessions ask of it while a call is under way goes together in
the next one.

Knows Ray and time-outs; knows nothing of phases. Invariant: every ask is answered once, with its own answer or its own
error, whatever the asks that travelled with it came to."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import ray
from ray.exceptions import PendingCallsLimitExceeded, RayActorError, RayTaskError

from loops.errors import EnvironmentFailed
from runtime.hosting.pools import DIRECT_CALLS, ActorAway, Answers, Handle, remote

T = TypeVar("T")

MAX_TOGETHER = 64
"""Asks in one call: at 8 KB a context half a megabyte, and a restarted actor is asked at most so many again."""
TOGETHER_S = 0.1
"""An actor that has worked on one call for so long answers with what it has; the rest is asked again in the next."""


@dataclass(slots=True)
class _Ask:
    method: str
    arguments: tuple[object, ...]
    what: str
    limit_s: float
    answer: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    alone: bool = False
    """The call that it was part of went wrong, by its fault or another's."""


class Lane:
    """One actor's. Everything is called on the host's event loop."""

    def __init__(self, actor: Handle, process: str = "") -> None:
        self.actor = actor
        self.process = process
        """The actor's process, as it last answered."""
        self._waiting: deque[_Ask] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._room = asyncio.Semaphore(DIRECT_CALLS)

    async def ask(self, method: str, *arguments: object, what: str, limit_s: float) -> Any:  # noqa: ANN401  the method's
        """What `method` of the actor answers, asked again when the actor died meanwhile.

        Raises what the method raised, `ActorAway`, and `EnvironmentFailed` (timeout) when it takes more than `limit_s`,
        not counting what was before it in the lane; the actor is then restarted, and whoever else was in the call is
        asked again."""
        return await self._queue(_Ask(method, arguments, what, limit_s))

    def tell(self, method: str, *arguments: object, limit_s: float) -> None:
        """As `ask`, where nobody waits for the answer."""
        self._queue(_Ask(method, arguments, method, limit_s)).add_done_callback(_unheard)

    def _queue(self, ask: _Ask) -> asyncio.Future[Any]:
        self._waiting.append(ask)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_all())
        return ask.answer

    async def direct(self, call: Callable[[], Awaitable[T]], *, what: str, limit_s: float) -> T:
        """A call beside the lane, for what may take long or must be made once. Raises as `ask` does."""
        async with self._room:
            return await within(limit_s, what, self.actor, call())

    async def _send_all(self) -> None:
        while self._waiting:
            asks = self._next()
            if not asks:
                return
            try:
                await self._send(asks)
            except ActorAway as error:
                asks += self._waiting  # it is away for all
                self._waiting.clear()
                _fail(asks, error)
            except Exception as error:  # noqa: BLE001  it is raised where the answer is awaited
                _fail(asks, error)

    def _next(self) -> list[_Ask]:
        """The asks of the next call; those whose session has gone are dropped."""
        asks: list[_Ask] = []
        while self._waiting and len(asks) < MAX_TOGETHER:
            if self._waiting[0].alone and asks:
                break
            ask = self._waiting.popleft()
            if not ask.answer.done():
                asks.append(ask)
            if ask.alone and asks:
                break
        return asks

    async def _send(self, asks: list[_Ask]) -> None:
        letters = [(ask.method, ask.arguments) for ask in asks]
        if len(asks) == 1:
            (ask,) = asks
            once = partial(self._together, letters)
            return self._hand_out(asks, await remote(lambda: within(ask.limit_s, ask.what, self.actor, once())))
        limit_s = max(ask.limit_s for ask in asks) + TOGETHER_S
        try:
            answers = await asyncio.wait_for(self._together(letters), limit_s)
        except TimeoutError:
            ray.kill(self.actor, no_restart=False)
            self._again(asks, alone=True)
        except (RayActorError, RayTaskError, PendingCallsLimitExceeded):
            self._again(asks, alone=True)
        else:
            self._hand_out(asks, answers)

    async def _together(self, letters: list[tuple[str, tuple[object, ...]]]) -> Answers:
        answers: Answers = await self.actor.together.remote(letters, TOGETHER_S)
        return answers

    def _hand_out(self, asks: list[_Ask], answers: Answers) -> None:
        for ask, (answer, error) in zip(asks, answers, strict=False):
            if ask.answer.done():
                continue
            if error is None:
                ask.answer.set_result(answer)
            else:
                ask.answer.set_exception(error)
        self._again(asks[len(answers) :], alone=False)

    def _again(self, asks: list[_Ask], *, alone: bool) -> None:
        for ask in asks:
            ask.alone = ask.alone or alone
        self._waiting.extendleft(reversed(asks))


def _fail(asks: list[_Ask], error: Exception) -> None:
    for ask in asks:
        if not ask.answer.done():
            ask.answer.set_exception(error)


def _unheard(answer: asyncio.Future[Any]) -> None:
    if not answer.cancelled():
        answer.exception()  # so that nobody complains of one that was never looked at


async def within(limit_s: float, what: str, actor: Handle | None, call: Awaitable[T]) -> T:
    """Raises `EnvironmentFailed` (timeout); an actor that hangs is then restarted, as others wait for it too."""
    try:
        return await asyncio.wait_for(call, limit_s)
    except TimeoutError as error:
        if actor is not None:
            ray.kill(actor, no_restart=False)
        raise EnvironmentFailed(f"{what} did not answer within {limit_s:g} s", "timeout") from error
