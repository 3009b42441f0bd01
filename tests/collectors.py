"""A collector in a process of its own, which can be killed and started again where it was.

Invariant: what it acknowledged is found in `taken`, however it ended."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.aether import ROOT, RUN_TIMEOUT_S, end_with_parent, free_ports
from tests.collector import Manner, kept, metrics_of, records_of, spans_of


class CollectorProcess:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ports = [str(port) for port in free_ports(2)]
        self.start()

    def start(self) -> None:
        """On the same ports each time, which are no connection's meanwhile."""
        self._process = subprocess.Popen(
            (sys.executable, "-m", "tests.collector", str(self.folder), *self._ports),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=end_with_parent,
        )
        assert self._process.stdout is not None
        said = json.loads(self._process.stdout.readline())
        self.url, self.grpc_url = said["url"], said["grpc_url"]

    def kill(self) -> None:
        """As a power cut does."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()

    def behave(self, manner: Manner) -> None:
        content = json.dumps(asdict(manner)).encode()
        urllib.request.urlopen(f"{self.url}/manner", content, timeout=RUN_TIMEOUT_S).close()

    @property
    def asked(self) -> int:
        """Requests since it was started."""
        with urllib.request.urlopen(f"{self.url}/asked", timeout=RUN_TIMEOUT_S) as answer:
            return int(answer.read())

    @property
    def taken_bytes(self) -> int:
        """Of all that it acknowledged, about."""
        return sum(path.stat().st_size for path in self.folder.iterdir())

    @property
    def spans(self) -> list[Span]:
        """What it acknowledged, repeats among them."""
        return spans_of(kept(self.folder, "traces"))

    @property
    def metrics(self) -> dict[str, Metric]:
        """The last of each name."""
        return metrics_of(kept(self.folder, "metrics"))

    @property
    def records(self) -> list[LogRecord]:
        return records_of(kept(self.folder, "logs"))


@contextmanager
def collector_process() -> Iterator[CollectorProcess]:
    with tempfile.TemporaryDirectory() as folder:
        collector = CollectorProcess(Path(folder))
        try:
            yield collector
        finally:
            collector.kill()
