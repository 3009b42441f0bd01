"""Sends sessions to viewers of traces that others make, and reads them back: `make test-interop`.

Each viewer is installed from PyPI in its own virtual environment under build/interop, started, sent two recorded
sessions by `aether trace export --otlp`, twice, and asked by its own API for every span. Exits with 1 unless all came
back once, under their ids, with their names, times and states, and each within its parent."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

from telemetry.log import open_log
from telemetry.otel.span import Span
from telemetry.otel.spans import SpanFold
from tests.interop.viewers import VIEWERS, Seen, Viewer, until

ROOT = Path(__file__).resolve().parents[2]
SESSIONS = ("refund", "maze")
ARRIVES_WITHIN_S = 60
"""Viewers answer before they have stored what they took."""


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.interop", description=__doc__)
    options.add_argument("viewers", nargs="*", default=[viewer.name for viewer in VIEWERS], metavar="VIEWER")
    options.add_argument("--venvs", type=Path, default=ROOT / "build" / "interop", help="where they are installed")
    asked = options.parse_args()
    chosen = [viewer for viewer in VIEWERS if viewer.name in asked.viewers]
    with tempfile.TemporaryDirectory() as place:
        log = _log(Path(place))
        results = [_tried(viewer, asked.venvs, log, Path(place)) for viewer in chosen]
    return 0 if all(results) else 1


def _log(place: Path) -> Path:
    log = place / "log.db"
    files = [str(ROOT / "tests" / "golden" / f"{name}.jsonl") for name in SESSIONS]
    _aether("log", "import", *files, "--log", str(log))
    return log


def _tried(viewer: Viewer, venvs: Path, log: Path, place: Path) -> bool:
    with closing(open_log(str(log), create=False)) as store:
        sent = SpanFold(store).fold(store.read_all())
    venv = viewer.install(venvs)
    with viewer.serving(venv, place / viewer.name) as url:
        for times in ("once", "again"):
            _send(viewer, url, log, name=f"{viewer.name}-{times}")
        began = time.monotonic()
        with suppress(TimeoutError):  # what is missing is told below
            until(lambda: len(list(viewer.spans(url))) >= len(sent), within_s=ARRIVES_WITHIN_S)
        found = list(viewer.spans(url))
    wrong = [*_differences(sent, found), *_misplaced(found)]
    for line in wrong[:20]:
        _say(f"{viewer.name}: {line}")
    _say(
        f"{viewer.name} {viewer.version}: {len(sent)} spans sent twice, {len(found)} came back after "
        f"{time.monotonic() - began:.1f} s, {len(wrong)} of them wrong"
    )
    return not wrong


def _send(viewer: Viewer, url: str, log: Path, *, name: str) -> None:
    headers = {"OTEL_EXPORTER_OTLP_HEADERS": viewer.headers} if viewer.headers else {}
    _aether("trace", "export", "--otlp", url, "--record", "none", "--as", name, "--log", str(log), more=headers)


def _aether(*arguments: str, more: Mapping[str, str] | None = None) -> None:
    command = [sys.executable, "-m", "runtime", *arguments]
    ran = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **(more or {})}, capture_output=True, text=True, check=False
    )
    if ran.returncode != 0:
        raise RuntimeError(f"aether {' '.join(arguments)} ended with {ran.returncode}: {ran.stderr[-2000:]}")


def _expected(span: Span) -> Seen:
    return Seen(
        f"{span.trace_id:032x}",
        f"{span.span_id:016x}",
        None if span.parent_id is None else f"{span.parent_id:016x}",
        span.name,
        span.start // 1000,
        span.end // 1000,
        span.error is not None,
    )


def _differences(sent: list[Span], found: list[Seen]) -> list[str]:
    """What is not there as it was sent, or more than once."""
    have: dict[str, list[Seen]] = {}
    for seen in found:
        have.setdefault(seen.span_id, []).append(seen)
    wrong = []
    for span in sent:
        expected = _expected(span)
        several = have.pop(expected.span_id, [])
        if len(several) != 1 or not several[0].like(expected):
            wrong.append(f"{expected} came back as {several or 'nothing'}")
    return wrong + [f"{seen} was never sent" for several in have.values() for seen in several]


def _misplaced(found: list[Seen]) -> list[str]:
    """What does not lie within its parent, or stands below none of its trace."""
    by_id = {seen.span_id: seen for seen in found}
    wrong = []
    for seen in found:
        if seen.parent_id is None:
            continue
        parent = by_id.get(seen.parent_id)
        if parent is None or parent.trace_id != seen.trace_id:
            wrong.append(f"{seen} has no parent in its trace")
        elif not parent.start_us <= seen.start_us <= seen.end_us <= parent.end_us:
            wrong.append(f"{seen} does not lie within {parent}")
    return wrong


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
