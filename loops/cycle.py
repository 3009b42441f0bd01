"""The order of phases in one cycle. Knows barriers and commands; knows nothing of Ray, models or storage.

Invariant: folding the events of `run_cycle` gives the state it leaves in the journal, and a command that is
already on the log is not done again, so a cycle that was cut off anywhere goes on where it stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from loops.context import Context
from loops.effects import SETTLE
from loops.errors import EnvironmentFailed
from loops.execute import Execute, ask, intend, outcome
from loops.feel import Feel
from loops.journal import Journal
from loops.learn import Learn
from loops.percept import Percept
from loops.ports import PhaseMethod, PhaseRunner, Recall
from loops.reason import Reason
from loops.sense import Sense
from loops.state import MAX_STATE_BYTES, REDUCER, apply, state_hash
from telemetry.events import Event, execute, reason, session
from telemetry.events.values import EffectClass, Wait

Result = Literal["closed", "waiting", "failed"]

REASONING: Mapping[str, PhaseMethod] = {
    "feel": Feel.request,
    "propose": Reason.propose,
    "appraise": Feel.proposals,
    "decide": Reason.decide,
}
LEARNING: Mapping[str, PhaseMethod] = {"learn": Learn.cycle}
"""The steps between sensing and acting, and after it, by the names of their commands."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """What one session's cycles run on. `executor` names who attempts effects, `limit_ns` how long each may take."""

    journal: Journal
    phases: PhaseRunner
    recall: Recall | None
    effect_class: EffectClass
    executor: str
    limit_ns: int
    clock: Callable[[], int] = time.time_ns
    shown: dict[tuple[int, int], Percept] = field(default_factory=dict)
    """What the last action led to, by episode and step, so that it need not be asked for again."""


async def run_cycle(cycle: Cycle) -> Result:
    """Runs the next cycle, or the rest of the one that is open, to its close on disk.

    "waiting": a person was asked, the cycle stays open. "failed": the environment failed, which is recorded.
    Raises `EnvironmentFailed` when the environment fails before there is anything to record against."""
    journal = cycle.journal
    number = journal.state.cycle if journal.cycle_is_open else journal.state.cycle + 1
    if not journal.recorded(f"{number}.open"):
        journal.record(f"{number}.open", (session.CycleOpened(cycle=number),))
    await _sense(cycle)
    observed = journal.scene.observed
    assert observed is not None
    if not observed.ends_episode:
        await _steps(cycle, REASONING)
        if await _execute(cycle) == "waiting":
            return "waiting"
    if not journal.state.failed:
        await _steps(cycle, LEARNING)
    await _close(cycle)
    return "failed" if journal.state.failed else "closed"


async def _sense(cycle: Cycle) -> None:
    journal = cycle.journal
    command = _command(journal, "sense")
    if not journal.recorded(command):
        began = time.perf_counter_ns()
        percept = cycle.shown.pop(_moment(journal), None)
        if percept is None:
            percept = await cycle.phases.run(Execute.perceive, _context(journal))
        events = await cycle.phases.run(Sense.observe, _context(journal), percept)
        journal.record(command, events, elapsed_ns=time.perf_counter_ns() - began)
    command = _command(journal, "recall")
    if cycle.recall is not None and not journal.recorded(command):
        began = time.perf_counter_ns()
        recalled = await cycle.recall(_context(journal))
        if recalled is not None:
            journal.record(command, (recalled,), elapsed_ns=time.perf_counter_ns() - began)


async def _execute(cycle: Cycle) -> Literal["done", "waiting"]:
    journal = cycle.journal
    decided = journal.scene.decided
    assert decided is not None
    if isinstance(decided.action, Wait):
        return "done"
    if not await _approved(cycle, decided):
        return "waiting" if journal.state.waiting else "done"
    command = _command(journal, "outcome")
    if journal.recorded(command):
        return "done"
    intent = _command(journal, "intend")
    settling = journal.recorded(intent)
    if not settling:
        deadline = cycle.clock() + cycle.limit_ns
        events = intend(_context(journal), effect_class=cycle.effect_class, executor=cycle.executor, deadline=deadline)
        journal.record(intent, events)
        await journal.commit()
    began = time.perf_counter_ns()
    event, percept = await _attempt(cycle, settling=settling)
    journal.record(command, (event,), elapsed_ns=time.perf_counter_ns() - began)
    if percept is not None:
        cycle.shown[_moment(journal)] = percept
    return "done"


async def _attempt(cycle: Cycle, *, settling: bool) -> tuple[Event, Percept | None]:
    """The honest outcome of the intended effect, and what the world shows after it; an effect that may have
    happened already is settled by its class."""
    intended = cycle.journal.scene.intended
    assert intended is not None
    if settling and SETTLE[intended.effect_class] == "unknown":
        why = "its owner stopped between dispatch and answer, and it must not be repeated"
        return execute.UnknownOutcome(effect=intended.effect, why=why), None
    try:
        percept: Percept = await cycle.phases.run(Execute.act, _context(cycle.journal))
    except EnvironmentFailed as error:
        return execute.Failed(effect=intended.effect, kind=error.kind, error=str(error)), None
    return outcome(intended.effect, percept), percept


async def _approved(cycle: Cycle, decided: reason.Decided) -> bool:
    """Whether the decision may go ahead: allowed by the heart, or by a person who was asked."""
    journal = cycle.journal
    verdict = next(o.verdict for o in decided.options if o.proposal == decided.proposal)
    if verdict == "allow":
        return True
    if journal.state.asked is None:
        journal.record(_command(journal, "ask"), (ask(_context(journal)),))
        await journal.commit()
    return journal.state.asked is not None and journal.state.asked.granted is True


async def _close(cycle: Cycle) -> None:
    journal = cycle.journal
    number = journal.state.cycle
    closing = session.CycleClosed(cycle=number, state_hash="0" * 64, reducer=REDUCER)
    closed = closing.model_copy(
        update={"state_hash": state_hash(apply(journal.state, closing), at_most=MAX_STATE_BYTES)}
    )
    journal.record(f"{number}.close", (closed,))
    await journal.commit()


async def _steps(cycle: Cycle, steps: Mapping[str, PhaseMethod]) -> None:
    """Runs phase methods in order and records the events of each under `<cycle>.<name>`, unless they stand."""
    journal = cycle.journal
    missing = {_command(journal, name): method for name, method in steps.items()}
    missing = {command: method for command, method in missing.items() if not journal.recorded(command)}
    commands = iter(missing)
    async for answer in cycle.phases.steps(lambda: _context(journal), list(missing.values())):
        journal.record(next(commands), answer.events, elapsed_ns=answer.elapsed_ns)


def _moment(journal: Journal) -> tuple[int, int]:
    return journal.state.episode, journal.state.step


def _command(journal: Journal, name: str) -> str:
    return f"{journal.state.cycle}.{name}"


def _context(journal: Journal) -> Context:
    return Context(stream=journal.stream, state=journal.state, scene=journal.scene)
