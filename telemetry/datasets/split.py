"""Which split a session belongs to.

Knows hashes and shares; knows no rows. Invariant: it follows from the seed and the name of what is kept together alone,
so nothing ever moves to another split when the log grows."""

from __future__ import annotations

import hashlib
import itertools

from telemetry.datasets.recipe import Split

DIGITS = 13
"""Hexadecimal digits of the hash that decide: 52 bits, as many as the fraction of a share's float holds."""


def split_of(group: str, split: Split) -> str:
    """The split of everything that is kept together under the name `group`."""
    drawn = hashlib.sha256(f"{split.seed}:{group}".encode()).hexdigest()[:DIGITS]
    names = list(split.shares)
    return names[next((place for place, below in enumerate(_bounds(split)) if drawn < below), len(names) - 1)]


def place_sql(group: str, split: Split) -> str:
    """`split_of` in SQL: the split's place among the shares, from 0, as an expression over the expression `group`."""
    drawn = f"substr(sha256('{split.seed}:' || {group}), 1, {DIGITS})"
    cases = [f"WHEN {drawn} < '{below}' THEN {place}" for place, below in enumerate(_bounds(split))]
    last = len(split.shares) - 1
    return f"CASE {' '.join(cases)} ELSE {last} END" if cases else f"{last}"


def _bounds(split: Split) -> list[str]:
    """What the hashes of each split but the last lie below."""
    most = 16**DIGITS
    upper = itertools.accumulate(list(split.shares.values())[:-1])
    return [f"{min(round(share * most), most - 1):0{DIGITS}x}" for share in upper]
