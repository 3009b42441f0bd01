"""What is remembered, and the vector it is found by."""

import numpy as np
import pytest
from pydantic import ValidationError

from memory.embed import MAX_WIDTH, VectorEmbedder
from memory.episode import SURPRISE_PERCENTILE, why_remember
from memory.errors import ShapeError
from memory.settings import MemorySettings, When


@pytest.mark.parametrize(
    ("when", "percentile", "reward", "why"),
    [
        ("surprise", SURPRISE_PERCENTILE, None, "surprise"),
        ("surprise", SURPRISE_PERCENTILE - 1e-9, 5.0, None),
        ("surprise", None, 5.0, None),
        ("reward", 1.0, 0.5, "reward"),
        ("reward", 1.0, -0.5, "reward"),
        ("reward", 1.0, 0.0, None),
        ("reward", 1.0, None, None),
        ("always", None, None, "always"),
        ("never", 1.0, 1.0, None),
    ],
)
def test_a_cycle_is_remembered_for_what_the_policy_asks(
    when: When, percentile: float | None, reward: float | None, why: str | None
) -> None:
    assert why_remember(when, percentile=percentile, reward=reward) == why


@pytest.mark.parametrize(
    ("when", "percentile", "why"),
    [
        ("surprise", None, "always"),
        ("surprise", SURPRISE_PERCENTILE, "surprise"),
        ("surprise", 0.1, None),
        ("reward", None, None),
        ("always", None, "always"),
        ("never", None, None),
    ],
)
def test_what_people_say_is_remembered_where_no_surprise_can_be_measured(
    when: When, percentile: float | None, why: str | None
) -> None:
    assert why_remember(when, percentile=percentile, reward=None, spoken=True) == why


def test_settings_refuse_what_they_do_not_know() -> None:
    assert MemorySettings() == MemorySettings(when="surprise", recall=4)
    for wrong in ({"whenn": "always"}, {"when": "often"}, {"recall": -1}):
        with pytest.raises(ValidationError):
            MemorySettings.model_validate(wrong)


def test_a_narrow_observation_is_its_own_embedding() -> None:
    embedder = VectorEmbedder(3)
    assert embedder.embedder == "vector-3@1"
    vector = embedder.embed(np.array([1.0, -2.5, 1e-3]))
    assert vector.dtype == np.float32
    assert vector.tolist() == np.array([1.0, -2.5, 1e-3], dtype=np.float32).tolist()
    assert VectorEmbedder(MAX_WIDTH).projected is False


def test_a_wide_observation_is_projected_and_keeps_its_distances() -> None:
    embedder = VectorEmbedder(3000)
    assert embedder.embedder == "vector-3000-to-256@1"
    seen = np.random.default_rng(0).normal(size=(60, 3000))
    embedded = np.array([embedder.embed(row) for row in seen])
    assert embedded.shape == (60, embedder.size) == (60, 256)
    first, second = np.triu_indices(60, k=1)
    ratio = np.linalg.norm(embedded[first] - embedded[second], axis=1) / np.linalg.norm(
        seen[first] - seen[second], axis=1
    )
    assert (np.abs(ratio - 1) < 0.25).all()
    assert (np.abs(ratio - 1) > 0.125).mean() < 0.04


def test_the_projection_is_the_same_for_ever() -> None:
    # Episodes on disk were embedded with it: another value here needs another embedder id.
    first = VectorEmbedder(300).embed(np.eye(300)[0])[:3]
    assert first == pytest.approx([-0.0391559, 0.0714956, -0.0961881], abs=1e-6)


def test_another_width_and_nothing_at_all_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"takes \(3,\)"):
        VectorEmbedder(3).embed(np.zeros(4))
    with pytest.raises(ShapeError, match="nothing numeric is seen"):
        VectorEmbedder(0)
