"""Pages of docs/ that follow from the code are what the code says now, and links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.renderers import renderer

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("name", ["events.md", "settings.md", "traces.md", "telemetry.md"])
def test_a_rendered_page_is_what_the_code_says(name: str) -> None:
    said = renderer("render").PAGES[name]()
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == said, "run: python docs/render.py"


def test_every_event_and_setting_says_what_it_means() -> None:
    for page in ("events.md", "settings.md", "traces.md"):
        for line in (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines():
            assert not re.search(r"\|\s+\|", line), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
