"""Lives of a session through a real Ray: its host ends itself at a commit boundary, Ray starts the host again, and the
driver gives it the session again.

Knows Ray and the real session host, with the pools that the scenario asks for. Invariant: only the first host of a
world is killed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import cast

from runtime.chaos.lives import NEVER, SESSION, DyingLog, acknowledged_file, surroundings_of
from runtime.chaos.values import ChaosOrder
from runtime.errors import EXPECTED
from runtime.hosting.cluster import connected
from runtime.hosting.host import SessionHost
from runtime.hosting.hosts import Hosts
from runtime.hosting.orders import SessionOrder
from runtime.settings import Settings
from telemetry.log import EventLog

BOUNDARY, HOSTS = "boundary.txt", "hosts.txt"
"""In a world: where its first host is to end, and a line for each host that opened its log."""


class DyingHost(SessionHost):
    """A session host that finds beside its log where its first life ends."""

    def open_log(self) -> EventLog:
        log = super().open_log()
        world = Path(log.url).parent
        at = NEVER if (world / HOSTS).exists() else int((world / BOUNDARY).read_text(encoding="utf-8"))
        with (world / HOSTS).open("a", encoding="utf-8") as hosts:
            hosts.write(f"{os.getpid()}\n")
        return cast(EventLog, DyingLog(log, at=at, acknowledged=acknowledged_file(world)))


@contextmanager
def cluster(order: ChaosOrder) -> Iterator[None]:
    """A Ray of its own on this machine, with this process' environment. It tells of every host that dies, which is
    what is done here, so what is printed meanwhile goes to a file beside the world."""
    talked = os.open(order.world.with_name("ray.txt"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    kept = os.dup(2)
    try:
        os.dup2(talked, 1)
        os.dup2(talked, 2)
        with connected(Settings()):
            yield
    finally:
        os.dup2(kept, 1)  # as it was in this worker: nothing may come between its lines
        os.dup2(kept, 2)
        os.close(kept)
        os.close(talked)


def life_through_ray(order: ChaosOrder, *, at: int) -> str | None:
    """Runs the session to its end in an empty world, its host killed at boundary `at`. What kept it from its end, in
    words; None when nothing did."""
    (order.world / BOUNDARY).write_text(str(at), encoding="utf-8")
    settings = Settings(home=order.world, log=str(order.log))
    session = SessionOrder(
        session=SESSION, scenario_text=order.scenario_text, source=order.source, seed=order.seed, cycles=order.cycles
    )
    try:
        host = Hosts(settings, kind=DyingHost, surroundings=surroundings_of(order))
        with closing(host):
            ended = [error for _, error in host.run([session], watch=lambda _: None) if error is not None]
    except EXPECTED as error:
        ended = [error]
    return str(ended[0]) if ended else None


def was_killed(order: ChaosOrder) -> bool:
    """Whether the last life in this world needed a second host."""
    return len((order.world / HOSTS).read_text(encoding="utf-8").splitlines()) > 1
