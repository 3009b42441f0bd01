"""The demo of the README, as a user runs it: real Ray, real HTTP, a real kill -9."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def shape(line: str) -> str:
    """A line without what differs from run to run: ids, ports, who ran it, spacing."""
    line = re.sub(r"\b[0-9a-f]{12,64}\b", "ID", line)
    line = re.sub(r"(kill -9|127\.0\.0\.1:|by) ?\w+", r"\1 N", line)
    line = re.sub(r"^  \w+ (allows|refuses)", r"  SOMEBODY \1", line)
    return re.sub(r"\s+", " ", line).strip()


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
    printed = {shape(line) for line in played.stdout.splitlines()}
    shown = README.partition("`make demo-refund` prints:\n\n```console\n")[2].partition("```")[0].splitlines()
    assert len(shown) > 20
    for line in (line for line in shown if line.strip() and "…" not in line):
        assert shape(line) in printed, line
