"""The world model's figures: `make bench-world-model`, or one part of it.

    python -m benchmarks.world_model [PART …] [--maze NAME …] [--seed N …]

Knows which parts there are and how long a profile lets them take; the modules beside it know how. With PROFILE=short:
UMaze and Medium, one seed, 100 pairs, and less of what takes longest.

What has no clock in it (gathering, training, the episodes of the ablation) is made first, by as many processes of one
thread as there are cores; the parts then read what is kept and print it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple, get_args

from benchmarks.report import ROOT, progress, short
from benchmarks.world_model import coverage, fourrooms, nonlinear, planning, prediction, robustness, success
from benchmarks.world_model.mazes import Name
from benchmarks.world_model.table import table
from benchmarks.world_model.trained import Trained, trained

MAZES: tuple[Name, ...] = get_args(Name)
SEEDS = (0, 1, 2)


@cache
def _trained(maze: Name, seed: int) -> Trained:
    return trained(maze, seed)


class Job(NamedTuple):
    """What a process of its own makes."""

    word: str
    maze: Name
    seed: int


def _prepare(jobs: Sequence[Job]) -> None:
    """So many processes at once as there are cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(max_workers=cores) as threads:
        for job, code in zip(jobs, threads.map(_process, jobs), strict=True):
            if code:
                raise RuntimeError(f"{job.word} of {job.maze} with seed {job.seed} failed; what it said stands above")


def _process(job: Job) -> int:
    command = (sys.executable, "-m", "benchmarks.world_model", job.word, "--maze", job.maze, "--seed", str(job.seed))
    return subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False).returncode


def _jobs(parts: Collection[str], mazes: Sequence[Name], seeds: Sequence[int], *, covered: Sequence[int]) -> list[Job]:
    """The longest first."""
    word = LIVE if "success" in parts else TRAIN
    models = [Job(word, maze, seed) for seed in seeds for maze in reversed(mazes)] if {*parts} & NEED_MODELS else []
    return models + ([Job(COVER, coverage.MAZE, seed) for seed in covered] if "coverage" in parts else [])


def _success(mazes: Sequence[Name], seeds: Sequence[int]) -> None:
    for maze in mazes:
        success.report(maze, [_trained(maze, seed) for seed in seeds])
    print(table(), file=sys.stderr, flush=True)


def _prediction(mazes: Sequence[Name], seeds: Sequence[int]) -> None:
    prediction.report({maze: [_trained(maze, seed) for seed in seeds] for maze in mazes if maze != "large"})


def _planning(mazes: Sequence[Name], seeds: Sequence[int]) -> None:
    planning.report(_trained("medium" if "medium" in mazes else mazes[0], seeds[0]), decisions=30 if short() else 100)


def _coverage(mazes: Sequence[Name], seeds: Sequence[int]) -> None:
    coverage.report(coverage.MAZE, coverage.SEEDS)


def _robustness(mazes: Sequence[Name], seeds: Sequence[int]) -> None:
    for maze in mazes[:1] if short() else mazes:
        if maze != "large":
            robustness.report(maze, [_trained(maze, seed) for seed in seeds], pairs=50 if short() else 100)


def _nonlinear(_: Sequence[Name], seeds: Sequence[int]) -> None:
    nonlinear.report(seeds)


def _fourrooms(_: Sequence[Name], seeds: Sequence[int]) -> None:
    fourrooms.report(seeds)


Part = Callable[[Sequence[Name], Sequence[int]], None]

PARTS: dict[str, Part] = {
    "success": _success,
    "prediction": _prediction,
    "planning": _planning,
    "coverage": _coverage,
    "robustness": _robustness,
    "nonlinear": _nonlinear,
    "fourrooms": _fourrooms,
}
NEED_MODELS = {"success", "prediction", "planning", "robustness"}
TRAIN, LIVE, COVER = "train-one", "live-one", "cover-one"
"""Words of the processes that `_prepare` starts."""
TABLE = "table"
"""Prints the ablation in Markdown out of what was measured; measures nothing."""


def _word(word: str) -> str:
    """Not `choices`, by which argparse of Python 3.11 refuses a list of none."""
    words = [*PARTS, TABLE, TRAIN, LIVE, COVER]
    if word not in words:
        raise argparse.ArgumentTypeError(f"{word!r} is no part; there are: {', '.join(words)}")
    return word


def asked(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for; `part` is empty where it names none."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.world_model", description=__doc__)
    parser.add_argument("part", nargs="*", type=_word, help="all that are measured when none is named")
    parser.add_argument("--maze", action="append", choices=MAZES, help="instead of the profile's mazes")
    parser.add_argument("--seed", action="append", type=int, help="instead of the profile's seeds")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    given = asked(arguments)
    mazes: list[Name] = given.maze or list(MAZES[:2] if short() else MAZES)
    seeds: list[int] = given.seed or list(SEEDS[:1] if short() else SEEDS)
    match given.part:
        case ["table"]:
            print(table())
        case ["train-one"]:
            _trained(mazes[0], seeds[0])
        case ["live-one"]:
            success.prepare(_trained(mazes[0], seeds[0]))
        case ["cover-one"]:
            coverage.prepare(mazes[0], seeds[0])
        case parts:
            _measure(parts or [*PARTS], mazes, seeds)
    return 0


def _measure(parts: Sequence[str], mazes: Sequence[Name], seeds: Sequence[int]) -> None:
    _prepare(_jobs(parts, mazes, seeds, covered=coverage.SEEDS))
    for part in parts:
        progress("bench-world-model", part)
        PARTS[part](mazes, seeds)


if __name__ == "__main__":
    sys.exit(main())
