"""One session host as its driver sees it: its actor, the sessions that it was given, and how it last stood.

Knows one actor; what becomes of the sessions of one that died, `hosts` knows. Invariant: whatever a session or host
raised comes out of here as that error, not as Ray's wrapping of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar, cast

import ray
from ray import ObjectRef
from ray.exceptions import GetTimeoutError, PendingCallsLimitExceeded, RayActorError, RayTaskError

from runtime.errors import Backpressure, Unavailable
from runtime.hosting.host import SessionHost
from runtime.hosting.orders import HostStatus, SessionOrder, Surroundings, surroundings_of
from runtime.hosting.pools import Handle
from runtime.hosting.room import Place
from runtime.sessions import SessionRow
from runtime.settings import Settings, log_url
from telemetry.log.latency import Latencies

T = TypeVar("T")

POLL_S = 0.25
REVIVAL_POLL_S = 0.05
SILENCE_S = 5.0
"""A host that has not said for so long how it stands is given nothing new."""
SPARE_CALLS = 64
"""Calls that may wait for a host beside one for each of its sessions; Ray refuses more."""
REST = "Its sessions rest at their last commit; go on with: aether session resume --all"


class HostGone(Unavailable):
    """The host died, or could never live."""


class Member:
    """Ray restarts the actor when it was killed; until it answers again, `up` is false and it is given nothing."""

    def __init__(
        self,
        settings: Settings,
        *,
        place: Place,
        kind: type[SessionHost],
        surroundings: Surroundings | None,
        memory: str | None,
    ) -> None:
        """Asks Ray for the actor and does not wait for it."""
        self.given: dict[ObjectRef[SessionRow], SessionOrder] = {}
        self.latest: HostStatus | None = None
        self.up = False
        self.deaths = 0
        self.owners: set[str] = set()
        """The names under which it has owned sessions, one a life."""
        self.appends: dict[str, Latencies] = {}
        """How long appends took, by those names, as it last said."""
        self._max_sessions = settings.max_sessions
        self._full_until = self._asked_at = self._heard_at = 0.0
        self.asked: ObjectRef[HostStatus] | None = None
        """Its word on how it stands, if that is awaited."""
        options = ray.remote(kind).options(
            num_cpus=settings.host_cpus,
            max_restarts=-1,
            max_concurrency=settings.max_sessions + 16,
            max_pending_calls=settings.max_sessions + SPARE_CALLS,
            scheduling_strategy=place,
        )
        self.actor = cast(
            "Handle",
            options.remote(
                log_url(settings),
                max_sessions=settings.max_sessions,
                disk_patience_s=settings.disk_patience_s,
                growth_patience_s=settings.growth_patience_s,
                idle_patience_s=settings.idle_patience_s,
                surroundings=surroundings or surroundings_of(settings),
                home=str(settings.home.expanduser()),
                memory=memory,
            ),
        )

    @property
    def free(self) -> bool:
        """Whether it may be given a session now."""
        now = time.monotonic()
        silent = self.asked is not None and now - self._heard_at > SILENCE_S
        return self.up and not silent and len(self.given) < self._max_sessions and now >= self._full_until

    def start(self, order: SessionOrder) -> ObjectRef[SessionRow]:
        """Hands over one session at once. Raises `Backpressure` when too many calls wait for the host already; the
        answer raises it when the host is full. Either way nothing was started, and it can be handed over again."""
        try:
            reference: ObjectRef[SessionRow] = self.actor.run.remote(order)
        except PendingCallsLimitExceeded as error:
            raise crowded(error) from error
        return reference

    def give(self, order: SessionOrder) -> None:
        """As `start`, and keeps in mind who has it."""
        self.given[self.start(order)] = order

    def is_full(self) -> None:
        """It said so: it is given nothing for a moment."""
        self._full_until = time.monotonic() + POLL_S

    def ask(self) -> None:
        """Asks how it stands, unless that is awaited or was asked a moment ago."""
        now = time.monotonic()
        rest_s = POLL_S if self.up else REVIVAL_POLL_S
        if self.asked is None and now - self._asked_at >= rest_s:
            self._asked_at = now
            with suppress(RayActorError, PendingCallsLimitExceeded):
                self.asked = self.actor.status.remote()

    def came(self) -> None:
        """It lives."""
        self.up, self._heard_at = True, time.monotonic()

    def hear(self) -> None:
        """Takes in the answer to `ask`, once it is there."""
        assert self.asked is not None
        asked, self.asked = self.asked, None
        try:
            self.said(ray.get(asked))
        except RayActorError:
            self.down()

    def said(self, status: HostStatus) -> None:
        """It lives, and stands so."""
        self.latest = status
        self.owners.add(status.owner)
        self.appends[status.owner] = status.appends
        self.came()

    def down(self) -> None:
        """It died, or cannot be reached: it is asked until it answers again."""
        self.deaths += self.up
        self.up, self.latest = False, None


def error_of(reference: ObjectRef[SessionRow]) -> Exception | None:
    """What the session's run raised. Raises `RayActorError` when the host died meanwhile."""
    try:
        ray.get(reference)
    except RayTaskError as error:
        return cast(Exception, error.cause)
    return None


def crowded(error: PendingCallsLimitExceeded) -> Backpressure:
    return Backpressure(f"too many calls wait for the session host; this one was not made. Try again later: {error}")


def answer(call: Callable[[], ObjectRef[T]], timeout_s: float) -> T:
    """What the host answers; what it raised, as itself."""
    try:
        return awaited(call(), timeout_s)
    except PendingCallsLimitExceeded as error:
        raise crowded(error) from error


def awaited(reference: ObjectRef[T], timeout_s: float) -> T:
    """As `answer`, of a call that was made."""
    try:
        return ray.get(reference, timeout=timeout_s)
    except RayTaskError as error:
        raise error.cause from None
    except GetTimeoutError as error:
        raise Unavailable(f"the session host did not answer within {timeout_s:g} s. {REST}") from error
    except RayActorError as error:
        raise HostGone(f"the session host died: {error}. {REST}") from error
