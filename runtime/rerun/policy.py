"""The policy under test: a session's own scenario with some of its organs replaced.

Knows how an organ is named on the command line and in a file; runs nothing. Invariant: what is not replaced is what
the session's first event pins."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

from pydantic import BaseModel, ValidationError

from heart.rules import HeartSettings
from loops.errors import ScenarioInvalid
from loops.reasoners.language.settings import ModelDefaults
from loops.scene import PINNED
from loops.spaces import Spaces
from runtime.compose import Phases, check_fit, compose
from runtime.errors import NotFound, UsageError
from runtime.explain import explain_validation, nearest
from runtime.models.registry.store import Registry
from runtime.models.using import ABSENT, Reader, choose
from runtime.scenario import Closed, ReasonerSettings, Scenario, WorldModelSettings, parse_scenario
from runtime.sessions import PREFIX
from telemetry.events import reason, session
from telemetry.events.values import ModelId
from telemetry.log import EventLog

Organ = Literal["reasoner", "heart", "world_model"]
ORGANS: tuple[Organ, ...] = get_args(Organ)

SETTINGS: Mapping[Organ, type[BaseModel]] = {
    "reasoner": ReasonerSettings,
    "heart": HeartSettings,
    "world_model": WorldModelSettings,
}
KINDS: Mapping[Organ, tuple[str, ...]] = {
    "reasoner": ("explore", "greedy", "active_inference"),
    "heart": ("none",),
    "world_model": ("linear", "none"),
}
"""What an organ can be replaced by in one word; a reasoner keeps the rest of what its scenario says of it. A world
model can be a trained one's name or folder too."""


class _Organs(Closed):
    """A file that holds organs and no whole scenario."""

    reasoner: ReasonerSettings | None = None
    heart: HeartSettings | None = None
    world_model: WorldModelSettings | None = None


@dataclass(frozen=True, slots=True)
class Replacement:
    """One organ's settings in place of the scenario's; with `kind` alone, only that of it."""

    organ: Organ
    given: str
    settings: BaseModel | None = None
    kind: str | None = None

    def applied(self, scenario: Scenario) -> Scenario:
        before: BaseModel = getattr(scenario, self.organ)
        after = self.settings or before.model_copy(update={"kind": self.kind})
        return scenario.model_copy(update={self.organ: after})


@dataclass(frozen=True, slots=True)
class Policy:
    """`live` lets language models be asked where no recorded answer is served."""

    replaced: tuple[Replacement, ...] = ()
    live: bool = False
    models: ModelDefaults = field(default_factory=ModelDefaults)
    """What this machine says of models; used for those that are asked now."""
    registry: Registry | None = None
    """Where trained models lie that are named by no folder."""

    def told(self) -> dict[str, str]:
        return {one.organ: one.given for one in self.replaced}

    def replaces(self, organ: Organ) -> bool:
        return any(one.organ == organ for one in self.replaced)

    def applied(self, scenario: Scenario) -> Scenario:
        for one in self.replaced:
            scenario = one.applied(scenario)
        return scenario


def read_policy(
    replaced: Mapping[str, str],
    *,
    live: bool = False,
    models: ModelDefaults | None = None,
    registry: Registry | None = None,
) -> Policy:
    """The policy that replaces each organ by what is given: one of its KINDS, a TOML file, which is a scenario or holds
    the organ's table, or for a world model the name of a trained one in `registry` or its folder. Raises
    `UsageError`."""
    read = tuple(_replacement(organ, given, registry) for organ, given in replaced.items())
    for one in read:
        if isinstance(one.settings, ReasonerSettings) and one.settings.kind == "language" and not live:
            raise UsageError(
                f"the reasoner of {one.given} asks language models, and what they would answer is on no log. "
                "Nothing was asked. To ask them, at their price: --live"
            )
    return Policy(read, live, models or ModelDefaults(), registry)


def _replacement(organ: str, given: str, registry: Registry | None) -> Replacement:
    if organ not in ORGANS:
        raise UsageError(f"there is no organ {organ!r} to replace{nearest(organ, ORGANS)}")
    name: Organ = next(one for one in ORGANS if one == organ)
    if given in KINDS[name]:
        return Replacement(name, given, HeartSettings()) if name == "heart" else Replacement(name, given, kind=given)
    path = Path(given)
    if path.is_file():
        return Replacement(name, given, _read(name, path))
    kinds = ", ".join(KINDS[name])
    if name != "world_model":
        raise UsageError(f"{organ}={given}: there is no such file, and in one word it can be: {kinds}")
    which = str(path.resolve()) if path.is_dir() else given
    try:
        choose(which, registry=registry)
    except NotFound as error:
        raise UsageError(f"{organ}={given}: it is no file, in one word it can be: {kinds}, and {error}") from error
    return Replacement(name, given, WorldModelSettings(kind="trained", model=which))


def _read(organ: Organ, path: Path) -> BaseModel:
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    if "environment" in document:
        return cast(BaseModel, getattr(parse_scenario(text, source=str(path)).scenario, organ))
    whole = _Organs if organ in document else SETTINGS[organ]
    try:
        read = whole.model_validate(document)
    except ValidationError as error:
        raise UsageError(explain_validation(error, whole, text=text, source=str(path))) from error
    return cast(BaseModel, getattr(read, organ)) if isinstance(read, _Organs) else read


class Composed(NamedTuple):
    """The policy for sessions of one scenario. Where the world model is `replaced`, all of them act by the trained
    model `model`, or by none; else each acts by the models that its log says. In a scenario whose sessions act by what
    is promoted, a trained model stands in as a promoted one: sessions plan by it."""

    scenario: Scenario
    phases: Phases
    replaced: bool
    model: ModelId | None

    def has(self, model: ModelId | None) -> None:
        """Raises `ScenarioInvalid` where the trained model is gone that a session acted by."""
        try:
            if model is not None:
                self.phases.models.load(model)
        except ABSENT as error:
            raise ScenarioInvalid(
                f"it went by the model {model}, and {str(error).rstrip('.')}; put that one back, or name another with "
                "--with world_model=NAME"
            ) from error


class Composer:
    """Builds the policy for session after session; those of one scenario share the phases, not the replicas."""

    def __init__(self, policy: Policy, log: EventLog) -> None:
        self.policy = policy
        self._log = log
        self._composed = lru_cache(maxsize=KEPT)(self._compose)

    def of(self, stream: str, first: session.Opened) -> Composed:
        """The policy for one session. Raises `ScenarioInvalid` where it does not fit what the session sees and does, or
        where the model is gone that the session began by."""
        source = f"the scenario of session {stream.removeprefix(PREFIX)}"
        recorded = parse_scenario(first.scenario_text, source=source).scenario
        language = recorded.reasoner.kind == "language" and not self.policy.replaces("reasoner")
        asked = self._model_asked(stream, recorded) if language else None
        composed = self._composed(first.scenario_text, source, asked)
        model = composed.model if composed.replaced else first.versions.get(PINNED)
        composed.has(model)
        check_fit(composed.scenario, Spaces.model_validate(first.spaces), composed.phases.models, model=model)
        return composed

    def _compose(self, text: str, source: str, asked: str | None) -> Composed:
        recorded = parse_scenario(text, source=source).scenario
        scenario, replaced = self.policy.applied(recorded), self.policy.replaces("world_model")
        which = scenario.world_model.model if replaced else None
        if which is not None and recorded.learning is not None and recorded.world_model.model is None:
            scenario = scenario.model_copy(update={"world_model": recorded.world_model})
        phases = compose(
            scenario,
            defaults=self.policy.models if asked is None else _with(self.policy.models, asked),
            read=Reader(registry=self.policy.registry, named=scenario.world_model.model),
            guided=not self.policy.replaces("reasoner"),
        )
        model = None if which is None else phases.models.load(which).model_id
        return Composed(scenario, phases, replaced, model)

    def _model_asked(self, stream: str, recorded: Scenario) -> str | None:
        """The model that was asked where the scenario names none: this machine may have another one in its settings."""
        unnamed = {name for name, one in recorded.reasoner.language.endpoints.items() if one.model is None}
        if not unnamed:
            return None
        for requested in self._log.read(stream, types=("reason.requested",)):
            event = requested.event
            if isinstance(event, reason.Requested) and event.endpoint in unnamed:
                return event.model
        return None if self.policy.live else NEVER_ASKED


KEPT = 16
"""Scenarios whose phases are kept; a session of another one only takes a moment longer."""

NEVER_ASKED = "never-asked"
"""Stands for the model of a session that asked none, where no settings name one."""


def _with(defaults: ModelDefaults, model: str) -> ModelDefaults:
    return defaults.model_copy(update={"model": model})
