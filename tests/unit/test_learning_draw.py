"""The learning curve as a picture and in characters, and the intervals on it."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import pytest

from runtime.learning.curve import Arm, Point, over_copy
from runtime.learning.draw import draw, sketch
from runtime.learning.history import Verdict
from runtime.learning.judging.sequential import Interval


def around(value: float, reach: float = 0.05) -> Interval:
    return Interval(value, value - reach, value + reach)


def arm(model: str, success: float, steps: float, nats: float | None, error: float | None) -> Arm:
    return Arm(
        model=model,
        success=around(success),
        steps=around(steps, 2),
        nats=None if nats is None else around(nats),
        error_over_copy=None if error is None else around(error),
    )


BASE = arm("greedy@4f6b00000000", 0.8, 30, 0.3, 0.6)
ONE = arm("maze@000000000001", 0.95, 12, -1.6, 0.25)
TWO = arm("maze@000000000002", 0.9, 14, -1.5, 0.24)


def after(number: int, stands: Arm, candidate: Arm, verdict: Verdict) -> Point:
    return Point(round=number, stands=stands, candidate=candidate, verdict=verdict, pairs=40, transitions=6000 * number)


POINTS = (
    Point(round=0, stands=BASE, pairs=40),
    after(1, ONE, ONE, "promoted"),
    after(2, ONE, TWO, "rejected"),
)


def size(picture: Path) -> tuple[int, int]:
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG\r\n")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


@pytest.mark.parametrize("points", [POINTS, POINTS[:2], POINTS[:1]])
def test_the_picture_is_drawn_whole_however_many_rounds_there_are(tmp_path: Path, points: tuple[Point, ...]) -> None:
    path = draw(points, tmp_path / "curve.png", name="maze")
    width, height = size(path)
    assert width > height > 500
    assert [file.name for file in tmp_path.iterdir()] == ["curve.png"]


def test_a_picture_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "curve.png"
    draw(POINTS[:1], path, name="maze")
    first = path.read_bytes()
    draw(POINTS, path, name="maze")
    assert path.read_bytes() != first


def test_a_curve_without_predictions_is_drawn_all_the_same(tmp_path: Path) -> None:
    blind = arm("explore@4f6b00000000", 0.5, 40, None, None)
    points = (Point(round=0, stands=blind, pairs=40), after(1, blind, blind, "rejected"))
    assert draw(points, tmp_path / "curve.png", name="maze").exists()
    assert "surprise" in sketch(points, width=80)


@pytest.mark.parametrize("width", [40, 71, 72, 100, 300])
def test_the_sketch_keeps_to_the_width_and_stacks_its_panels_where_that_is_small(width: int) -> None:
    lines = sketch(POINTS, width=width).splitlines()
    assert all(len(line) <= min(width, 110) for line in lines[:-1])
    beside = any("success" in line and "to the goal" in line for line in lines)
    assert beside == (width >= 72)
    text = "\n".join(lines)
    assert all(title in text for title in ("success", "to the goal", "surprise", "prediction error"))


def test_a_round_without_a_measurement_has_its_place_and_no_mark(tmp_path: Path) -> None:
    nothing = Point(round=2, stands=ONE, verdict="rejected", pairs=0)
    text = sketch((*POINTS[:2], nothing), width=100)
    assert text.count("●") == 4 * 2 + 1
    assert "×" not in text
    assert draw((*POINTS[:2], nothing), tmp_path / "curve.png", name="maze").exists()


def test_the_sketch_is_plain_text_in_which_a_rejected_candidate_has_a_mark_of_its_own() -> None:
    text = sketch(POINTS, width=100)
    assert "\x1b" not in text
    assert text.count("×") == 4 + 1, "one a panel, and the one that is explained"
    assert "×" not in sketch(POINTS[:2], width=100)


def test_the_interval_of_one_error_over_another_resamples_whole_sessions() -> None:
    rng = np.random.default_rng(5)
    missed, moved = rng.gamma(2.0, size=50), rng.gamma(8.0, size=50)
    found = over_copy(missed.tolist(), moved.tolist())
    assert found is not None
    assert found.value == pytest.approx(math.sqrt(missed.sum() / moved.sum()))
    resampled = []
    for _ in range(10_000):
        chosen = rng.integers(50, size=50)
        resampled.append(math.sqrt(missed[chosen].sum() / moved[chosen].sum()))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(resampled, (0.025, 0.975))), abs=0.01)


def test_one_session_has_no_spread_and_one_that_did_not_move_says_nothing() -> None:
    assert over_copy([1.0, 3.0], [4.0, 0.0]) == (0.5, 0.5, 0.5)
    assert over_copy([1.0], [0.0]) is None
