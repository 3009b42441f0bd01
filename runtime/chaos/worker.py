"""The process that kills a session again and again: `python -m runtime.chaos.worker`, started by `certify`.

Has everything loaded and no threads, so that a life is a fork away. Invariant: every kill begins in an empty world and
is judged by what the lives left there, never by what they returned."""

from __future__ import annotations

import ctypes
import os
import random
import shlex
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module

from runtime.chaos import judge
from runtime.chaos.lives import NEVER, SESSION, STREAM, acknowledged, fresh, life, said
from runtime.chaos.values import ChaosOrder, Line, Undisturbed, Verdict
from runtime.errors import EXPECTED, RuntimeFailure, UsageError
from runtime.replay import replay
from runtime.scenario import parse_scenario
from runtime.sessions import row_of
from telemetry.log import EventLog, open_log

LEDGER_TIMEOUT_S = 60.0
PR_SET_PDEATHSIG = 1
"""From <sys/prctl.h>."""
LOADED_EARLY = ("telemetry.log.schema", "telemetry.log.sqlite.database", "memory.project")
LOADED_BY_WORLDS = ("loops.environments.gymnasium", "minigrid")
LOADED_BY_CONVERSATIONS = ("loops.reasoners.language.reasoner", "loops.environments.tools.environment")
"""Modules that lives would load each for itself; loading them starts no threads."""


def main() -> None:
    if sys.platform == "linux":  # elsewhere a command that is killed leaves its worker to end by itself
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not come between the lines
    order = ChaosOrder.model_validate_json(sys.stdin.readline())
    try:
        for line in _lines(order):
            out.write(f"{line.model_dump_json()}\n")
            out.flush()
    except EXPECTED as error:
        out.write(f"{Line(error=str(error)).model_dump_json()}\n")
    except KeyboardInterrupt:
        pass  # whoever listened has gone, and Ray is left by now
    out.close()


def _lines(order: ChaosOrder) -> Iterator[Line]:
    scenario = parse_scenario(order.scenario_text, source=order.source).scenario
    more = LOADED_BY_CONVERSATIONS if scenario.environment.is_conversation else LOADED_BY_WORLDS
    for module in (*LOADED_EARLY, *more):
        import_module(module)
    fresh(order)
    if life(order, at=NEVER) != 0:
        raise RuntimeFailure(f"the scenario does not run undisturbed, so nothing was killed: {said(order)}")
    boundaries = 2 * sum(1 for _ in acknowledged(order))
    picked = _picked(boundaries, order.sample, seed=order.seed)
    with closing(open_log(order.log, mode="read")) as log:
        whole = _undisturbed(log, boundaries, tried=len(picked))
    happened = _ledger(order)
    yield Line(undisturbed=whole)
    for boundary in picked:
        yield Line(verdict=_verdict(order, boundary, whole, happened))
    if order.ray:
        yield from _lines_through_ray(order, whole, happened)


def _lines_through_ray(order: ChaosOrder, whole: Undisturbed, happened: Counter[str]) -> Iterator[Line]:
    """Begins threads, so no life is forked after it."""
    from runtime.chaos.hosts import cluster, life_through_ray, was_killed

    with cluster(order):
        fresh(order)
        failed = life_through_ray(order, at=NEVER)
        if failed is not None:
            raise RuntimeFailure(f"the scenario does not run undisturbed through Ray: {failed}")
        boundaries = 2 * sum(1 for _ in acknowledged(order))
        picked = _picked(boundaries, order.ray, seed=order.seed)
        with closing(open_log(order.log, mode="read")) as log:
            found = _undisturbed(log, boundaries, tried=len(picked))
            wrong = _otherwise(log, whole)
        if wrong:
            raise RuntimeFailure(f"undisturbed through Ray {wrong[0]}. Nothing was killed there")
        yield Line(through_ray=True, undisturbed=found)
        for boundary in picked:
            fresh(order)
            failed = life_through_ray(order, at=boundary)
            wrong = [] if failed is None else [f"it could not be taken up again: {failed}"]
            verdict = _judged(order, boundary, whole, happened, killed=was_killed(order), wrong=wrong)
            yield Line(through_ray=True, verdict=verdict)


def _picked(boundaries: int, sample: int | None, *, seed: int) -> list[int]:
    """So many boundaries, chosen by the seed, in their order; or all."""
    tried = range(1, boundaries + 1)
    if sample is None or sample >= boundaries:
        return list(tried)
    return sorted(random.Random(seed).sample(tried, sample))


def _undisturbed(log: EventLog, boundaries: int, *, tried: int) -> Undisturbed:
    status, outcome, state_hash = _end(log)
    cycles = replay(log, SESSION).cycles
    return Undisturbed(
        status=status, outcome=outcome, cycles=cycles, state_hash=state_hash, boundaries=boundaries, tried=tried
    )


def _verdict(order: ChaosOrder, boundary: int, whole: Undisturbed, happened: Counter[str]) -> Verdict:
    """Kills at `boundary` in an empty world, takes the session up again, and judges what is there then."""
    fresh(order)
    code = life(order, at=boundary)
    first = said(order)
    recovered = life(order, at=NEVER) == 0
    wrong = [] if code in (0, -signal.SIGKILL) else [f"it ended before it was killed: {first}"]
    wrong += [] if recovered else [f"it could not be taken up again: {said(order)}"]
    return _judged(order, boundary, whole, happened, killed=code == -signal.SIGKILL, wrong=wrong)


def _judged(
    order: ChaosOrder, boundary: int, whole: Undisturbed, happened: Counter[str], *, killed: bool, wrong: list[str]
) -> Verdict:
    """What stands in the world, once the session has come to its end or, as `wrong` says, has not."""
    recovered = not wrong
    with closing(open_log(order.log, mode="read")) as log:
        wrong = [*wrong, *(str(problem) for problem in log.verify().problems)]
        events = list(log.read(STREAM))
        told = (event for commit in acknowledged(order) for event in commit)
        lost = judge.lost_events(told, events)
        seen = judge.effects(events)
        if recovered and not seen.unknown:
            wrong += _otherwise(log, whole)
    found = judge.ledger(happened, _ledger(order), unknown=seen.unknown)
    return Verdict(
        boundary=boundary,
        killed=killed,
        acknowledged_lost=len(lost),
        effects_twice=max(len(seen.found.twice), len(found.twice)),
        effects_lost=max(len(seen.found.lost), len(found.lost)),
        unknown=seen.unknown,
        differs=bool(wrong),
        findings=(*lost, *seen.found.twice, *seen.found.lost, *dict.fromkeys((*found.twice, *found.lost)), *wrong),
    )


def _otherwise(log: EventLog, whole: Undisturbed) -> list[str]:
    end, expected = _end(log), (whole.status, whole.outcome, whole.state_hash)
    if end == expected:
        return []
    words = [
        f"{status}{f' ({outcome})' if outcome else ''}, state {digest[:12]}"
        for status, outcome, digest in (end, expected)
    ]
    return [f"it ended {words[0]}; undisturbed {words[1]}"]


def _end(log: EventLog) -> tuple[str, str | None, str]:
    """Status, outcome and folded state. Raises `VerificationFailed` when the recorded hashes do not come out."""
    head = log.head(STREAM)
    assert head is not None, "a session that came to its end is on its log"
    row = row_of(log, head)
    return row.status, row.outcome, replay(log, SESSION).state_hash


def _ledger(order: ChaosOrder) -> Counter[str]:
    """The lines of the user's own word on what happened. Raises `UsageError` when the command fails."""
    if order.ledger is None:
        return Counter()
    try:
        ran = subprocess.run(
            shlex.split(order.ledger),
            cwd=order.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LEDGER_TIMEOUT_S,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"--ledger {order.ledger!r} cannot be run: {error}") from error
    if ran.returncode:
        raise UsageError(f"--ledger {order.ledger!r} ended with {ran.returncode}: {ran.stderr.strip()[-500:]}")
    return Counter(line for line in ran.stdout.splitlines() if line.strip())


if __name__ == "__main__":
    main()
