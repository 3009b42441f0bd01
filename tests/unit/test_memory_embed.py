"""Texts as vectors: near when they are said in like words, and the same vector for ever."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.embed import TEXT_WIDTH, TextEmbedder

EMBEDDER = TextEmbedder()
TEXTS = st.text(max_size=200)


def near(one: str, other: str) -> float:
    return float(EMBEDDER.embed(one) @ EMBEDDER.embed(other))


@given(text=TEXTS)
def test_a_text_has_length_one_or_is_nothing(text: str) -> None:
    vector = EMBEDDER.embed(text)
    assert (vector.dtype, vector.shape) == (np.dtype(np.float32), (TEXT_WIDTH,))
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1 if vector.any() else 0, abs=1e-6)


def test_nothing_said_is_near_nothing() -> None:
    assert not EMBEDDER.embed("").any()
    assert not EMBEDDER.embed(" \n\t").any()


def test_signs_and_pictures_without_a_word_are_told_apart() -> None:
    assert near("👍", "👍") == pytest.approx(1, abs=1e-6)
    assert near("👍", "???") < 0.9


def test_like_words_are_nearer_than_other_words() -> None:
    question = "When was my refund sent?"
    assert near(question, "The refund was sent on Monday") > near(question, "Our cat likes the new sofa")
    assert near("refunds", "refunding") > 0.4 > near("refunds", "sofa")


def test_case_width_and_order_of_words_do_not_matter() -> None:
    assert near("Straße ﬁn", "STRASSE FIN") == pytest.approx(1, abs=1e-6)
    assert near("to be or not", "not or be to") == pytest.approx(1, abs=1e-6)


def test_a_word_said_twice_weighs_less_than_twice() -> None:
    once, twice = near("ham spam", "spam"), near("ham spam spam", "spam")
    assert once < twice < near("ham spam spam spam spam spam", "spam")


def test_the_vector_is_the_same_for_ever_and_in_every_process() -> None:
    # Episodes on disk were embedded with it: another value here needs another embedder id.
    vector = EMBEDDER.embed("refund order 1007")
    assert EMBEDDER.embedder == "text-hash-256@1"
    places = np.flatnonzero(vector)[:6].tolist()
    assert places == [44, 72, 86, 100, 109, 114]
    assert vector[places] == pytest.approx(np.array([1, -1, 1, -1, -1, -1]) / np.sqrt(18), abs=1e-6)
    code = "from memory.embed import TextEmbedder; print(TextEmbedder().embed('refund order 1007').tobytes().hex())"
    other = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert bytes.fromhex(other.stdout) == vector.tobytes()
