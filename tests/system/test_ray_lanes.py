"""Asks of many sessions to one phase actor go together, and what one of them comes to is nobody else's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.aether import ROOT, RUN_TIMEOUT_S
from tests.clusters import Head
from tests.lanes import ASKS


@pytest.fixture(scope="module")
def said(head: Head, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder: Path = tmp_path_factory.mktemp("lanes")
    ran = subprocess.run(
        (sys.executable, "-m", "tests.lanes", head.address, str(folder)),
        env=head.env | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    answer: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return answer


def test_many_asks_are_few_calls_and_each_gets_its_own_answer_or_error(said: dict[str, Any]) -> None:
    assert said["echoed"] == [f"KeyError: {n}" if n % 10 == 7 else n for n in range(ASKS)]
    assert said["calls"] < ASKS / 10


def test_an_ask_that_hangs_times_out_and_those_beside_it_are_answered(said: dict[str, Any]) -> None:
    assert said["beside_hanging"] == [0, 1, "EnvironmentFailed: hang did not answer within 1 s", 2, 3]


def test_when_the_actor_dies_everyone_in_the_call_is_asked_again(said: dict[str, Any]) -> None:
    assert said["beside_dying"] == [0, 1, 2, 3, 4, 5, 6]


def test_calls_beyond_an_actors_bound_are_backpressure_and_leave_nothing_behind(
    said: dict[str, Any],
) -> None:
    assert "this one was not made" in said["refused"]
    assert said["answered"] == 128
    assert said["afterwards"] == 1
