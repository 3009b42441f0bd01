"""A process on another node is known dead when that node says so."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing

import pytest

from tests.aether import ROOT, RUN_TIMEOUT_S
from tests.clusters import APART, Head


@pytest.mark.skipif(
    subprocess.run([*APART, "true"], capture_output=True, check=False).returncode != 0,
    reason="this user may not make a pid namespace, so there is one machine only",
)
def test_of_a_process_on_another_node_its_node_is_asked() -> None:
    with closing(Head()) as head, head.node_apart("far"):  # the suite's shared one said "unknown"; why is not found
        ran = subprocess.run(
            (sys.executable, "-m", "tests.elsewhere", head.address),
            env=head.env | {"PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT_S,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == {
        "here": "unknown",
        "there": "alive",
        "afterwards": "dead",
        "of a node nobody knows": "unknown",
    }
