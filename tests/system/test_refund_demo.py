"""The demo of the README, as a user runs it: real Ray, real HTTP, a real kill -9."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_demo_refunds_each_order_once_although_its_host_is_killed_between_refund_and_outcome() -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("AETHER_", "OPENAI_", "SHOP_"))}
    played = subprocess.run(
        [sys.executable, "-m", "examples.refund.demo"],
        cwd=ROOT,
        env=plain,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert played.returncode == 0, played.stdout + played.stderr
    assert "kill -9" in played.stdout
    assert "refunds by order: {'1001': 1, '1003': 1}" in played.stdout
    assert "recorded state hashes agree" in played.stdout
