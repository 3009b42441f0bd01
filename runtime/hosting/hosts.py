"""The session hosts of one driver: sessions are spread over them, and those of a host that died go to the others.

Knows how many hosts there are and who has which session; asks the log how far a session is, and writes nothing.
Invariant: a session is in the hands of at most one living host of this driver, and one that a dead host may still be
writing is fenced there by its next epoch."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import ray
from ray import ObjectRef
from ray.exceptions import PendingCallsLimitExceeded, RayActorError

from runtime.errors import Backpressure, OwnedElsewhere, Unavailable
from runtime.hosting.host import SessionHost
from runtime.hosting.member import POLL_S, REST, REVIVAL_POLL_S, HostGone, Member, answer, awaited, crowded, error_of
from runtime.hosting.memory_actor import start_memory
from runtime.hosting.orders import RunStatus, SessionOrder, Surroundings
from runtime.hosting.room import count, here
from runtime.hosting.telemetry_actor import RunningTelemetry, start_telemetry
from runtime.sessions import SessionRow, stream_of
from runtime.settings import Settings, log_url
from telemetry.log import is_postgres, open_log
from telemetry.log.latency import Latencies

START_TIMEOUT_S = 120.0
"""A host that has not answered by then has found no resources."""
JOIN_TIMEOUT_S = 60.0
"""The others have so long after the first; one that comes later is given what is not given by then. A process of ours
starts within two seconds on an idle machine, and one after the other on a busy one."""
CLOSE_TIMEOUT_S = 60.0
FRUITLESS_DEATHS = 5
"""Hosts that die so often in a row around a session that does not get on are being killed by what it runs."""

T = TypeVar("T")
Ended = tuple[str, Exception | None]
_Lost = tuple[SessionOrder, RayActorError]


class Hosts:
    """On SQLite one host, on this node, where its log lies; on PostgreSQL several, on any node.

    Ray restarts a host that was killed. It could give it its sessions again too, but waits longer each time, up to 5 s
    (measured), and would do it for ever; here they go to the others at once."""

    def __init__(
        self,
        settings: Settings,
        orders: Sequence[SessionOrder] = (),
        *,
        near: bool = False,
        kind: type[SessionHost] = SessionHost,
        surroundings: Surroundings | None = None,
    ) -> None:
        """As many hosts of class `kind` as `orders` are worth, on this node when `near`. Their `surroundings` are this
        process' where none are given.

        Raises `UsageError` for several hosts on SQLite, `Unavailable` where they find no room, and what opening the
        log raises."""
        self.url = log_url(settings)
        spread = is_postgres(self.url) and not near
        hosts = count(settings, orders)
        if not is_postgres(self.url):
            Path(self.url).parent.mkdir(parents=True, exist_ok=True)
        self._memory = start_memory(settings) if hosts > 1 else None
        self._members = [
            Member(
                settings,
                place="SPREAD" if spread else here(),
                kind=kind,
                surroundings=surroundings,
                memory=self._memory and self._memory.name,
            )
            for _ in range(hosts)
        ]
        self._telemetry: RunningTelemetry | None = None
        self.telemetry: tuple[str, ...] = ()
        """What of it waits for the next run, and why; known once the hosts are closed."""
        self._stood: dict[str, tuple[int, int]] = {}
        """Of sessions whose host died: their version then, and how often in a row they had not got on."""
        self.lost_ns: dict[str, int] = {}
        """When it was noticed that the host of a session had died, the last time (UTC, ns)."""
        self._latest = time.monotonic()
        """When a host was last known to live."""
        try:
            self._begin(settings)
            self._telemetry = start_telemetry(settings)
        except BaseException:
            self._end()
            raise

    def _begin(self, settings: Settings) -> None:
        starting = {member.actor.ping.remote(): member for member in self._members}
        came, _ = ray.wait(list(starting), timeout=START_TIMEOUT_S)
        if not came:
            raise Unavailable(
                f"no session host was given {settings.host_cpus:g} CPUs within {START_TIMEOUT_S:g} s: "
                "others hold them now. Nothing was started"
            )
        came, _ = ray.wait(list(starting), num_returns=len(starting), timeout=JOIN_TIMEOUT_S)
        for reference in came:
            answer(starting[reference].actor.open.remote, START_TIMEOUT_S)
            starting[reference].came()

    def __len__(self) -> int:
        return len(self._members)

    def run(self, orders: Sequence[SessionOrder], *, watch: Callable[[RunStatus], None]) -> Iterator[Ended]:
        """Runs the sessions and yields each one's id as it ends, with the error that kept it from its end, if any.

        Gives the hosts as many at a time as they take; the others wait here, and so does one that its host has no room
        for after all. `watch` is called about four times a second with how the hosts stand. Raises `Unavailable` when
        no host comes back."""
        waiting = deque(orders)
        later: list[SessionOrder] = []
        """What was given back, until the next look."""
        looked_at = self._latest = time.monotonic()
        while waiting or later or self._given():
            self._hand_out(waiting)
            lost: list[_Lost] = []
            for member, reference in self._ready():
                order = member.given.pop(reference)
                try:
                    error = error_of(reference)
                except RayActorError as death:
                    self.lost_ns[order.session] = time.time_ns()
                    lost.append((order, death))
                    member.down()
                    continue
                if isinstance(error, Backpressure):
                    member.is_full()
                if isinstance(error, Backpressure) or self._goes_on_elsewhere(order, error):
                    later.append(order)
                else:
                    yield order.session, error
            for order, vain in self._weighed(lost):
                if vain is not None:
                    yield order.session, vain
                else:
                    waiting.appendleft(order)
            if time.monotonic() - looked_at >= POLL_S:
                looked_at = time.monotonic()
                waiting += later
                later = []
                left = len(waiting) + self._given()
                watch(self._standing().model_copy(update={"sessions": len(orders), "running": left}))

    def _given(self) -> int:
        return sum(len(member.given) for member in self._members)

    def _hand_out(self, waiting: deque[SessionOrder]) -> None:
        """Gives sessions to the living hosts, the next always to the one that has fewest."""
        while waiting:
            free = [member for member in self._members if member.free]
            if not free:
                return
            member = min(free, key=lambda member: len(member.given))
            try:
                member.give(waiting[0])
            except Backpressure:
                member.is_full()
            else:
                waiting.popleft()

    def _ready(self) -> list[tuple[Member, ObjectRef[SessionRow]]]:
        """The sessions that came to an end, within POLL_S; meanwhile the hosts are asked how they stand.

        Raises `Unavailable` when no host has answered for START_TIMEOUT_S."""
        for member in self._members:
            member.ask()
        sessions = {reference: member for member in self._members for reference in member.given}
        asked = {member.asked: member for member in self._members if member.asked is not None}
        pause_s = POLL_S if all(member.up for member in self._members) else REVIVAL_POLL_S
        references: list[ObjectRef[object]] = [*sessions, *asked]  # type: ignore[list-item]  # invariant in Ray's types
        if not references:
            time.sleep(pause_s)
            return []
        if ray.wait(references, timeout=pause_s)[0]:
            done = set(ray.wait(references, num_returns=len(references), timeout=0)[0])
            for status, member in asked.items():
                if status in done:
                    member.hear()
            ended = [(member, reference) for reference, member in sessions.items() if reference in done]
        else:
            ended = []
        now = time.monotonic()
        if any(member.up for member in self._members):
            self._latest = now
        elif now - self._latest > START_TIMEOUT_S:
            raise Unavailable(f"the session hosts died, and none came back within {START_TIMEOUT_S:g} s. {REST}")
        return ended

    def _weighed(self, lost: Sequence[_Lost]) -> Iterator[tuple[SessionOrder, Unavailable | None]]:
        """The sessions whose host died, each with why it is given to no further one, if it has died with too many."""
        versions = self._versions([order.session for order, _ in lost])
        for order, death in lost:
            version = versions.get(order.session, 0)
            before, times = self._stood.get(order.session, (-2, 0))
            times = 0 if version > before + 1 else times + 1  # one event says that it was resumed
            self._stood[order.session] = version, times
            vain = f"the session host died {times} times in a row before anything came of it: {death}. {REST}"
            yield order, Unavailable(vain) if times >= FRUITLESS_DEATHS else None

    def _versions(self, sessions: Sequence[str]) -> dict[str, int]:
        """How far sessions are, of those that are on the log."""
        if not sessions:
            return {}
        with closing(open_log(self.url, mode="read")) as log:
            heads = {session: log.head(stream_of(session)) for session in sessions}
        return {session: head.version for session, head in heads.items() if head is not None}

    def _goes_on_elsewhere(self, order: SessionOrder, error: Exception | None) -> bool:
        """Whether a host that was given up still writes the session: it is soon gone, and then it can be taken up."""
        since_ns = self.lost_ns.get(order.session)
        if not isinstance(error, OwnedElsewhere) or since_ns is None:
            return False
        if time.time_ns() - since_ns > START_TIMEOUT_S * 1e9:
            return False
        return error.owner is None or any(error.owner in member.owners for member in self._members)

    def start(self, order: SessionOrder) -> ObjectRef[SessionRow]:
        """Hands over one session at once, to the host that has fewest. As `Member.start`."""
        return min(self._members, key=lambda member: len(member.given)).start(order)

    def position(self) -> int:
        """Position of the log's last event."""
        living = next(member for member in self._members if member.up)
        position: int = answer(living.actor.position.remote, START_TIMEOUT_S)
        return position

    def status(self) -> RunStatus:
        """How the hosts stand now, as far as they say so at once."""
        for member in self._members:
            member.ask()
        asked = {member.asked: member for member in self._members if member.asked is not None}
        for reference in ray.wait(list(asked), num_returns=len(asked), timeout=POLL_S)[0] if asked else ():
            asked[reference].hear()
        return self._standing()

    def _standing(self) -> RunStatus:
        return RunStatus.of(
            [member.latest for member in self._members if member.latest is not None],
            hosts=len(self._members),
            deaths=sum(member.deaths for member in self._members),
        ).model_copy(update={"telemetry": self._telemetry and self._telemetry.words(self._appends())})

    def _appends(self) -> Latencies:
        """How long appends of this run took, of hosts that died as of when they last said so."""
        found = Latencies()
        for member in self._members:
            for one in member.appends.values():
                found = found.with_(one)
        return found

    def suspend(self) -> None:
        """Lets every session finish its cycle and rest."""
        self._all(lambda member: member.actor.suspend.remote())

    def close(self) -> None:
        """Lets every session finish its cycle and rest, releases the log, ends the actors.

        Raises `Unavailable` when that takes too long: the log is whole then, and its sessions can be resumed."""
        try:
            for member, status in self._all(lambda member: member.actor.close.remote()):
                member.said(status)
            if self._telemetry is not None:
                self.telemetry = tuple(self._telemetry.finish(self._appends()))
                self._telemetry = None
        finally:
            self._end()

    def _all(self, call: Callable[[Member], ObjectRef[T]]) -> list[tuple[Member, T]]:
        """Calls the living hosts at once and waits for all. What one raised does not keep the others from their end.
        Returns what they answered, but those that died."""
        errors: list[Exception] = []
        answers: list[tuple[Member, T]] = []
        deadline = time.monotonic() + CLOSE_TIMEOUT_S
        begun: list[tuple[Member, ObjectRef[T]]] = []
        for member in self._members:
            try:
                if member.up:
                    begun.append((member, call(member)))
            except PendingCallsLimitExceeded as error:
                errors.append(crowded(error))
        for member, reference in begun:
            try:
                answers.append((member, awaited(reference, max(0.0, deadline - time.monotonic()))))
            except HostGone:
                pass  # the system let go of what it held; its sessions are as if they were cut off
            except Exception as error:  # noqa: BLE001  the others are waited for first
                errors.append(error)
        if len(errors) > 1:
            raise Unavailable("; ".join(dict.fromkeys(map(str, errors)))) from errors[0]
        if errors:
            raise errors[0]
        return answers

    def _end(self) -> None:
        for member in self._members:
            ray.kill(member.actor)
        if self._telemetry is not None:
            self._telemetry.kill()
        if self._memory is not None:
            ray.kill(self._memory.actor)
