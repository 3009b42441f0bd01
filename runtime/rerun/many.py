"""Any number of sessions beside one policy.

Knows how sessions are chosen; holds one page of one session at a time. Invariant: it reads the log and writes
nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from heart.errors import HeartError
from loops.errors import ScenarioInvalid
from runtime.errors import NotFound, UsageError
from runtime.explain import nearest
from runtime.rerun.follow import Follower, Seen
from runtime.rerun.policy import Composer, Policy
from runtime.rerun.tally import Tally
from runtime.rerun.values import RerunReport, SessionRerun
from runtime.sessions import OBSERVED, PREFIX, all_heads, opened, stream_of
from telemetry.errors import PayloadWithheld
from telemetry.events import session
from telemetry.log import EventLog
from world_model.errors import WorldModelError

KEPT_DIFFERENCES = 100
"""Differing cycles that are listed of a session where nobody says how many."""

MISFITS = (ScenarioInvalid, HeartError, WorldModelError)
"""What a policy raises that is not for such a session."""

Watch = Callable[[SessionRerun], None]


def rerun(
    log: EventLog,
    sessions: Sequence[str],
    policy: Policy,
    *,
    cycles: int | None = None,
    keep: int = KEPT_DIFFERENCES,
    watch: Watch = lambda _: None,
) -> RerunReport:
    """What the policy would have done in each recorded situation of `sessions`, of each its first `cycles` cycles.

    Up to `keep` differences are listed a session. Raises `NotFound` for a session that is not there and `UsageError`
    for one that the policy does not fit; a session that a gateway watched is left out."""
    as_of = log.position()
    composer, total, seen = Composer(policy, log), Tally(), dict[str, int]()
    rows: list[SessionRerun] = []
    left_out: list[str] = []
    for name in dict.fromkeys(map(stream_of, sessions)):
        first = opened(log, name)
        if first.environment == OBSERVED:
            left_out.append(name.removeprefix(PREFIX))
            continue
        tally = Tally(keep=keep)
        try:
            _follow(log, name, first, composer, cycles=cycles, as_of=as_of, tally=tally, total=total, seen=seen)
        except MISFITS as error:
            raise UsageError(
                f"this policy is not for session {name.removeprefix(PREFIX)} of the scenario {first.scenario!r}: "
                f"{error}. Nothing was written; name the sessions it is for, or their scenario with --scenario"
            ) from error
        rows.append(tally.row(name.removeprefix(PREFIX), first.scenario))
        watch(rows[-1])
    return RerunReport(
        policy=policy.told(),
        sessions=tuple(rows),
        total=total.counts,
        surprise=total.surprise.result(),
        left_out=tuple(left_out),
        as_of=as_of,
    )


def chosen(log: EventLog, *, scenario: str | None = None, untold: Callable[[str], None] = lambda _: None) -> list[str]:
    """The ids of all sessions, or of those of one scenario. Left out are those that nobody can tell the scenario of,
    as what they opened with is withheld; `untold` hears of each. Raises `NotFound` when none is of the scenario."""
    found: list[str] = []
    others: set[str] = set()
    for head in all_heads(log):
        try:
            name = opened(log, head.stream).scenario
        except PayloadWithheld:
            untold(head.stream.removeprefix(PREFIX))
            continue
        if scenario is None or name == scenario:
            found.append(head.stream.removeprefix(PREFIX))
        else:
            others.add(name)
    if not found and scenario is not None:
        hint = nearest(scenario, sorted(others)) if others else "; it holds no session yet"
        raise NotFound(f"no session of {log.name} is of the scenario {scenario!r}{hint}")
    return found


def _follow(
    log: EventLog,
    stream: str,
    first: session.Opened,
    composer: Composer,
    *,
    cycles: int | None,
    as_of: int,
    tally: Tally,
    total: Tally,
    seen: Seen,
) -> None:
    composed = composer.of(stream, first)
    follower = Follower(log, stream, composed, live=composer.policy.live, tally=tally, total=total, seen=seen)
    try:
        for recorded in log.read(stream):
            if recorded.position > as_of or (cycles is not None and recorded.cycle > cycles):
                break
            follower.see(recorded)
        follower.end()
    finally:
        composed.phases.forget(stream)
