"""Series of measures, and what each has come to since the first event.

Knows sums, buckets and how many series there may be; knows no event and no SDK. Invariant: what is read back of what
was kept goes on as if it had never been put down, to the bit."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import orjson
from pydantic import BaseModel, ConfigDict

from telemetry.otel.names import MEASURES, OTHER, OVERFLOW, Measure

VALUES_KEPT: Final = 50
"""Values of one attribute that are told apart, the first to come; the others are OTHER. Scenarios, tools and models of
one log are fewer, unless names are made up as it grows, which would be a series each."""
SERIES_KEPT: Final = 2_000
"""Series of one measure, as OpenTelemetry's SDKs have it; what comes after is one series, the overflow."""

Labels: TypeAlias = tuple[str | None, ...]
"""Values of a measure's attributes in their order; None for one that it does not have."""
OVERFLOWED: Final[Labels] = ("",)


@dataclass(slots=True)
class Spread:
    """A histogram's content. `counts` has one more than bounds: what is above the last."""

    counts: list[int]
    total: float = 0.0
    least: float = 0.0
    most: float = 0.0

    @property
    def count(self) -> int:
        return sum(self.counts)

    def record(self, value: float, bounds: Sequence[float]) -> None:
        first = not any(self.counts)
        self.counts[bisect_left(bounds, value)] += 1
        self.total += value
        self.least = value if first else min(self.least, value)
        self.most = value if first else max(self.most, value)


Series: TypeAlias = Mapping[Labels, int | float | Spread]
"""Of one measure."""


def attributes(measure: Measure, labels: Labels) -> dict[str, str | bool]:
    if labels == OVERFLOWED:
        return {OVERFLOW: True}
    return {name: value for name, value in zip(measure.attributes, labels, strict=True) if value is not None}


@dataclass(slots=True)
class Totals:
    """By a measure's name and labels: a number, or a spread where it is a histogram."""

    began: int = 0
    """UTC ns of the first event that counts; 0 while there is none."""
    latest: int = 0
    """UTC ns of the newest."""
    numbers: dict[str, dict[Labels, int | float]] = field(default_factory=dict)
    spreads: dict[str, dict[Labels, Spread]] = field(default_factory=dict)
    values: dict[str, list[str]] = field(default_factory=dict)
    """Of each attribute, those that are told apart."""

    def add(self, measure: Measure, *labels: str | None, value: int | float = 1) -> None:
        series = self.numbers.setdefault(measure.name, {})
        at = self._place(measure, labels, series)
        series[at] = series.get(at, 0) + value

    def record(self, measure: Measure, *labels: str | None, value: float) -> None:
        series = self.spreads.setdefault(measure.name, {})
        at = self._place(measure, labels, series)
        spread = series.get(at)
        if spread is None:
            spread = series[at] = Spread([0] * (len(measure.bounds) + 1))
        spread.record(value, measure.bounds)

    def _place(self, measure: Measure, labels: Labels, series: Mapping[Labels, object]) -> Labels:
        """Where labels count: at themselves, for they mostly stand there already."""
        if labels in series:
            return labels
        assert len(labels) == len(measure.attributes), measure.name
        labels = tuple(map(self._told_apart, measure.attributes, labels))
        return labels if labels in series or len(series) < SERIES_KEPT else OVERFLOWED

    def _told_apart(self, attribute: str, value: str | None) -> str | None:
        known = self.values.setdefault(attribute, [])
        if value is None or value in known:
            return value
        if len(known) == VALUES_KEPT:
            return OTHER
        known.append(value)
        return value

    def kept(self) -> str:
        """To be put down."""
        body = _Kept(
            began=self.began,
            latest=self.latest,
            numbers={name: list(series.items()) for name, series in self.numbers.items()},
            spreads={
                name: [(at, (s.counts, s.total, s.least, s.most)) for at, s in series.items()]
                for name, series in self.spreads.items()
            },
            values=self.values,
        )
        return orjson.dumps(body.model_dump()).decode()

    @classmethod
    def taken_up(cls, kept: str) -> Totals:
        """What `kept` gave."""
        body = _Kept.model_validate_json(kept)
        return cls(
            began=body.began,
            latest=body.latest,
            numbers={name: dict(series) for name, series in body.numbers.items()},
            spreads={name: {at: Spread(*kept) for at, kept in series} for name, series in body.spreads.items()},
            values=body.values,
        )

    def series(self) -> Iterator[tuple[Measure, Series]]:
        """What there is of each measure, in the order that they stand in `names`."""
        for measure in MEASURES:
            found = (self.spreads if measure.kind == "histogram" else self.numbers).get(measure.name)
            if found:
                yield measure, found


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid")

    began: int
    latest: int
    numbers: dict[str, list[tuple[Labels, int | float]]]
    spreads: dict[str, list[tuple[Labels, tuple[list[int], float, float, float]]]]
    values: dict[str, list[str]]
