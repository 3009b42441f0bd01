"""The benchmarks of telemetry measure what they say: what stands beside ours takes and loses what it should."""

from __future__ import annotations

import re
import time

import pytest
import requests

import benchmarks.telemetry
from benchmarks.telemetry.__main__ import PARTS, main
from benchmarks.telemetry.bursts import lost_by_the_sdk
from benchmarks.telemetry.sink import discarding


def test_every_part_is_described() -> None:
    described = re.findall(r"^([a-z]+) {2,}", benchmarks.telemetry.__doc__ or "", re.MULTILINE)
    assert PARTS.keys() <= {*described}


def test_a_part_that_there_is_not_is_a_mistake_that_names_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["nothing"])
    assert "there are: bursts, bare" in capsys.readouterr().err


def test_the_collector_that_keeps_nothing_answers_each_request_on_one_connection_when_it_is_late_too() -> None:
    with discarding(late_s=0.02) as url, requests.Session() as session:
        began = time.perf_counter()
        for size in (0, 1, 3_000_000):
            answer = session.post(f"{url}/v1/traces", data=b"x" * size, timeout=30)
            assert (answer.status_code, answer.content) == (200, b"")
        assert time.perf_counter() - began >= 0.06


def test_the_sdks_processor_loses_of_a_burst_what_its_queue_cannot_hold_and_nothing_of_a_small_one() -> None:
    assert lost_by_the_sdk(2_000, 0.0) == 0
    assert lost_by_the_sdk(20_000, 0.5) > 0
