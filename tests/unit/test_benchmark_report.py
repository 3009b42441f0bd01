"""The lines that benchmarks leave, and the page made of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from benchmarks import render, report
from benchmarks.report import Figure, Header, Run


def a_figure(name: str = "cycle_ms", *, value: float = 0.8, floor: float | None = 1.0) -> Figure:
    return Figure(figure=name, value=value, unit="ms", op="<=", floor=floor, aim=None, n=1, samples=(value,))


def a_run(*, day: int = 1, commit: str = "abc123") -> Run:
    date = datetime(2026, 1, day, 12, tzinfo=UTC)
    return Run(date=date, commit=commit, machine="a machine, 2 cores", python="3.11.0", profile="full")


def lines_of(*lines: Figure | Run) -> list[str]:
    return [(Header(run=line) if isinstance(line, Run) else line).model_dump_json() for line in lines]


def test_a_figure_prints_the_line_it_appends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "build" / "bench.jsonl"
    report.figure("cycle_ms", value=0.8, unit="ms", op="<=", floor=1, samples=[0.7, 0.9], path=path)
    printed = capsys.readouterr().out
    assert list(json.loads(printed)) == ["figure", "value", "unit", "op", "floor", "aim", "n", "samples"]
    assert json.loads(printed)["n"] == 2
    assert json.loads(printed)["aim"] is None
    assert path.read_text().splitlines()[-1] + "\n" == printed


def test_one_header_stands_above_all_figures_of_a_process(tmp_path: Path) -> None:
    path = tmp_path / "bench.jsonl"
    for name in ("one", "two"):
        report.figure(name, value=1, unit="s", op=">=", samples=[1], path=path)
    heads = [next(iter(json.loads(line))) for line in path.read_text().splitlines()]
    assert heads == ["run", "figure", "figure"]
    run = json.loads(path.read_text().splitlines()[0])["run"]
    assert run["machine"]
    assert run["commit"]
    assert datetime.fromisoformat(run["date"]).tzinfo is not None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_lacks_is_refused_and_nothing_is_written(tmp_path: Path, value: float) -> None:
    path = tmp_path / "bench.jsonl"
    with pytest.raises(ValidationError):
        report.figure("cycle_ms", value=value, unit="ms", op="<=", samples=[1], path=path)
    assert not path.exists()


@pytest.mark.parametrize(
    ("op", "value", "floor", "met"),
    [
        ("<=", 1.0, 1.0, True),
        ("<=", 1.1, 1.0, False),
        (">=", 1.0, 1.0, True),
        (">=", 0.9, 1.0, False),
        ("<=", 5.0, None, None),
    ],
)
def test_a_floor_is_met_on_its_own_side(op: report.Op, value: float, floor: float | None, met: bool | None) -> None:
    figure = Figure(figure="x", value=value, unit="ms", op=op, floor=floor, aim=None, n=0, samples=())
    assert figure.met(floor) is met


@pytest.mark.parametrize(("profile", "expected"), [("short", True), ("full", False), (None, False)])
def test_only_profile_short_is_short(monkeypatch: pytest.MonkeyPatch, profile: str | None, expected: bool) -> None:
    monkeypatch.delenv("PROFILE", raising=False)
    if profile is not None:
        monkeypatch.setenv("PROFILE", profile)
    assert report.short() is expected


def test_a_misspelt_profile_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROFILE", "shrot")
    with pytest.raises(ValueError, match="shrot"):
        report.short()


def test_the_page_shows_the_latest_line_of_each_figure_with_its_own_run() -> None:
    old, new = a_run(day=1, commit="old"), a_run(day=2, commit="new")
    lines = lines_of(old, a_figure(value=2.0), a_figure("other", floor=None), new, a_figure(value=0.5))
    page = render.page(render.latest(lines))
    assert "| `cycle_ms` | 0.5 | ms | ≤ 1 | met | – | 1 | 2 |" in page
    assert "| `other` | 0.8 | ms | – | – | – | 1 | 1 |" in page
    assert "| 2 | 2026-01-02 12:00 UTC | new | a machine, 2 cores | 3.11.0 | full |" in page


def test_a_missed_floor_is_shown_as_missed() -> None:
    assert "| **missed** |" in render.page([(a_figure(value=1.5), a_run())])


@pytest.mark.parametrize("line", ['{"figure": "x"}', "not json", a_figure().model_dump_json()])
def test_a_broken_file_leaves_the_page_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str) -> None:
    lines, page = tmp_path / "bench.jsonl", tmp_path / "benchmarks.md"
    lines.write_text(line + "\n")
    page.write_text("as it was")
    assert render.main(lines, page) == 1
    assert page.read_text() == "as it was"
    assert "line 1" in capsys.readouterr().err


def test_a_figure_that_was_not_measured_again_keeps_its_row_and_its_run() -> None:
    first = render.page([(a_figure(), a_run(day=2, commit="one")), (a_figure("other"), a_run(day=2, commit="one"))])
    second = render.page([(a_figure("other", value=0.5), a_run(day=1, commit="two"))], before=first)
    assert "| `cycle_ms` | 0.8 | ms | ≤ 1 | met | – | 1 | 2 |" in second
    assert "| `other` | 0.5 | ms | ≤ 1 | met | – | 1 | 1 |" in second
    assert "| 1 | 2026-01-01 12:00 UTC | two |" in second
    assert "| 2 | 2026-01-02 12:00 UTC | one |" in second


def test_rendering_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    lines, page = tmp_path / "bench.jsonl", tmp_path / "docs" / "benchmarks.md"
    lines.write_text("\n".join(lines_of(a_run(), a_figure())) + "\n")
    assert render.main(lines, page) == 0
    first = page.read_bytes()
    assert render.main(lines, page) == 0
    assert page.read_bytes() == first


@pytest.mark.parametrize(
    ("value", "text"), [(0.0123456, "0.0123"), (12.345, "12.3"), (999.9, "1,000"), (123456.7, "123,457")]
)
def test_numbers_are_written_without_exponents(value: float, text: str) -> None:
    assert render.number_text(value) == text
