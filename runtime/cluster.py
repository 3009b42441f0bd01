"""Ray: a local one of our own, or the cluster that is there; and the session host on it.

Knows how Ray is started, attached to and left; ends nothing that it did not start. Invariant: whatever a phase or
host raised comes out of here as that error, not as Ray's wrapping of it."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import TypeVar, cast

import ray
from ray import ObjectRef
from ray.exceptions import GetTimeoutError, PendingCallsLimitExceeded, RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from runtime.errors import Backpressure, Unavailable
from runtime.host import SessionHost
from runtime.orders import ONE_THREAD, HostStatus, SessionOrder, Surroundings
from runtime.pools import Handle
from runtime.sessions import SessionRow
from runtime.settings import Settings, log_url
from telemetry.log import is_postgres, open_log

T = TypeVar("T")

START_TIMEOUT_S = 120.0
"""A host that has not answered by then has found no resources."""
KNOCK_TIMEOUT_S = 5.0
POLL_S = 0.25
REVIVAL_POLL_S = 0.05
CLOSE_TIMEOUT_S = 60.0
SPARE_CALLS = 64
"""Calls that may wait for a host beside one for each of its sessions; Ray refuses more."""
FRUITLESS_DEATHS = 5
"""A host that dies so often in a row without getting on is being killed by what it runs."""
SHORT_FOLDER_CHARACTERS = 24
"""Ray adds up to 80 characters to its folder's path for its sockets, and a socket's path may hold 104 (macOS)."""


@contextmanager
def connected(settings: Settings) -> Iterator[None]:
    """Attaches to `settings.address` or the job's cluster, else starts a local Ray in a folder of its own.

    SIGTERM, which stops a Ray job, interrupts inside it as Ctrl-C does. Raises `Unavailable` when the cluster
    cannot be reached."""
    address = settings.address
    folder = None if address else _folder()
    try:
        _start(address, folder)
        signal.signal(signal.SIGTERM, _interrupt)
        yield
    finally:
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _start(address: str | None, folder: str | None) -> None:
    try:
        if address:
            _knock(address)
            ray.init(address, runtime_env={"env_vars": ONE_THREAD}, logging_level=logging.ERROR, log_to_driver=False)
        else:
            ray.init(
                num_cpus=max(2, os.cpu_count() or 1),
                include_dashboard=False,
                runtime_env={"env_vars": ONE_THREAD},
                logging_level=logging.ERROR,
                log_to_driver=False,
                _temp_dir=folder,
            )
    except (OSError, RuntimeError, ValueError, RayError) as error:
        raise Unavailable(f"Ray {'at ' + address if address else 'on this machine'} cannot be used: {error}") from error


def _knock(address: str) -> None:
    """Raises OSError where nobody listens at once; Ray would try for a minute."""
    host, _, port = address.rpartition(":")
    if port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_TIMEOUT_S).close()


def _folder() -> str:
    usual = tempfile.gettempdir()
    return tempfile.mkdtemp(prefix="aether-", dir=usual if len(usual) <= SHORT_FOLDER_CHARACTERS else "/tmp")


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class Host:
    """A session host on this node, where its SQLite log lies.

    Ray restarts the host when it was killed; `run` then gives it its sessions again. Ray could do that too, but
    waits longer each time, up to 5 s (measured), and would do it for ever."""

    def __init__(
        self, settings: Settings, *, kind: type[SessionHost] = SessionHost, surroundings: Surroundings | None = None
    ) -> None:
        """A host of class `kind`. Its `surroundings` are this process' where none are given.

        Raises `Unavailable` where this node cannot hold the host, and what opening the log raises."""
        self.url = log_url(settings)
        self._max_sessions = settings.max_sessions
        self._pid = 0
        self._position_at_death = 0
        self._fruitless = 0
        node = ray.get_runtime_context().get_node_id()
        _check_room(node, settings.host_cpus)
        if not is_postgres(self.url):
            Path(self.url).parent.mkdir(parents=True, exist_ok=True)
        options = ray.remote(kind).options(
            num_cpus=settings.host_cpus,
            max_restarts=-1,
            max_concurrency=settings.max_sessions + 16,
            max_pending_calls=settings.max_sessions + SPARE_CALLS,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        )
        self._actor = cast(
            "Handle",
            options.remote(
                self.url,
                max_sessions=settings.max_sessions,
                disk_patience_s=settings.disk_patience_s,
                growth_patience_s=settings.growth_patience_s,
                idle_patience_s=settings.idle_patience_s,
                surroundings=surroundings or Surroundings(models=settings.models, folder=str(Path.cwd())),
            ),
        )
        ready, _ = ray.wait([self._actor.ping.remote()], timeout=START_TIMEOUT_S)
        if not ready:
            raise Unavailable(
                f"this node did not give the session host {settings.host_cpus:g} CPUs within {START_TIMEOUT_S:g} s: "
                "others hold them now. Nothing was started"
            )
        _answer(self._actor.open.remote, START_TIMEOUT_S)

    def run(
        self, orders: Sequence[SessionOrder], *, watch: Callable[[HostStatus], None]
    ) -> Iterator[tuple[str, Exception | None]]:
        """Runs the sessions and yields each one's id as it ends, with the error that kept it from its end, if any.

        Gives the host as many at a time as it takes; the others wait here, and so does one that it has no room for
        after all. `watch` is called about four times
        a second with the host's status. Raises `Unavailable` when the host keeps dying."""
        waiting = list(reversed(orders))
        given: dict[ObjectRef[SessionRow], SessionOrder] = {}
        while waiting or given:
            while waiting and len(given) < self._max_sessions:
                order = waiting.pop()
                try:
                    given[self.start(order)] = order
                except Backpressure:
                    waiting.append(order)
                    break
            if given:
                done, _ = ray.wait(list(given), timeout=POLL_S)
            else:
                done = []
                time.sleep(POLL_S)
            for reference in done:
                order = given.pop(reference)
                try:
                    error = _error_of(reference)
                except RayActorError as death:
                    waiting.append(order)
                    self._revive(death, sessions=len(given) + len(waiting))
                else:
                    if isinstance(error, Backpressure):
                        waiting.insert(0, order)  # behind the others: what fills the host may be what waits here
                    else:
                        yield order.session, error
            status = self.status()
            if status is not None:
                watch(status.model_copy(update={"sessions": len(orders), "running": len(given) + len(waiting)}))

    def _revive(self, death: RayActorError, *, sessions: int) -> None:
        """Returns when the host answers again. Raises `Unavailable` when it does not, or dies again and again
        before it has written more than that the sessions were resumed."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while (status := self.status()) is None:
            if time.monotonic() > deadline:
                raise Unavailable(f"the session host died and did not come back: {death}. {_REST}") from death
            time.sleep(REVIVAL_POLL_S)
        if status.pid == self._pid:  # another session of the same death
            return
        self._pid = status.pid
        with closing(open_log(self.url, mode="read")) as log:
            position = log.position()
        progress = position > self._position_at_death + sessions
        self._position_at_death = position
        self._fruitless = 0 if progress else self._fruitless + 1
        if self._fruitless >= FRUITLESS_DEATHS:
            raise Unavailable(
                f"the session host died {self._fruitless} times in a row before anything came of it: {death}. {_REST}"
            ) from death

    def start(self, order: SessionOrder) -> ObjectRef[SessionRow]:
        """Hands over one session at once. Raises `Backpressure` when too many calls wait for the host already; the
        answer raises it when the host is full. Either way nothing was started, and it can be handed over again."""
        try:
            reference: ObjectRef[SessionRow] = self._actor.run.remote(order)
        except PendingCallsLimitExceeded as error:
            raise _crowded(error) from error
        return reference

    def position(self) -> int:
        """Position of the log's last event."""
        position: int = _answer(self._actor.position.remote, START_TIMEOUT_S)
        return position

    def status(self) -> HostStatus | None:
        """How the host stands; None while it is being restarted, or too busy to say."""
        try:
            reference: ObjectRef[HostStatus] = self._actor.status.remote()
            ready, _ = ray.wait([reference], timeout=POLL_S)
            return ray.get(reference) if ready else None
        except (RayActorError, PendingCallsLimitExceeded):
            return None

    def suspend(self) -> None:
        """Lets every session finish its cycle and rest."""
        _answer(self._actor.suspend.remote, CLOSE_TIMEOUT_S)

    def close(self) -> None:
        """Lets every session finish its cycle and rest, releases the log, ends the actor.

        Raises `Unavailable` when that takes too long: the log is whole then, and its sessions can be resumed."""
        try:
            _answer(self._actor.close.remote, CLOSE_TIMEOUT_S)
        except HostGone:
            pass  # the system released the log with the process; the sessions are as if they were cut off
        finally:
            ray.kill(self._actor)


def _check_room(node_id: str, cpus: float) -> None:
    nodes = ray.nodes()  # type: ignore[no-untyped-call]  # Ray's
    has = next((node["Resources"].get("CPU", 0.0) for node in nodes if node["NodeID"] == node_id), 0.0)
    if cpus > has:
        raise Unavailable(
            f"the session host asks for {cpus:g} CPUs, and this node, where its log lies, has {has:g}. "
            "Nothing was started. Ask for less with host_cpus (AETHER_HOST_CPUS)"
        )


def _error_of(reference: ObjectRef[SessionRow]) -> Exception | None:
    """What the session's run raised. Raises `RayActorError` when the host died meanwhile."""
    try:
        ray.get(reference)
    except RayTaskError as error:
        return cast(Exception, error.cause)
    return None


_REST = "Its sessions rest at their last commit; go on with: aether session resume --all"


class HostGone(Unavailable):
    """The host died, or could never live."""


def _crowded(error: PendingCallsLimitExceeded) -> Backpressure:
    return Backpressure(f"too many calls wait for the session host; this one was not made. Try again later: {error}")


def _answer(call: Callable[[], ObjectRef[T]], timeout_s: float) -> T:
    """What the host answers; what it raised, as itself."""
    try:
        return ray.get(call(), timeout=timeout_s)
    except PendingCallsLimitExceeded as error:
        raise _crowded(error) from error
    except RayTaskError as error:
        raise error.cause from None
    except GetTimeoutError as error:
        raise Unavailable(f"the session host did not answer within {timeout_s:g} s. {_REST}") from error
    except RayActorError as error:
        raise HostGone(f"the session host died: {error}. {_REST}") from error
