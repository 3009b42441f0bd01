"""How far followers of a log are, what they account for, and how long appends to it take.

Knows what is told of a follower and of a writer; knows none of them. Invariant: a follower that keeps no account has
no series that says it lost nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.otel import names
from telemetry.otel.measures.totals import Series, Spread
from telemetry.otel.names import Measure

if TYPE_CHECKING:
    from telemetry.log.latency import Latencies
    from telemetry.otel.export.account import Accounted


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one follower. `delay_s`: age of the first event that waits."""

    follower: str
    lag: int
    delay_s: float
    account: Accounted | None = None


def series_of(standings: Iterable[Standing]) -> Iterator[tuple[Measure, Series]]:
    """As `points.metrics_of` takes them; none of what nobody tells."""
    known = {one.follower: one for one in standings}
    accounts = {name: one.account for name, one in known.items() if one.account is not None}
    if known:
        yield names.LAG, {(name,): one.lag for name, one in known.items()}
        yield names.DELAY, {(name,): one.delay_s for name, one in known.items()}
    if accounts:
        yield names.HANDED_ON, {(name,): account.handed_on for name, account in accounts.items()}
        yield names.SET_ASIDE, {(name,): account.set_aside for name, account in accounts.items()}
        yield names.LOST, {(name,): account.lost for name, account in accounts.items()}


def spread_of(appends: Latencies) -> tuple[Measure, Series]:
    return names.APPEND_S, {(): Spread([*appends.counts], appends.total_s, appends.least_s, appends.most_s)}
