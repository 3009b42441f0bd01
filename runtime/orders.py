"""What crosses between a driver and a session host. Knows no Ray, so that it loads fast."""

from __future__ import annotations

import sys

from pydantic import BaseModel, ConfigDict

from loops.reasoners.language.settings import ModelDefaults

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""One thread a process for BLAS and torch: several share few cores, and sums come out in one order."""


class Surroundings(BaseModel):
    """What hosts and phase actors take from the process that starts them, because theirs may lie elsewhere."""

    model_config = ConfigDict(frozen=True)

    models: ModelDefaults = ModelDefaults()
    folder: str | None = None
    """Where a relative workspace lies."""
    modules: str | None = None
    """Where a scenario's own modules are found, after everything that is installed; `folder` when None."""

    def enter(self) -> None:
        found = self.modules or self.folder
        if found is not None and found not in sys.path:
            sys.path.append(found)


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
