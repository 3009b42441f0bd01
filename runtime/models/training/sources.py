"""Which sessions of a log a model learns from.

Knows names, scenarios, environments and what the ledger has of a session; reads first events only, and rewards where
an expression asks for them. Invariant: nobody gets sessions of two worlds without having named them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from loops.lessons import Source
from runtime.errors import NotFound, UsageError
from runtime.ledger import LedgerRow, ledger
from runtime.models.training.where import COUNTED, SessionFacts, Where
from runtime.rerun.many import chosen
from runtime.sessions import PREFIX, all_heads, opened, stream_of
from telemetry.errors import EventsPruned, InvalidEvent, PayloadWithheld
from telemetry.events import learn
from telemetry.log import EventLog

SHOWN = 6
"""Worlds that a message names."""


def sources(
    log: EventLog,
    sessions: Sequence[str] = (),
    *,
    scenario: str | None = None,
    where: str | None = None,
    untold: Callable[[str], None] = lambda _: None,
) -> list[Source]:
    """The sessions that are named, or those of one scenario, or all that move in the log's one world; of these only
    the ones of which the expression `where` is true. `untold` hears of each that is not named and was left out because
    what it opened with is withheld.

    Raises `NotFound` where there are none, and `UsageError` for both kinds of choice, for none where the log holds
    several worlds, and for a `where` that cannot be meant."""
    if sessions and scenario is not None:
        raise UsageError("name sessions or give --scenario NAME, not both. Nothing was learnt")
    condition = None if where is None else Where(where)
    if sessions or scenario is not None:
        names = sessions or chosen(log, scenario=scenario, untold=untold)
        named = [Source(stream, opened(log, stream)) for stream in dict.fromkeys(map(stream_of, names))]
        return named if condition is None else _true_of(log, named, condition)
    found = _all(log, untold)
    if not found:
        raise NotFound(
            f"no session of {log.name} moves in a world, so there is nothing to learn. Try: aether run SCENARIO.toml"
        )
    if condition is not None:
        found = _true_of(log, found, condition)
    worlds = {source.opened.environment: source.opened.scenario for source in found}
    if len(worlds) > 1:
        shown = "; ".join(f"{world} in scenario {scenario!r}" for world, scenario in list(worlds.items())[:SHOWN])
        raise UsageError(
            f"the log holds sessions of {len(worlds)} worlds: {shown}. Choose with --scenario NAME or --where SQL, or "
            "name the sessions. Nothing was learnt"
        )
    return found


def _all(log: EventLog, untold: Callable[[str], None]) -> list[Source]:
    """Every session that moves and whose beginning is still there."""
    found: list[Source] = []
    for head in all_heads(log):
        try:
            source = Source(head.stream, opened(log, head.stream))
        except EventsPruned:
            continue
        except PayloadWithheld:
            untold(head.stream.removeprefix(PREFIX))
            continue
        if source.layout is not None:
            found.append(source)
    return found


def _true_of(log: EventLog, found: Sequence[Source], condition: Where) -> list[Source]:
    by_stream = {source.stream: source for source in found}
    counted = bool(condition.reads & COUNTED)
    with ledger(log) as rows:
        facts = [
            _facts(log, by_stream[stream], row, counted=counted)
            for row in rows.every()
            if (stream := PREFIX + row.session) in by_stream
        ]
    true = condition.choose(facts)
    if not true:
        raise NotFound(
            f"of {len(found)} sessions of {log.name} there is none with {condition.expression}. Nothing was learnt"
        )
    return [source for source in found if source.stream.removeprefix(PREFIX) in true]


def _facts(log: EventLog, source: Source, row: LedgerRow, *, counted: bool) -> SessionFacts:
    facts = SessionFacts(
        session=row.session,
        scenario=source.opened.scenario,
        environment=source.opened.environment,
        seed=source.opened.seed,
        status=row.status,
        outcome=row.outcome,
        cycles=row.cycles,
        opened_at=f"{datetime.fromtimestamp(row.opened_at / 1e9, UTC):%Y-%m-%dT%H:%M:%SZ}",
    )
    return _with_rewards(log, source.stream, facts) if counted else facts


def _with_rewards(log: EventLog, stream: str, facts: SessionFacts) -> SessionFacts:
    """A fork's are those of its whole life, as its cycles are. What cannot be read any more counts for nothing."""
    episodes, successes, reward = 0, 0, 0.0
    for recorded in log.read(stream, types=("learn.rewarded",)):
        with suppress(InvalidEvent):
            if isinstance(event := recorded.event, learn.Rewarded):
                episodes += event.ends_episode
                successes += event.ends_episode and event.success is True
                reward += event.reward
    return facts._replace(episodes=episodes, successes=successes, reward=reward)
