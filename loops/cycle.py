"""The order of phases in one cycle. Knows barriers and commands; knows nothing of Ray, models or storage.

Invariant: folding the events of `run_cycle` gives the state it leaves in the journal, and a command that is
already on the log is not done again, so a cycle that was cut off anywhere goes on where it stopped."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Literal

from loops.acting import act
from loops.execute import Execute
from loops.feel import Feel
from loops.frame import Conversation, Cycle
from loops.learn import Learn
from loops.ports import PhaseMethod
from loops.reason import Reason
from loops.sense import Sense
from loops.state import MAX_STATE_BYTES, REDUCER, apply, state_hash
from telemetry.events import session

Result = Literal["closed", "waiting", "held", "failed"]

FEELING: Mapping[str, PhaseMethod] = {"feel": Feel.request}
REASONING: Mapping[str, PhaseMethod] = {
    "propose": Reason.propose,
    "appraise": Feel.proposals,
    "decide": Reason.decide,
}
LEARNING: Mapping[str, PhaseMethod] = {"learn": Learn.cycle}
"""The steps between sensing and acting, and after it, by the names of their commands."""


async def run_cycle(cycle: Cycle) -> Result:
    """Runs the next cycle, or the rest of the one that is open, to its close on disk.

    "waiting": a person was asked, the cycle stays open. "held": it stays open because the session was asked to stop
    before it could settle an effect. "failed": the environment failed, which is recorded.
    Raises `EnvironmentFailed` when the environment fails before there is anything to record against."""
    journal = cycle.journal
    number = journal.state.cycle if journal.cycle_is_open else journal.state.cycle + 1
    if not journal.recorded(f"{number}.open"):
        journal.record(f"{number}.open", (session.CycleOpened(cycle=number),))
    if cycle.conversation is not None:
        await _hear(cycle, cycle.conversation)
    else:
        await _sense(cycle)
    await _recall(cycle)
    observed = journal.scene.observed
    assert observed is not None
    if not observed.ends_episode:
        if cycle.conversation is not None:
            await _steps(cycle, FEELING)
            await _ask(cycle)
            await _steps(cycle, REASONING)
        else:
            await _steps(cycle, {**FEELING, **REASONING})
        acted = await act(cycle)
        if acted != "done":
            return acted
    if not journal.state.failed:
        await _steps(cycle, LEARNING)
    await _close(cycle)
    return "failed" if journal.state.failed else "closed"


async def _sense(cycle: Cycle) -> None:
    journal, command = cycle.journal, cycle.command("sense")
    if journal.recorded(command):
        return
    began = time.perf_counter_ns()
    percept = cycle.shown.pop(cycle.moment, None)
    if percept is None:
        percept = await cycle.phases.run(Execute.perceive, cycle.context)
    events = await cycle.phases.run(Sense.observe, cycle.context, percept)
    journal.record(command, events, elapsed_ns=time.perf_counter_ns() - began)


async def _hear(cycle: Cycle, conversation: Conversation) -> None:
    """What people said is on disk before anybody is told that it was heard."""
    journal, command = cycle.journal, cycle.command("sense")
    if journal.recorded(command):
        return
    heard = conversation.take()
    journal.record(command, await cycle.phases.run(Sense.hear, cycle.context, heard))
    if heard:
        await journal.commit()
        conversation.kept()


async def _recall(cycle: Cycle) -> None:
    journal, command = cycle.journal, cycle.command("recall")
    if cycle.recall is None or journal.recorded(command):
        return
    began = time.perf_counter_ns()
    recalled = await cycle.recall(cycle.context)
    if recalled is not None:
        journal.record(command, (recalled,), elapsed_ns=time.perf_counter_ns() - began)


async def _ask(cycle: Cycle) -> None:
    """A call of a model is an effect that may be repeated but is paid, so it is on disk before it is made. Its answer
    reaches the disk with the intent that follows from it, which only pure phases come before."""
    journal, command = cycle.journal, cycle.command("answer")
    await _steps(cycle, {"request": Reason.request})
    if journal.recorded(command) or not journal.scene.requests:
        return
    await journal.commit()
    began = time.perf_counter_ns()
    answers = await cycle.phases.run(Reason.answer, cycle.context)
    journal.record(command, answers, elapsed_ns=time.perf_counter_ns() - began)


async def _close(cycle: Cycle) -> None:
    journal = cycle.journal
    number = journal.state.cycle
    closing = session.CycleClosed(cycle=number, state_hash="0" * 64, reducer=REDUCER, usage=journal.scene.usage)
    closed = closing.model_copy(
        update={"state_hash": state_hash(apply(journal.state, closing), at_most=MAX_STATE_BYTES)}
    )
    journal.record(f"{number}.close", (closed,))
    await journal.commit()


async def _steps(cycle: Cycle, steps: Mapping[str, PhaseMethod]) -> None:
    """Runs phase methods in order and records the events of each under `<cycle>.<name>`, unless they stand."""
    journal = cycle.journal
    missing = {cycle.command(name): method for name, method in steps.items()}
    missing = {command: method for command, method in missing.items() if not journal.recorded(command)}
    commands = iter(missing)
    async for answer in cycle.phases.steps(lambda: cycle.context, list(missing.values())):
        journal.record(next(commands), answer.events, elapsed_ns=answer.elapsed_ns)
