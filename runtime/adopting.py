"""A session that goes by what stands takes it up between two cycles: the model that was promoted, or what it was rolled
back to.

Knows the journal, the placement and what stands; knows nothing of evaluation. Invariant: nothing is recorded before the
model is in memory and fits the session's world, and a session that could not take one up goes on as it did."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import Callable

from loops.errors import ScenarioInvalid
from loops.journal import Journal
from runtime.compose import check_model
from runtime.hosting.placement import Placement
from runtime.models.standing import Choice, Standing
from runtime.models.using import ABSENT
from runtime.scenario import Scenario
from telemetry.events import learn
from telemetry.events.values import ModelId

RETRY_S = 30.0
"""A model that could not be taken up is looked for again after so long: its place may be out of reach for a while."""


def due(standing: Standing, journal: Journal, scenario: Scenario) -> Choice | None:
    """What the session is to act by from its next cycle on, in place of what it acts by; None where it goes on so, or
    where a cycle is open, none was closed yet, or it follows nothing because it is an evaluation."""
    if journal.cycle_is_open or not journal.state.cycles_closed or journal.scene.purpose is not None:
        return None
    choice = standing.choice(journal.stream)
    if not standing.said or choice.model == journal.scene.model:
        return None
    says_nothing = choice.model is None and scenario.world_model.model is not None
    return None if says_nothing else choice


class Adopter:
    """`standing` says what stands, the same object until that changes; None where the session follows nothing."""

    def __init__(
        self, journal: Journal, scenario: Scenario, placement: Placement, standing: Callable[[], Standing] | None
    ) -> None:
        self._journal = journal
        self._scenario = scenario
        self._placement = placement
        self._standing = standing
        self._weighed: Standing | None = None
        """What the session goes by already, or could not take up."""
        self._again_at = 0.0

    async def look(self) -> None:
        """To be called between two cycles. Records `learn.model_adopted` where the session is to act by another model
        from the next one on."""
        if self._standing is None:
            return
        journal, standing = self._journal, self._standing()
        if standing is self._weighed and time.monotonic() < self._again_at:
            return
        choice = due(standing, journal, self._scenario)
        if choice is None:
            self._weighed, self._again_at = (standing, math.inf) if journal.state.cycles_closed else (None, 0.0)
            return
        before = journal.scene.model
        if choice.model is not None:
            try:
                await asyncio.to_thread(self._take, choice.model)
            except (*ABSENT, ScenarioInvalid) as error:
                self._weighed, self._again_at = standing, time.monotonic() + RETRY_S
                goes_on = "as its scenario says" if before is None else f"by {before}"
                sys.stderr.write(f"{journal.stream} goes on {goes_on}: {error}\n")
                return
        self._weighed, self._again_at = standing, math.inf
        adopted = learn.ModelAdopted(model=choice.model, before=before, why=choice.why)
        journal.record(f"adopt.{journal.version}", (adopted,), refs=(choice.by,) if choice.by else ())

    def _take(self, model: ModelId) -> None:
        local, spaces = self._placement.local, self._journal.scene.spaces
        assert spaces is not None, "a session is opened with its spaces"
        check_model(self._scenario, spaces, local.models, model)
        local.acts(self._journal.stream, model)
