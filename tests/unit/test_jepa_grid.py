"""A grid of codes as an encoder reads it: where each code is, and that codes are categories."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from world_model.jepa.encoder import Grid
from world_model.jepa.senses import Sense

CODES = (1.0, 8.0, 10.0)


def reader(side: int) -> Grid:
    torch.manual_seed(0)
    sense = Sense(name="grid", kind="grid", width=side * side, shape=(side, side, 1), codes=CODES)
    return Grid(sense, features=4)


def room(side: int, *, walker: tuple[int, int], code: float = 10.0) -> Tensor:
    grid = torch.ones(side, side)
    grid[walker] = code
    return grid.reshape(1, -1)


@pytest.mark.parametrize("side", [9, 19])
def test_the_place_of_a_code_is_read_without_learning(side: int) -> None:
    grid = reader(side)
    presence, row, column = grid(room(side, walker=(1, 3)))[0, :9].reshape(3, 3)
    assert presence.tolist() == [1.0, 0.0, 1.0]
    unit = 2 * 3**0.5 / (side - 1)
    assert row[2].item() == pytest.approx((1 - (side - 1) / 2) * unit, abs=1e-5)
    assert column[2].item() == pytest.approx((3 - (side - 1) / 2) * unit, abs=1e-5)
    assert (row[1].item(), column[1].item()) == (0.0, 0.0)


@pytest.mark.parametrize("side", [5, 19])
def test_a_code_that_was_never_lived_is_as_nothing(side: int) -> None:
    grid = reader(side)
    unknown = grid(room(side, walker=(2, 2), code=7.0))
    other = grid(room(side, walker=(2, 2), code=99.0))
    assert torch.equal(unknown, other)
    assert unknown.isfinite().all()


def test_only_small_grids_are_read_place_by_place() -> None:
    assert reader(6).width == 3 * len(CODES) + 4
    assert reader(7).width == 3 * len(CODES)
