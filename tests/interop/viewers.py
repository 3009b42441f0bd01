"""Viewers of traces that others make: how each is installed, started and asked for what it has.

Knows their commands and their APIs; knows nothing of our log. Invariant: a viewer lives in a folder of its own and is
ended with all its processes."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from tests.aether import free_ports

STARTS_WITHIN_S = 300
"""What a viewer may take to answer, on a machine that is busy: it makes its tables first."""
ENDS_WITHIN_S = 20


class Seen(NamedTuple):
    """A span as a viewer gives it back; times in µs, the precision of the coarsest, which rounds where we cut."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    start_us: int
    end_us: int
    failed: bool

    def like(self, other: Seen) -> bool:
        """The same but for how the last microsecond was rounded."""
        near = abs(self.start_us - other.start_us) <= 1 and abs(self.end_us - other.end_us) <= 1
        return near and self._replace(start_us=0, end_us=0) == other._replace(start_us=0, end_us=0)


@dataclass(frozen=True, kw_only=True)
class Viewer:
    name: str
    package: str
    version: str
    command: Callable[[int, Path], list[str]]
    """Program and arguments for a port and a folder."""
    variables: Callable[[int, Path], Mapping[str, str]]
    healthy: str
    """The path that answers when it is up."""
    headers: str = ""
    """OTEL_EXPORTER_OTLP_HEADERS of who sends to it."""
    spans: Callable[[str], Iterator[Seen]] = field(repr=False)
    """All that it has, by its API at that URL."""

    def install(self, venvs: Path) -> Path:
        """Its virtual environment, made where it is not there yet."""
        venv = venvs / self.name
        if self._installed(venv) != self.version:
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
            wanted = f"{self.package}=={self.version}"
            subprocess.run([str(venv / "bin" / "python"), "-m", "pip", "install", "-qq", wanted], check=True)
        return venv

    def _installed(self, venv: Path) -> str | None:
        python = venv / "bin" / "python"
        if not python.exists():
            return None
        code = f"import importlib.metadata as m; print(m.version({self.package!r}))"
        asked = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
        return asked.stdout.strip() or None

    @contextmanager
    def serving(self, venv: Path, folder: Path) -> Iterator[str]:
        """Its URL while it runs. Raises RuntimeError with what it said when it does not come up."""
        folder.mkdir()
        (port,), said = free_ports(1), folder / "said"
        program, *arguments = self.command(port, folder)
        with said.open("wb") as out:
            process = subprocess.Popen(
                [str(venv / "bin" / program), *arguments],
                cwd=folder,
                env={**os.environ, **self.variables(port, folder)},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        url = f"http://127.0.0.1:{port}"
        try:
            until(lambda: _answers(url + self.healthy), within_s=STARTS_WITHIN_S, ended=process.poll)
            yield url
        except TimeoutError as error:
            raise RuntimeError(f"{self.name} did not come up: {said.read_text(errors='replace')[-2000:]}") from error
        finally:
            _end(process)


def until(done: Callable[[], bool], *, within_s: float, ended: Callable[[], int | None] = lambda: None) -> None:
    """Waits until it is so. Raises TimeoutError when it is not in time, or when what is waited for has ended."""
    deadline = time.monotonic() + within_s
    while not done():
        if time.monotonic() > deadline or ended() is not None:
            raise TimeoutError
        time.sleep(0.2)


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(ENDS_WITHIN_S)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _json(url: str, body: object = None) -> Any:  # noqa: ANN401  whatever the API answers
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def _of_phoenix(url: str) -> Iterator[Seen]:
    cursor = ""
    while True:
        page = _json(f"{url}/v1/projects/default/spans?limit=1000{cursor}")
        for span in page["data"]:
            yield Seen(
                span["context"]["trace_id"],
                span["context"]["span_id"],
                span["parent_id"],
                span["name"],
                _micros(span["start_time"]),
                _micros(span["end_time"]),
                span["status_code"] == "ERROR",
            )
        if not page["next_cursor"]:
            return
        cursor = f"&cursor={page['next_cursor']}"


def _micros(moment: str) -> int:
    return (datetime.fromisoformat(moment) - EPOCH) // timedelta(microseconds=1)


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _of_mlflow(url: str) -> Iterator[Seen]:
    where = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}]
    found = _json(f"{url}/api/3.0/mlflow/traces/search", {"locations": where, "max_results": 500})
    for trace in found.get("traces", []):
        whole = _json(f"{url}/api/3.0/mlflow/traces/get?trace_id={trace['trace_id']}")
        for span in whole["trace"]["spans"]:
            parent = span.get("parent_span_id")
            yield Seen(
                base64.b64decode(span["trace_id"]).hex(),
                base64.b64decode(span["span_id"]).hex(),
                base64.b64decode(parent).hex() if parent else None,
                span["name"],
                int(span["start_time_unix_nano"]) // 1000,
                int(span["end_time_unix_nano"]) // 1000,
                span.get("status", {}).get("code") == "STATUS_CODE_ERROR",
            )


PHOENIX = Viewer(
    name="phoenix",
    package="arize-phoenix",
    version="20.26.1",
    command=lambda port, folder: ["phoenix", "serve"],
    variables=lambda port, folder: {
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(free_ports(1)[0]),
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    },
    healthy="/healthz",
    spans=_of_phoenix,
)

MLFLOW = Viewer(
    name="mlflow",
    package="mlflow",
    version="3.17.2",
    command=lambda port, folder: [
        *("mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ],
    variables=lambda port, folder: {"MLFLOW_DISABLE_TELEMETRY": "true"},
    healthy="/health",
    headers="x-mlflow-experiment-id=0",
    spans=_of_mlflow,
)

VIEWERS = (PHOENIX, MLFLOW)
