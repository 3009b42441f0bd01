"""What crosses between the command and its worker: the order, one verdict a kill, and what they come to.

Invariant: a certificate is clean only when every kill that was tried left nothing lost, nothing done twice and the
undisturbed end."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from loops.reasoners.language.settings import ModelDefaults
from runtime.models.registry.store import Registry


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class ChaosOrder(_Frozen):
    """One session of a scenario, to be killed. `world` is emptied before each kill; its log lies in it."""

    scenario_text: str
    source: str
    seed: int
    cycles: int | None
    sample: int | None
    """How many boundaries are tried; None for all."""
    ray: int
    """How many more are tried through a real Ray."""
    ledger: str | None
    """Command that prints a line for each effect that really happened."""
    models: ModelDefaults
    folder: str
    """Where the scenario's own modules and its workspace are found, and a trained model's folder."""
    registry: Registry | None = None
    """Where trained models lie that are named by no folder: not in the world, which is emptied."""
    world: Path

    @property
    def log(self) -> Path:
        return self.world / "aether.db"


class Undisturbed(_Frozen):
    """The session that nobody killed."""

    status: str
    outcome: str | None
    cycles: int
    state_hash: str
    boundaries: int
    """Twice its commits: just before each reaches the log, and just after it was acknowledged."""
    tried: int


class Verdict(_Frozen):
    """What one kill left once the session was taken up again and ran to its end."""

    boundary: int
    killed: bool
    """False where the session ended before that boundary came: calls of one cycle may share a commit."""
    acknowledged_lost: int = 0
    effects_twice: int = 0
    effects_lost: int = 0
    unknown: int = 0
    differs: bool = False
    """Taking it up failed, or it ended otherwise than the undisturbed one although no outcome is unknown."""
    findings: tuple[str, ...] = ()
    """What is wrong, in words."""


class Line(_Frozen):
    """What the worker says: how the undisturbed session ended, then a verdict a kill; or what keeps it from that."""

    through_ray: bool = False
    undisturbed: Undisturbed | None = None
    verdict: Verdict | None = None
    error: str | None = None


class Kills(_Frozen):
    """The undisturbed session, and what was found wherever it was killed."""

    undisturbed: Undisturbed
    verdicts: tuple[Verdict, ...]

    @property
    def totals(self) -> dict[str, int]:
        """A column of the table."""
        return {
            "boundaries": self.undisturbed.boundaries,
            "killed": sum(v.killed for v in self.verdicts),
            "acknowledged_lost": sum(v.acknowledged_lost for v in self.verdicts),
            "effects_twice": sum(v.effects_twice for v in self.verdicts),
            "effects_lost": sum(v.effects_lost for v in self.verdicts),
            "differs": sum(v.differs for v in self.verdicts),
            "unknown": sum(v.unknown for v in self.verdicts),
        }

    @property
    def clean(self) -> bool:
        """Nothing lost, nothing twice, no other end, and at least one kill; an unknown outcome that is told is kept."""
        totals = self.totals
        wrong = ("acknowledged_lost", "effects_twice", "effects_lost", "differs")
        return totals["killed"] > 0 and not any(totals[name] for name in wrong)


class Certificate(Kills):
    """The verdicts of one scenario: killed in one process, and through a real Ray where that was asked for."""

    scenario: str
    seed: int
    ray: Kills | None = None

    @property
    def clean(self) -> bool:
        return super().clean and (self.ray is None or self.ray.clean)
