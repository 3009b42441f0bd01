"""Ray: a local one of our own, or the cluster that is there; and the session host on it.

Knows how Ray is started, attached to and left; ends nothing that it did not start. Invariant: whatever a phase or
host raised comes out of here as that error, not as Ray's wrapping of it."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, cast

import ray
from ray import ObjectRef
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from runtime.errors import Unavailable
from runtime.host import SessionHost
from runtime.orders import HostStatus, SessionOrder
from runtime.placement import Handle
from runtime.sessions import SessionRow
from runtime.settings import Settings, log_url

T = TypeVar("T")

START_TIMEOUT_S = 120.0
"""A host that has not answered by then has found no resources."""
POLL_S = 0.25
CLOSE_TIMEOUT_S = 60.0

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""One thread an actor for BLAS and torch: several actors share few cores, and sums come out in one order."""


@contextmanager
def connected(settings: Settings) -> Iterator[None]:
    """Attaches to `settings.address` or the job's cluster, else starts a local Ray in a folder of its own.

    Raises `Unavailable` when the cluster cannot be reached."""
    address = settings.address or os.environ.get("RAY_ADDRESS")
    folder = None if address else tempfile.mkdtemp(prefix="aether-")
    try:
        if address:
            ray.init(address, runtime_env={"env_vars": ONE_THREAD}, logging_level=logging.ERROR)
        else:
            ray.init(
                num_cpus=max(2, os.cpu_count() or 1),
                include_dashboard=False,
                runtime_env={"env_vars": ONE_THREAD},
                logging_level=logging.ERROR,
                _temp_dir=folder,
            )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise Unavailable(f"Ray {'at ' + address if address else 'on this machine'} cannot be used: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


class Host:
    """A session host on this node, where its SQLite log lies.

    Ray makes calls again when the host was killed and restarted."""

    def __init__(self, settings: Settings) -> None:
        self.url = log_url(settings)
        Path(self.url).parent.mkdir(parents=True, exist_ok=True)
        options = ray.remote(SessionHost).options(
            num_cpus=settings.host_cpus,
            max_restarts=-1,
            max_task_retries=-1,
            max_concurrency=settings.max_sessions + 16,
            scheduling_strategy=NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False),
        )
        self._actor = cast(
            "Handle",
            options.remote(self.url, max_sessions=settings.max_sessions, disk_patience_s=settings.disk_patience_s),
        )
        ready, _ = ray.wait([self._actor.ping.remote()], timeout=START_TIMEOUT_S)
        if not ready:
            raise Unavailable(
                f"this node did not give the session host {settings.host_cpus:g} CPUs within {START_TIMEOUT_S:g} s: "
                f"{ray.available_resources()} are free. Nothing was started"  # type: ignore[no-untyped-call]  # Ray's
            )
        opened: ObjectRef[None] = self._actor.open.remote()
        unwrapped(lambda: ray.get(opened))

    def run(
        self, orders: Sequence[SessionOrder], *, watch: Callable[[HostStatus], None]
    ) -> Iterator[tuple[str, Exception | None]]:
        """Runs the sessions and yields each one's id as it ends, with the error that kept it from its end, if any.

        `watch` is called about four times a second with the host's status."""
        names: dict[ObjectRef[SessionRow], str] = {self._actor.run.remote(order): order.session for order in orders}
        while names:
            done, _ = ray.wait(list(names), timeout=POLL_S)
            for reference in done:
                yield names.pop(reference), _error_of(reference)
            status = self._status()
            if status is not None:
                watch(status)

    def position(self) -> int:
        """Position of the log's last event."""
        reference: ObjectRef[int] = self._actor.position.remote()
        return unwrapped(lambda: ray.get(reference))

    def _status(self) -> HostStatus | None:
        """None while the host is being restarted."""
        reference: ObjectRef[HostStatus] = self._actor.status.remote()
        ready, _ = ray.wait([reference], timeout=POLL_S)
        try:
            return ray.get(reference) if ready else None
        except (ActorDiedError, ActorUnavailableError):
            return None

    def suspend(self) -> None:
        """Lets every session finish its cycle and rest."""
        ray.get(self._actor.suspend.remote(), timeout=CLOSE_TIMEOUT_S)

    def close(self) -> None:
        """Suspends what still runs, releases the log, ends the actor."""
        ray.get(self._actor.close.remote(), timeout=CLOSE_TIMEOUT_S)
        ray.kill(self._actor)


def _error_of(reference: ObjectRef[SessionRow]) -> Exception | None:
    try:
        ray.get(reference)
    except RayTaskError as error:
        return cast(Exception, error.cause)
    except RayActorError as error:
        return Unavailable(f"the session host is gone and did not come back: {error}")
    return None


def unwrapped(call: Callable[[], T]) -> T:
    """What the remote side raised, as itself."""
    try:
        return call()
    except RayTaskError as error:
        raise error.cause from None
