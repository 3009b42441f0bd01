"""Sessions that are handed to hosts which run others meanwhile.

Knows orders and their answers; who else gives sessions to these hosts, it does not know. Invariant: no more than
AT_ONCE of its sessions are under way, so that those which were there first go on."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Final, Protocol

import ray
from ray import ObjectRef
from ray.exceptions import RayActorError

from runtime.errors import DONE, Backpressure, Unavailable, exit_code_of
from runtime.hosting.hosts import FRUITLESS_DEATHS
from runtime.hosting.member import POLL_S, REST, error_of
from runtime.hosting.orders import SessionOrder
from runtime.learning.fleet import Ran, ran
from runtime.sessions import SessionRow
from telemetry.log import open_log

AT_ONCE: Final = 8


class RunEnds(Exception):
    """The run that is learnt beside is over: what is under way rests, and goes on with the next."""


class Starts(Protocol):
    url: str

    def start(self, order: SessionOrder) -> ObjectRef[SessionRow]: ...


class Handed:
    """`stop` is asked some times a second. `told` hears how many sessions of an order are over."""

    def __init__(self, hosts: Starts, *, stop: Callable[[], bool], told: Callable[[int], None]) -> None:
        self._hosts = hosts
        self._stop = stop
        self._told = told

    def __call__(self, orders: Sequence[SessionOrder]) -> Ran:
        """Runs the orders to their ends. Raises `RunEnds`."""
        waiting = deque(orders)
        given: dict[ObjectRef[SessionRow], SessionOrder] = {}
        deaths = Counter[str]()
        errors: list[str] = []
        exit_code = DONE
        while waiting or given:
            if self._stop():
                raise RunEnds
            self._hand_out(waiting, given)
            for reference in ray.wait(list(given), timeout=POLL_S)[0] if given else ():
                order = given.pop(reference)
                error = self._ended(reference, order, deaths)
                if isinstance(error, Backpressure):
                    waiting.append(order)
                elif error is not None:
                    errors.append(f"{order.session}: {error}")
                    exit_code = max(exit_code, exit_code_of(error))
            self._told(len(orders) - len(waiting) - len(given))
        with closing(open_log(self._hosts.url, mode="read")) as log:
            return ran(log, orders, errors=errors, exit_code=exit_code)

    def _hand_out(self, waiting: deque[SessionOrder], given: dict[ObjectRef[SessionRow], SessionOrder]) -> None:
        while waiting and len(given) < AT_ONCE:
            try:
                given[self._hosts.start(waiting[0])] = waiting[0]
            except Backpressure:
                return
            waiting.popleft()

    def _ended(self, reference: ObjectRef[SessionRow], order: SessionOrder, deaths: Counter[str]) -> Exception | None:
        """What kept the session from its end; `Backpressure` where it is to be handed over again."""
        try:
            return error_of(reference)
        except RayActorError as death:
            deaths[order.session] += 1
            if deaths[order.session] < FRUITLESS_DEATHS:
                return Backpressure(f"the session host died: {death}")
            return Unavailable(f"the session host died {FRUITLESS_DEATHS} times while it ran: {death}. {REST}")
