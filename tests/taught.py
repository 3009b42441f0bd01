"""A log on which real sessions taught a real model, which was judged and promoted, and by which others act."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runtime.entry import entered
from runtime.lineage.ask import walk
from runtime.lineage.records import acting
from runtime.lineage.values import Node
from runtime.models.learnt import Learnt
from telemetry.events import Draft, learn, reason
from telemetry.events.values import EventId, ModelId, Move, digest_of
from telemetry.log import EventLog
from tests.local import Local
from tests.trained import line, trained

EXPLORE = """
name = "explore"
environment = { id = "gymnasium:AetherLine-v0", max_frames = 6, episodes = 1 }
world_model = { kind = "none" }
memory = { recall = 0 }
"""
LEARNT, ACTING, MANY = 3, 2, 1000
STAY = Move(to=0)
DECIDED = reason.Decided(proposal=0, action=STAY, arguments=digest_of(STAY), options=(), why="as foreseen")


@dataclass(frozen=True)
class Chain:
    """A log on which sessions taught `model`, it was judged and promoted, and others acted by it."""

    log: EventLog
    local: Local
    model: ModelId
    base: ModelId
    training: EventId
    evaluated: EventId
    promoted: EventId

    def walk(self, what: str, *, forward: bool = False, limit: int = MANY, kept: Learnt | None = None) -> Node:
        return walk(self.log, what, shelf=lambda _: kept, limit=limit, forward=forward)

    def end(self, name: str) -> EventId:
        return self.local.events(name)[-1].id

    def decisions(self, name: str) -> list[EventId]:
        return [recorded.id for recorded in self.local.events(name, "reason.decided")]


def taught(local: Local, folder: Path) -> Chain:
    log, model = local.log, trained(folder)
    for number in range(LEARNT):
        local.run(f"teach-{number}", EXPLORE, seed=number)
    local.run("bystander", EXPLORE, seed=77)
    local.run("late", EXPLORE, seed=78, cycles=2)
    ends = tuple(local.events(f"teach-{number}")[-1].id for number in range(LEARNT))
    base = _acting(log, "bystander")
    told = learn.TrainingProgressed(model="tiny", run="t1", step=30, steps=60, loss=0.5, held_out=0.9)
    entered(log, told, refs=(), run="t1.30")
    training = entered(log, training_of(model, log.position()), refs=ends, run="t1")
    judged = []
    for number in range(2):
        local.run(f"pair-{number}-a", line(folder).replace("episodes = 9", "episodes = 1"), seed=number)
        local.run(f"pair-{number}-b", EXPLORE, seed=number)
        judged += [f"session/pair-{number}-{arm}@1" for arm in "ab"]
    looked = learn.ModelEvaluated(model=model, incumbent=base, scenario="explore", pairs=2, figures={"cycles": 3.5})
    evaluated = entered(log, looked, refs=tuple(judged), run="j1.2")
    figures = {"cycles": 3.5, "lower": 1.25}
    canary = learn.ModelPromoted(model=model, incumbent=base, figures={**figures}, share=0.1)
    entered(log, canary, refs=(evaluated,), run="canary")
    promoted = entered(log, canary.model_copy(update={"share": 1.0}), refs=(evaluated,), run="all")
    for number in range(ACTING):
        local.run(f"act-{number}", line(folder).replace("episodes = 9", "episodes = 1"), seed=number)
    adopted = learn.ModelAdopted(model=model, before=base, why="promoted")
    local.append("late", Draft(event=adopted, command="adopt.1"))
    local.append("late", Draft(event=DECIDED, command="c3", cycle=3))
    return Chain(log, local, model, base, training, evaluated, promoted)


def training_of(model: ModelId, to: int) -> learn.ModelTrained:
    return learn.ModelTrained(
        model=model,
        from_position=1,
        to_position=to,
        data="d" * 64,
        config={"kind": "jepa", "transitions": 18, "scenarios": ["explore"]},
        code="0.9+abc",
        metrics={"error_over_copy": 0.25, "rank": 2.0},
    )


def _acting(log: EventLog, name: str) -> ModelId:
    found = acting(log, f"session/{name}")
    assert found is not None
    return found.model
