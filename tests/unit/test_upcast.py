"""Older shapes: the chain of upcasters is whole or nothing can be imported, and an old payload is read as today's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Literal

import pytest

from telemetry.errors import InvalidEvent, VocabularyBroken
from telemetry.events import Event, Unknown, decode, encode, upcast
from telemetry.events.registry import CLASSES
from telemetry.events.upcast import Payload, check_chain

ROOT = Path(__file__).parents[2]


class Dreamt(Event):
    """A type that was released in three shapes: `{dream}`, `{dream, minutes}`, and this one."""

    SCHEMA: ClassVar[int] = 3

    type: Literal["learn.dreamt"] = "learn.dreamt"
    dream: str
    asleep_s: int


def with_minutes(payload: Payload) -> Payload:
    return {**payload, "minutes": 0}


def in_seconds(payload: Payload) -> Payload:
    minutes = payload.pop("minutes")
    if not isinstance(minutes, int):
        raise TypeError(f"minutes of {minutes!r}")
    return {**payload, "asleep_s": 60 * minutes}


@pytest.fixture
def dreams(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vocabulary with `learn.dreamt` in it."""
    steps: dict[tuple[str, int], Callable[[Payload], Payload]]
    steps = {("learn.dreamt", 1): with_minutes, ("learn.dreamt", 2): in_seconds}
    monkeypatch.setitem(CLASSES, "learn.dreamt", Dreamt)
    monkeypatch.setattr(upcast, "UPCASTERS", steps)


@pytest.mark.usefixtures("dreams")
def test_every_older_shape_is_read_as_todays() -> None:
    assert decode("learn.dreamt", 1, b'{"dream":"of sheep"}') == Dreamt(dream="of sheep", asleep_s=0)
    assert decode("learn.dreamt", 2, b'{"dream":"of sheep","minutes":3}') == Dreamt(dream="of sheep", asleep_s=180)
    assert decode("learn.dreamt", 3, encode(Dreamt(dream="", asleep_s=1))) == Dreamt(dream="", asleep_s=1)
    assert isinstance(decode("learn.dreamt", 4, b"{}"), Unknown)
    check_chain({name: kind.SCHEMA for name, kind in CLASSES.items()}, upcast.UPCASTERS)


@pytest.mark.usefixtures("dreams")
@pytest.mark.parametrize(
    "payload",
    [b"{}", b'{"dream":1,"minutes":1}', b'{"dream":"","minutes":"1"}', b'{"dream":"","minutes":1,"more":1}', b"\xff"],
)
def test_an_old_payload_that_was_never_of_its_shape_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidEvent, match=r"payload is not a learn\.dreamt of schema 2"):
        decode("learn.dreamt", 2, payload)


def test_a_missing_upcaster_is_named_with_what_to_do() -> None:
    check_chain({"a.b": 1, "a.c": 3}, [("a.c", 1), ("a.c", 2)])
    with pytest.raises(VocabularyBroken, match=r'a\.c is of schema 3 and has no upcaster from schema 2.*\("a\.c", 2\)'):
        check_chain({"a.b": 1, "a.c": 3}, [("a.c", 1)])
    with pytest.raises(VocabularyBroken, match=r"no upcaster from schema 1[\s\S]*no upcaster from schema 2"):
        check_chain({"a.c": 3}, [])


@pytest.mark.parametrize("stray", [("a.c", 2), ("a.c", 0), ("gone.by", 1)])
def test_an_upcaster_that_leads_nowhere_is_named(stray: tuple[str, int]) -> None:
    with pytest.raises(VocabularyBroken, match=rf'\("{stray[0]}", {stray[1]}\) leads nowhere'):
        check_chain({"a.b": 1, "a.c": 2}, [("a.c", 1), stray])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("learn.Rewarded.SCHEMA = 2", "learn.rewarded is of schema 2 and has no upcaster from schema 1"),
        ("upcast.UPCASTERS['learn.rewarded', 1] = dict", "learn.rewarded is of schema 1"),
        ("upcast.UPCASTERS['learn.renamed', 1] = dict", "learn.renamed is in no vocabulary"),
    ],
)
def test_a_vocabulary_with_a_gap_cannot_be_imported(change: str, words: str) -> None:
    """The package's own `__init__` imports the registry, so it is taken out and imported again after the change."""
    code = (
        "import sys, telemetry.events; from telemetry.events import learn, upcast\n"
        f"{change}\n"
        "del sys.modules['telemetry.events.registry']; import telemetry.events.registry"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "VocabularyBroken" in done.stderr
    assert words in done.stderr
