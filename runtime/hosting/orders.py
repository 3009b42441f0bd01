"""What crosses between a driver and a session host. Knows no Ray, so that it loads fast."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from loops.reasoners.language.settings import ModelDefaults
from runtime.models.registry.store import Registry, registry_of
from runtime.models.using import Reader
from runtime.scenario import Scenario
from runtime.settings import Settings
from telemetry.events.values import ModelId
from telemetry.log.latency import Latencies

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""One thread a process for BLAS and torch: several share few cores, and sums come out in one order."""


class Surroundings(BaseModel):
    """What hosts and phase actors take from the process that starts them, because theirs may lie elsewhere."""

    model_config = ConfigDict(frozen=True)

    models: ModelDefaults = ModelDefaults()
    folder: str | None = None
    """Where a relative workspace lies."""
    modules: str | None = None
    """Where a scenario's own modules are found, after everything that is installed, and its trained model where it is
    named by a relative folder; `folder` when None."""
    registry: Registry | None = None
    """Where trained models lie that are named by no folder."""

    def enter(self) -> None:
        found = self.modules or self.folder
        if found is not None and found not in sys.path:
            sys.path.append(found)

    def reader(self, scenario: Scenario) -> Reader:
        """Of the trained models that sessions of the scenario may act by."""
        return Reader(registry=self.registry, base=self.modules or self.folder, named=scenario.world_model.model)


def surroundings_of(settings: Settings) -> Surroundings:
    """Of a process that was started with these settings in the current folder."""
    return Surroundings(models=settings.model_defaults, folder=str(Path.cwd()), registry=registry_of(settings))


class SessionOrder(BaseModel):
    """What a host needs to run a session. Without `scenario_text` the session must already be on the log."""

    model_config = ConfigDict(frozen=True)

    session: str
    scenario_text: str | None = None
    source: str = "scenario"
    seed: int = 0
    cycles: int | None = None
    person: str | None = None
    """Whom the session serves, in place of the scenario's."""
    attended: bool = False
    """Somebody is there to speak and to answer: the session waits for them instead of resting."""
    model: ModelId | None = None
    """What a new session begins by: a trained model, or `base_id` of its scenario for what that says itself. None
    leaves it to what stands; without a purpose that has its say again once a cycle is closed."""
    purpose: Literal["evaluation"] | None = None
    """As `session.opened` says it."""


class HostStatus(BaseModel):
    """Sums over the sessions that this host process has run."""

    model_config = ConfigDict(frozen=True)

    running: int
    evicted: int = 0
    """Of the running ones those that are out of memory until somebody wants them."""
    sessions: int
    cycles: int
    episodes: int
    successes: int
    nats: float | None
    """Mean of the running sessions' latest surprises."""
    stalled: str | None
    waiting: str | None = None
    """What one of the running sessions waits for before it settles an effect."""
    pid: int
    owner: str
    """Its name on the log."""
    appends: Latencies = Field(default_factory=Latencies)
    """How long those took that its sessions waited for."""


class RunStatus(BaseModel):
    """Sums over the hosts of a run that answer."""

    model_config = ConfigDict(frozen=True)

    hosts: int
    deaths: int
    """How often a host died so far."""
    sessions: int
    running: int
    evicted: int
    cycles: int
    episodes: int
    successes: int
    nats: float | None
    stalled: str | None
    waiting: str | None
    pids: tuple[int, ...]
    learning: str | None = None
    """What is learnt beside the sessions now, in words."""
    telemetry: str | None = None
    """What keeps telemetry from going out now, in words."""

    @classmethod
    def of(cls, each: Sequence[HostStatus], *, hosts: int, deaths: int) -> RunStatus:
        """Of `hosts`, those in `each` answer."""
        surprised = [(status.nats, status.running) for status in each if status.nats is not None]
        weight = sum(running for _, running in surprised)
        return cls(
            hosts=hosts,
            deaths=deaths,
            sessions=sum(status.sessions for status in each),
            running=sum(status.running for status in each),
            evicted=sum(status.evicted for status in each),
            cycles=sum(status.cycles for status in each),
            episodes=sum(status.episodes for status in each),
            successes=sum(status.successes for status in each),
            nats=sum(nats * running for nats, running in surprised) / weight if weight else None,
            stalled=next((status.stalled for status in each if status.stalled is not None), None),
            waiting=next((status.waiting for status in each if status.waiting is not None), None),
            pids=tuple(status.pid for status in each),
        )
