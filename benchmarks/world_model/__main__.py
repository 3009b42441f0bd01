"""The world model's figures: `make bench-world-model`, or one part of it.

    python -m benchmarks.world_model [PART …] [--maze NAME …] [--seed N …]

Knows which parts there are and how long a profile lets them take; the modules beside it know how. With PROFILE=short:
UMaze and Medium, one seed, 100 pairs, and less of what takes longest."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import get_args

from benchmarks.report import progress, short
from benchmarks.world_model import coverage, planning, prediction, robustness, success
from benchmarks.world_model.mazes import Name
from benchmarks.world_model.table import table
from benchmarks.world_model.trained import Trained, trained

MAZES: tuple[Name, ...] = get_args(Name)
SEEDS = (0, 1, 2)


@cache
def _trained(maze: Name, seed: int) -> Trained:
    return trained(maze, seed)


def _success(mazes: Sequence[Name], seeds: Sequence[int]) -> None:
    for maze in mazes:
        success.report(maze, [_trained(maze, seed) for seed in seeds])
    print(table(), file=sys.stderr, flush=True)


def _prediction(mazes: Sequence[Name], seeds: Sequence[int]) -> None:
    prediction.report({maze: [_trained(maze, seed) for seed in seeds] for maze in mazes if maze != "large"})


def _planning(mazes: Sequence[Name], seeds: Sequence[int]) -> None:
    planning.report(_trained("medium" if "medium" in mazes else mazes[0], seeds[0]), decisions=30 if short() else 100)


def _coverage(mazes: Sequence[Name], seeds: Sequence[int]) -> None:
    coverage.report("medium" if mazes == ["medium"] else "large", seeds)


def _robustness(mazes: Sequence[Name], seeds: Sequence[int]) -> None:
    for maze in mazes[:1] if short() else mazes:
        if maze != "large":
            robustness.report(maze, [_trained(maze, seed) for seed in seeds])


PARTS: dict[str, Callable[[Sequence[Name], Sequence[int]], None]] = {
    "success": _success,
    "prediction": _prediction,
    "planning": _planning,
    "coverage": _coverage,
    "robustness": _robustness,
}
TABLE = "table"
"""Prints the ablation in Markdown out of what was measured; measures nothing."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.world_model", description=__doc__)
    parser.add_argument("part", nargs="*", default=[], choices=[*PARTS, TABLE], help="all of them when none is named")
    parser.add_argument("--maze", action="append", choices=MAZES, help="instead of the profile's mazes")
    parser.add_argument("--seed", action="append", type=int, help="instead of the profile's seeds")
    given = parser.parse_args(arguments)
    mazes: list[Name] = given.maze or list(MAZES[:2] if short() else MAZES)
    seeds: list[int] = given.seed or list(SEEDS[:1] if short() else SEEDS)
    if given.part == [TABLE]:
        print(table())
        return 0
    for part in given.part or PARTS:
        progress("bench-world-model", part)
        PARTS[part](mazes, seeds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
