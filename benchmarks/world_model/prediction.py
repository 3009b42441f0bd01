"""How far ahead a model sees: the achieved goal ten decisions on, on sessions that nothing learnt from.

Knows open-loop foresight and what came; knows no planner. Invariant: the JEPA, the linear model and the copy baseline
are judged on the same starts and the same controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Op, figure, progress
from benchmarks.world_model.kept import Row, once
from benchmarks.world_model.mazes import Name
from benchmarks.world_model.trained import Trained, code
from world_model.held_out import foresee, rank_correlation

# S = starts, H = decisions ahead, D = columns seen, G = of the goal

AHEAD = 10
STARTS = 1000
"""At most so many held-out starts, evenly spread."""
SHOWN = (1, 5, 10)
CALIBRATED = 500
"""Held-out transitions whose predicted variance is compared with what came."""

ERROR_OVER_COPY, ERROR_OVER_COPY_AIM = 0.5, 0.25
ERROR_OVER_LINEAR = 1.0
SPEARMAN = 0.3
"""Bounds of issue "A world model that earns its place", section "Figures"."""


class Errors(NamedTuple):
    """Distances to the achieved goal, one row a start."""

    jepa_SH: NDArray[np.float64]
    linear_SH: NDArray[np.float64]
    copy_SH: NDArray[np.float64]
    epistemic_SH: NDArray[np.float64]


def measure(found: Trained) -> list[Row]:
    """One row a held-out start, kept under the model's digest."""
    key: Row = {
        "maze": found.maze,
        "seed": found.seed,
        "model": found.jepa.model_id,
        "data": found.data,
        "code": code(
            "world_model/held_out.py", "world_model/plan/linear_forward.py", "benchmarks/world_model/prediction.py"
        ),
    }

    def look() -> list[Row]:
        errors = errors_of(found)
        return [
            {
                name.removesuffix("_SH"): [round(float(x), 5) for x in row]
                for name, row in zip(errors._fields, one, strict=True)
            }
            for one in zip(*errors, strict=True)
        ]

    return once("prediction", key, look)


def errors_of(found: Trained) -> Errors:
    held_out = found.gathered.held_out
    starts = held_out.starts(AHEAD)
    starts = starts[:: max(1, len(starts) // STARTS)]
    jepa, linear = (foresee(model, held_out, starts, steps=AHEAD) for model in (found.jepa, found.linear))
    copy_SHG = held_out.seen_ND[starts, np.newaxis, -held_out.layout.goal :]
    return Errors(
        jepa_SH=_length(jepa.foreseen_PTG.astype(np.float64) - jepa.real_PTG),
        linear_SH=_length(linear.foreseen_PTG.astype(np.float64) - jepa.real_PTG),
        copy_SH=_length(copy_SHG - jepa.real_PTG),
        epistemic_SH=jepa.disagreement_PT.astype(np.float64),
    )


def report(by_maze: dict[Name, Sequence[Trained]]) -> None:
    """Prints each maze's figures, and under the issue's names the worst of them."""
    names = ("error_over_copy", "error_over_linear", "disagreement_spearman")
    worst: dict[str, list[float]] = {name: [] for name in names}
    for maze, found in by_maze.items():
        seeds = [_ratios(measure(one)) for one in found]
        for name in names:
            worst[name].append(float(np.mean([seed[name] for seed in seeds])))
        for name in seeds[0]:
            samples = [seed[name] for seed in seeds]
            unit = "ρ" if name.startswith("disagreement") else "×"
            figure(f"{name}_{maze}", value=float(np.mean(samples)), unit=unit, op=_better(name), samples=samples)
        _reliability(maze, found)
    copied, over, ranks = (worst[name] for name in names)
    figure(
        "error_over_copy",
        value=max(copied),
        unit="×",
        op="<=",
        floor=ERROR_OVER_COPY,
        aim=ERROR_OVER_COPY_AIM,
        samples=copied,
    )
    figure("error_over_linear", value=max(over), unit="×", op="<=", floor=ERROR_OVER_LINEAR, samples=over)
    figure("disagreement_spearman", value=min(ranks), unit="ρ", op=">=", floor=SPEARMAN, samples=ranks)


def _ratios(rows: Sequence[Row]) -> dict[str, float]:
    errors = Errors(
        *(np.array([row[name.removesuffix("_SH")] for row in rows], dtype=np.float64) for name in Errors._fields)
    )
    found: dict[str, float] = {}
    for ahead in SHOWN:
        jepa, linear, copy, disagreement = (one[:, ahead - 1] for one in errors)
        suffix = "" if ahead == AHEAD else f"_{ahead}_steps"
        found[f"error_over_copy{suffix}"] = _rms(jepa) / _rms(copy)
        found[f"error_over_linear{suffix}"] = _rms(jepa) / _rms(linear)
        found[f"disagreement_spearman{suffix}"] = rank_correlation(disagreement, jepa)
    return found


def _reliability(maze: Name, found: Sequence[Trained]) -> None:
    """Squared error over predicted variance, one decision ahead; 1 is what a variance that is right would give."""
    over = [_squared_over_variance(one) for one in found]
    figure(f"reliability_{maze}", value=float(np.mean(over)), unit="×", op="<=", samples=over)


def _squared_over_variance(found: Trained) -> float:
    held_out = found.gathered.held_out
    steps = np.flatnonzero(held_out.steps_N)
    steps = steps[:: max(1, len(steps) // CALIBRATED)]
    beliefs_NZ = found.jepa.beliefs(held_out)
    total = 0.0
    variances, squares = [], []
    for row in steps:
        expected = found.jepa.predict(beliefs_NZ[row], held_out.done_NA[row : row + 1])
        square_D = np.square(held_out.seen_ND[row + 1] - expected.mean[0])
        total += float((square_D / expected.variance[0]).mean())
        variances.append(float(expected.variance[0].mean()))
        squares.append(float(square_D.mean()))
    _bins(found, np.array(variances), np.array(squares))
    return total / len(steps)


def _bins(found: Trained, variance_N: NDArray[np.float64], square_N: NDArray[np.float64]) -> None:
    """Says the deviation foreseen and met in each fifth of the transitions, from the surest on."""
    fifths = np.array_split(np.argsort(variance_N), 5)
    told = ", ".join(f"{variance_N[part].mean() ** 0.5:.3f}/{square_N[part].mean() ** 0.5:.3f}" for part in fifths)
    progress("bench-world-model", f"{found.maze}, seed {found.seed}: deviation foreseen/met by fifths: {told}")


def _length(difference: NDArray[np.floating]) -> NDArray[np.float64]:
    length: NDArray[np.float64] = np.sqrt(np.square(difference, dtype=np.float64).sum(axis=-1))
    return length


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.square(values).mean()))


def _better(name: str) -> Op:
    return ">=" if name.startswith("disagreement") else "<="
