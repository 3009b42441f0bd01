"""A scenario: what a session is run with, as one TOML file. Read once, checked whole, then frozen.

Knows every organ's settings; knows no machine. Invariant: the file's text is enough to build the session again,
so that text is what `session.opened` pins."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from heart.rules import HeartSettings
from loops.environments import EnvironmentSettings
from loops.reasoners.language.settings import LanguageSettings
from memory.settings import MemorySettings
from runtime.errors import UsageError
from runtime.explain import explain_validation
from world_model.plan.settings import PlanSettings

Phase = Literal["sense", "feel", "reason", "execute", "learn"]
HOST = "host"


class Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ReasonerSettings(Closed):
    """`explore`: random persistent actions. `greedy`: one step on the linear model toward the declared goal.
    `active_inference`: courses of action many steps ahead, weighed by expected free energy. `language`: language
    models that call tools."""

    kind: Literal["explore", "greedy", "active_inference", "language"] = "explore"
    hold: int = Field(default=4, ge=1)
    """Cycles that a random action is kept on average."""
    explore: float = Field(default=0.2, ge=0, le=1)
    """Share of its cycles in which `greedy` explores."""
    planning: PlanSettings = PlanSettings()
    """How `active_inference` looks ahead."""
    language: LanguageSettings = LanguageSettings()
    """What `language` asks, and how."""
    playbook: str | None = None
    """A playbook on the log by name, or `name@version`; new sessions begin with it."""


class ConversationSettings(Closed):
    """The people of a conversation."""

    person: str | None = None
    """Whom the session serves, by the name its tools and rules know."""
    messages: tuple[str, ...] = ()
    """What the person says, each when the agent has nothing more to do; the session is done after the last."""


class WorldModelSettings(Closed):
    """`linear`: recursive least squares on the session's own transitions. `trained`: a model that `aether train
    world-model` made, its weights frozen. `none`: nothing is predicted or learnt."""

    kind: Literal["linear", "trained", "none"] = "linear"
    """What predicts the next observation; `none` leaves prediction, surprise and belief out."""
    model: str | None = None
    """A trained model: `NAME` or `NAME@DIGEST` of this machine's, or the `FOLDER/` it lies in. With `linear` only its
    landmarks are used, in planning."""

    @model_validator(mode="after")
    def _model_is_used(self) -> WorldModelSettings:
        if self.kind == "trained" and self.model is None:
            raise ValueError('kind = "trained" needs model, the name of one; there are: aether model list')
        if self.kind == "none" and self.model is not None:
            raise ValueError(f'kind = "none" predicts nothing, so the model {self.model!r} would not be used')
        return self


class Schedule(Closed):
    """When a running fleet learns by itself; whichever comes first."""

    episodes: int | None = Field(default=None, ge=1)
    """After so many episodes since the last training."""
    drift_nats: float | None = Field(default=None, gt=0)
    """When surprise has risen by so many nats a dimension above what it was after the last training."""


class LearningSettings(Closed):
    """Sessions of this scenario are what a model is learnt from, and act by it once it is promoted."""

    model: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """The model's name; the scenario's without one."""
    kind: Literal["jepa", "linear"] | None = None
    """What is trained; left out: linear where the world declares a goal, else jepa."""
    steps: int | None = Field(default=None, ge=1)
    """Of a training; left out, the configuration's."""
    transitions: int = Field(default=6000, ge=1)
    """Moves that the sessions of a round make at least, before it trains."""
    workers: int = Field(default=1, ge=1)
    """Ray Train workers of a training."""
    gpu: bool = False
    """Whether each of them takes a GPU."""
    pairs: tuple[int, ...] = Field(default=(40, 80, 160), min_length=1)
    """Pairs of evaluation sessions after which a candidate is judged, rising; after the last it is decided."""
    budget: int | None = Field(default=None, ge=1)
    """Cycles that an evaluation may take, at which a failure is counted; left out, what an episode allows."""
    canary: float = Field(default=1.0, gt=0, le=1)
    """Share of the sessions that a promoted model goes to first."""
    schedule: Schedule = Schedule()
    """When a running fleet learns by itself; without it `aether learn` does."""

    @model_validator(mode="after")
    def _pairs_rise(self) -> LearningSettings:
        if any(later <= earlier for earlier, later in pairwise(self.pairs)) or self.pairs[0] < 2:
            raise ValueError(f"pairs must rise from 2 on; here they are {list(self.pairs)}")
        return self


class Pool(Closed):
    """Phase actors of their own. Each asks Ray for `cpus` and `gpus`."""

    actors: int = Field(default=1, ge=1)
    """Sessions are spread over this many actors, each session always to the same one."""
    cpus: float = Field(default=1, ge=0)
    """CPUs that each actor asks Ray for."""
    gpus: float = Field(default=0, ge=0)
    """GPUs that each actor asks Ray for."""


class Timeouts(Closed):
    """How long a phase may take before the session says that it hung. Light phases in the host are plain calls
    that nothing can interrupt; a phase that may hang belongs in a pool."""

    sense_s: float = Field(default=30, gt=0)
    """Seconds, in a pool."""
    feel_s: float = Field(default=30, gt=0)
    """Seconds, in a pool."""
    reason_s: float = Field(default=60, gt=0)
    """Seconds, in a pool. A model's answer is bounded by its endpoint's time-out and retries instead."""
    execute_s: float = Field(default=60, gt=0)
    """Seconds, in a pool or in the host."""
    learn_s: float = Field(default=30, gt=0)
    """Seconds, in a pool."""

    def of(self, phase: Phase) -> float:
        return float(getattr(self, f"{phase}_s"))


class Scenario(Closed):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Lower-case letters, digits, `-` and `_`."""
    seed: int = Field(default=0, ge=0)
    """Every session's seed is derived from it, and all randomness from that."""
    sessions: int = Field(default=1, ge=1)
    """How many sessions a run opens."""
    cycles: int | None = Field(default=None, ge=1)
    """A budget a session; without one it ends with its episodes."""
    environment: EnvironmentSettings
    reasoner: ReasonerSettings = ReasonerSettings()
    conversation: ConversationSettings = ConversationSettings()
    world_model: WorldModelSettings = WorldModelSettings()
    learning: LearningSettings | None = None
    memory: MemorySettings = MemorySettings()
    heart: HeartSettings = HeartSettings()
    placement: dict[Phase, str] = {}
    """Where each phase runs: "host", or the name of a pool."""
    pools: dict[str, Pool] = {}
    timeouts: Timeouts = Timeouts()

    @model_validator(mode="after")
    def _placements_exist(self) -> Scenario:
        for phase, pool in self.placement.items():
            if pool != HOST and pool not in self.pools:
                known = ", ".join((HOST, *self.pools))
                raise ValueError(f"placement.{phase} names the pool {pool!r}; there are: {known}")
        if HOST in self.pools:
            raise ValueError("a pool cannot be called 'host': that word means the session's own host")
        return self


@dataclass(frozen=True, slots=True)
class ScenarioFile:
    """A scenario and the text it came from."""

    scenario: Scenario
    text: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def read_scenario(path: Path) -> ScenarioFile:
    """Raises `UsageError` with file, line and the nearest known key for anything that cannot be meant."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"scenario {path} cannot be read: {error}") from error
    return parse_scenario(text, source=str(path))


def parse_scenario(text: str, *, source: str) -> ScenarioFile:
    """As `read_scenario`, for a text that comes from `source`."""
    try:
        return ScenarioFile(Scenario.model_validate(tomllib.loads(text)), text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{source} is not TOML: {error}") from error
    except ValidationError as error:
        raise UsageError(explain_validation(error, Scenario, text=text, source=source)) from error
