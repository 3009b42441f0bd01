"""A log's URL may hold a password, so no message is made of it; `name` is what people may see."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [path for room in ("telemetry", "runtime") for path in sorted((ROOT / room).rglob("*.py"))]
SAID = re.compile(r'f".* \{(?:self\.)?_?(?:log|store|self)\.url\}')


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_sentence_holds_the_url_of_a_log(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line.strip() for line in lines if SAID.search(line)] == []
