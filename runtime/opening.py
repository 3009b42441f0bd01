"""How a session begins on a host: it is opened, or taken up where it rests.

Knows what its first event pins, and what must be the same when it goes on; knows nothing of cycles. Invariant: nothing
is written before all that the session needs is there, and fits it."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Literal

from loops.errors import EnvironmentFailed, ScenarioInvalid
from loops.journal import Journal
from loops.scene import PINNED
from loops.spaces import Spaces
from runtime import __version__
from runtime.adopting import due
from runtime.compose import check_fit
from runtime.errors import Unavailable
from runtime.hosting.placement import Placement
from runtime.models.standing import Standing, base_id
from runtime.models.using import ABSENT
from runtime.playbooks import find
from runtime.scenario import ScenarioFile
from runtime.sessions import resting
from telemetry.events import session
from telemetry.events.values import EffectClass, ModelId
from telemetry.log import EventLog

LIBRARIES = (
    "gymnasium",
    "gymnasium-robotics",
    "mcp",
    "minigrid",
    "mujoco",
    "numpy",
    "openai",
    "qdrant-edge-py",
    "scipy",
    "torch",
)
"""What can change what a session does; their versions are pinned in its first event."""


Purpose = Literal["evaluation"]


@dataclass(frozen=True, slots=True)
class Told:
    """What a session is opened with. `model` as an order gives it."""

    seed: int
    cycles: int | None = None
    person: str | None = None
    model: ModelId | None = None
    purpose: Purpose | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """`owner` names this host; the journal is loaded when it is used. `standing` says what stands of the models that
    sessions of the scenario follow, None where they follow none."""

    journal: Journal
    file: ScenarioFile
    log: EventLog
    placement: Placement
    owner: str
    standing: Callable[[], Standing] | None = None

    async def begin(self, told: Told) -> EffectClass:
        """Opens the session with what is told of it, or takes it up under an epoch of its own with what it was opened
        with; the effects of its actions are of the class returned.

        Raises `Unavailable` when its environment or its model is not there now, `EnvironmentFailed` when its
        environment has other spaces, and of a new session what keeps it from being opened."""
        journal = self.journal
        person = journal.scene.person if journal.version else told.person
        spaces, effect_class = await self._described(person)
        if journal.version == 0:
            await self._open(told, spaces)
        else:
            await self._take_up(spaces)
        await journal.commit()
        return effect_class

    async def _described(self, person: str | None) -> tuple[Spaces, EffectClass]:
        stream = self.journal.stream
        try:
            return await self.placement.describe(stream, person)
        except (EnvironmentFailed, ScenarioInvalid) as error:
            if self.journal.version == 0:
                raise
            # A server that is down for now must not cost the session, nor what became of its last effect.
            why = str(error).rstrip(".")
            raise Unavailable(f"{why}. {resting(stream, 'that is put right')}") from error

    async def _open(self, told: Told, spaces: Spaces) -> None:
        model = await asyncio.to_thread(self._acting, told.model, spaces)  # it may load one
        scenario, playbook = self.file.scenario, self.file.scenario.reasoner.playbook
        first = session.Opened(
            scenario=scenario.name,
            scenario_text=self.file.text,
            scenario_digest=self.file.digest,
            seed=told.seed,
            cycles=told.cycles,
            environment=scenario.environment.id,
            spaces=spaces.describe(),
            versions=_versions(model),
            person=told.person,
            playbook=None if playbook is None else find(self.log, playbook),
            purpose=told.purpose,
        )
        self.journal.record("open", (first,))

    def _acting(self, ordered: ModelId | None, spaces: Spaces) -> ModelId | None:
        """The trained model that the session begins by, in memory: what was ordered, what stands, or what the scenario
        says. Raises `NotFound` for one that is not there, and what does not fit."""
        local = self.placement.local
        model = None if ordered == base_id(self.file) else ordered
        if ordered is None and self.standing is not None:
            model = self.standing().of(self.journal.stream)
        model = model or self.placement.named()
        check_fit(self.file.scenario, spaces, local.models, model=model)
        local.acts(self.journal.stream, model)
        return model

    async def _take_up(self, spaces: Spaces) -> None:
        journal = self.journal
        known = journal.scene.spaces
        if known is None or not known.fits(spaces):
            raise EnvironmentFailed(
                f"the environment now has the spaces {spaces.describe()}, the session began with "
                f"{known and known.describe()}",
                "invalid",
            )
        await self._act_on()
        rested = journal.last_type in ("session.suspended", "session.forked")
        journal.take_over()
        resumed = session.Resumed(
            after="suspended" if rested else "interrupted", owner=self.owner, verified_to=journal.committed
        )
        journal.record(f"resume.{journal.epoch}", (resumed,))

    async def _act_on(self) -> None:
        """Has the trained model in memory that the session acts by, unless it is to take up another one first."""
        stream, model = self.journal.stream, self.journal.scene.model
        if self.standing is not None:
            await asyncio.to_thread(self.standing)  # read once, where nobody waits for the disk
        try:
            await asyncio.to_thread(self.placement.local.acts, stream, model)
        except ABSENT as error:
            if self.standing is not None and due(self.standing(), self.journal, self.file.scenario) is not None:
                return  # it goes on by another one
            why = f"the session acts by the model {model}, and {str(error).rstrip('.')}"
            raise Unavailable(f"{why}. {resting(stream, f'{model} is there again')}") from error


def _versions(model: ModelId | None) -> dict[str, str]:
    return _libraries() if model is None else _libraries() | {PINNED: model}


@cache
def _libraries() -> dict[str, str]:
    return {
        "aetherloop": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }
