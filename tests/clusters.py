"""A Ray cluster of the tests' own: one head with its own folder, ports and token, ended by its process group."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from tests.aether import end_with_parent, environment, short_folder, wait_until

START_TIMEOUT_S = 90.0
CPUS = 8
"""What the head says it has; nothing here computes for long."""


class Head:
    """`ray start --head --block`, with a dashboard on loopback for jobs."""

    def __init__(self) -> None:
        self.folder = short_folder()
        self.env = environment(self.folder)
        port, self._dashboard = _free_port(), _free_port()
        self.address = f"127.0.0.1:{port}"
        self.dashboard = f"http://127.0.0.1:{self._dashboard}"
        ray = str(Path(sys.executable).with_name("ray"))
        flags = (
            f"--port={port}",
            "--node-ip-address=127.0.0.1",
            f"--num-cpus={CPUS}",
            "--dashboard-host=127.0.0.1",
            f"--dashboard-port={self._dashboard}",
            f"--dashboard-agent-listen-port={_free_port()}",
            f"--temp-dir={self.folder / 'ray'}",
            "--disable-usage-stats",
        )
        self._output = (self.folder / "head.txt").open("w+b")
        self._process = subprocess.Popen(
            (ray, "start", "--head", "--block", *flags),
            env=self.env,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        try:
            wait_until(self._answers, timeout_s=START_TIMEOUT_S, what="the head's dashboard answers")
        except TimeoutError:
            self.close()
            raise

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self.folder / "head.txt").read_text()
        token = Path(self.env["RAY_AUTH_TOKEN_PATH"]).read_text()
        request = urllib.request.Request(f"{self.dashboard}/api/jobs/", headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    def actors(self, name: str) -> list[int]:
        """Process ids of the living actors of class `name` on this head."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                line = (path / "cmdline").read_bytes()
                ours = str(self.folder).encode() in (path / "environ").read_bytes()
            except OSError:  # it ended meanwhile, or is not ours
                continue
            if ours and line.startswith(f"ray::{name}".encode()):
                found.append(int(path.name))
        return found

    def close(self) -> None:
        """Ends what `ray start` started: it ends its own children when it is asked to end."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(40)  # Ray drains its node for up to 30 s
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        self._output.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
