"""SIGReg against its definition, integrated by another rule."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.integrate import quad

from world_model.jepa.sigreg import directions, sigreg

POINTS, REACH = 17, 5.0


def by_definition(points_N: NDArray[np.float64]) -> float:
    """N ∫ |φ̂(t) − e^{−t²/2}|² e^{−t²/2} dt over the whole line, by adaptive quadrature."""

    def integrand(t: float) -> float:
        empirical = np.exp(1j * t * points_N).mean()
        return float(abs(empirical - np.exp(-0.5 * t * t)) ** 2 * np.exp(-0.5 * t * t))

    return len(points_N) * float(quad(integrand, -np.inf, np.inf, limit=400)[0])


def statistic(
    latents_TBZ: NDArray[np.float64],
    present_TB: NDArray[np.bool_],
    directions_ZM: torch.Tensor,
    *,
    points: int = POINTS,
    reach: float = REACH,
) -> float:
    latents, present = torch.from_numpy(latents_TBZ), torch.from_numpy(present_TB)
    return float(sigreg(latents, present, directions_ZM.double(), points=points, reach=reach))


@pytest.mark.parametrize("shape", ["gaussian", "wide", "two clumps", "a point"])
def test_sigreg_is_the_mean_of_the_epps_pulley_statistics_of_its_slices(shape: str) -> None:
    rng = np.random.default_rng(7)
    latents = rng.standard_normal((1, 200, 3))
    if shape == "wide":
        latents = latents * 2
    elif shape == "two clumps":
        latents = np.sign(latents) * 1.5
    elif shape == "a point":
        latents = latents * 0
    slices = directions(3, 5, seed=1, step=2)
    expected = np.mean([by_definition(latents[0] @ slices[:, m].double().numpy()) for m in range(5)])
    present = np.ones((1, 200), dtype=bool)
    assert statistic(latents, present, slices) == pytest.approx(float(expected), rel=1e-2, abs=1e-4)
    fine = statistic(latents, present, slices, points=201, reach=8.0)
    assert fine == pytest.approx(float(expected), rel=1e-6, abs=1e-8)


def test_each_time_step_is_judged_alone_and_absent_rows_do_not_count() -> None:
    rng = np.random.default_rng(3)
    latents = rng.standard_normal((2, 60, 2)) * np.array([1.0, 3.0])[:, None, None]
    present = np.ones((2, 60), dtype=bool)
    present[1, 40:] = False
    latents[1, 40:] = 1e6
    slices = directions(2, 4, seed=0, step=0)
    first = statistic(latents[:1], present[:1], slices)
    second = statistic(latents[1:, :40], present[1:, :40], slices)
    assert statistic(latents, present, slices) == pytest.approx((first + second) / 2, rel=1e-9)


def test_workers_that_add_their_sums_find_what_one_would() -> None:
    rng = np.random.default_rng(5)
    halves = torch.from_numpy(rng.standard_normal((2, 1, 30, 2)))
    present = torch.ones(1, 30, dtype=torch.bool)
    slices = directions(2, 4, seed=0, step=0).double()
    sums: list[list[torch.Tensor]] = [[], []]
    for half, kept in zip(halves, sums, strict=True):

        def keep(values: torch.Tensor, kept: list[torch.Tensor] = kept) -> torch.Tensor:
            kept.append(values)
            return values

        sigreg(half, present, slices, points=POINTS, reach=REACH, reduce=keep)
    totals = [a + b for a, b in zip(*sums, strict=True)]
    together = sigreg(halves[0], present, slices, points=POINTS, reach=REACH, reduce=lambda _: totals.pop(0))
    whole = torch.cat(tuple(halves), dim=1)
    expected = sigreg(whole, torch.ones(1, 60, dtype=torch.bool), slices, points=POINTS, reach=REACH)
    assert float(together) == pytest.approx(float(expected), rel=1e-9)


def test_directions_are_of_unit_length_and_their_step_decides_them() -> None:
    one = directions(6, 8, seed=4, step=10)
    assert torch.allclose(one.norm(dim=0), torch.ones(8), atol=1e-6)
    assert torch.equal(one, directions(6, 8, seed=4, step=10))
    assert not torch.equal(one, directions(6, 8, seed=4, step=11))
