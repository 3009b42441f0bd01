"""What crosses between a driver and a session host. Knows no Ray, so that it loads fast."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class SessionOrder(BaseModel):
    """What a host needs to run a session. Without `scenario_text` the session must already be on the log."""

    model_config = ConfigDict(frozen=True)

    session: str
    scenario_text: str | None = None
    source: str = "scenario"
    seed: int = 0
    cycles: int | None = None


class HostStatus(BaseModel):
    """Sums over the sessions that this host process has run."""

    model_config = ConfigDict(frozen=True)

    running: int
    sessions: int
    cycles: int
    episodes: int
    successes: int
    nats: float | None
    """Mean of the running sessions' latest surprises."""
    stalled: str | None
    pid: int
