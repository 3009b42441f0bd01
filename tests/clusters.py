"""Ray clusters of the tests' own: a head, or several nodes, each with its own folder, ports and token.

Knows Ray's command line and its cluster utility; imports neither. Invariant: what is started here is ended here, by its
process group, and by nobody else."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.aether import ROOT, end_with_parent, environment, free_ports, short_folder, wait_until

START_TIMEOUT_S = 240.0
APART = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
"""Before a command: in a pid namespace of its own, which ends with it."""
REST_TIME_S = "120"
"""Seconds that a job which is stopped may take to let its sessions rest; Ray's own three are few on a busy machine."""
CPUS = 8
"""What the head says it has; nothing here computes for long."""


class Head:
    """`ray start --head --block`, with a dashboard on loopback for jobs. Its workers have the variables `more`."""

    def __init__(self, **more: str) -> None:
        self.folder = short_folder()
        self.env = environment(self.folder, RAY_JOB_STOP_WAIT_TIME_S=REST_TIME_S, **more)
        port, self._dashboard, agent = free_ports(3)
        self.address = f"127.0.0.1:{port}"
        self.dashboard = f"http://127.0.0.1:{self._dashboard}"
        ray = str(Path(sys.executable).with_name("ray"))
        flags = (
            f"--port={port}",
            "--node-ip-address=127.0.0.1",
            f"--num-cpus={CPUS}",
            "--dashboard-host=127.0.0.1",
            f"--dashboard-port={self._dashboard}",
            f"--dashboard-agent-listen-port={agent}",
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
        except BaseException:
            self.close()
            raise

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self.folder / "head.txt").read_text()
        token = Path(self.env["RAY_AUTH_TOKEN_PATH"]).read_text()
        request = urllib.request.Request(f"{self.dashboard}/api/jobs/", headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    def actors(self, name: str) -> list[int]:
        """Process ids of the living actors of class `name` on this head."""
        return actors_in(self.folder, name)

    @contextmanager
    def control_store_stopped(self) -> Iterator[None]:
        """Stops what knows of every actor (the GCS), as for a node that lost its network: nobody ends anything, until
        `let_go` or the end of the block."""
        (self._stopped,) = (pid for pid, line in _processes(self.folder) if b"/gcs_server" in line.split(b"\0")[0])
        os.kill(self._stopped, signal.SIGSTOP)
        try:
            yield
        finally:
            self.let_go()

    @contextmanager
    def node_apart(self, name: str) -> Iterator[None]:
        """A second node with one unit of the resource `name`, whose pids mean nothing here, as on another machine."""
        ray = str(Path(sys.executable).with_name("ray"))
        flags = (f"--address={self.address}", "--node-ip-address=127.0.0.1", "--num-cpus=2", "--disable-usage-stats")
        with (self.folder / f"{name}.txt").open("w+b") as output:
            node = subprocess.Popen(
                (*APART, ray, "start", "--block", *flags, f"--resources={json.dumps({name: 1})}"),
                env=self.env | {"PYTHONPATH": str(ROOT)},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=end_with_parent,
            )
            try:
                yield
            finally:
                node.kill()  # and with it everything in its namespace
                node.wait()

    def let_go(self) -> None:
        """Lets the control store go on."""
        os.kill(self._stopped, signal.SIGCONT)

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


@dataclass(frozen=True)
class Node:
    """One node of `Nodes`: its id in Ray, and the process whose end is the node's end."""

    id: str
    raylet: int


class Nodes:
    """Several nodes on this machine, by `ray.cluster_utils.Cluster`; the first is the head, where drivers attach.

    The nodes share this machine's address, so a node is told by its id or by a resource of its own."""

    def __init__(self, *, cpus: int = CPUS) -> None:
        """Starts the head alone. A node that is killed is noticed within about two seconds."""
        self.folder = short_folder()
        self.env = environment(self.folder, RAY_TMPDIR=str(self.folder), PYTHONPATH=str(ROOT))
        head = {"num_cpus": cpus, "include_dashboard": False, "temp_dir": str(self.folder / "ray")}
        self._output = (self.folder / "nodes.txt").open("w+b")
        self._process = subprocess.Popen(
            (sys.executable, "-m", "tests.nodes", json.dumps(head)),
            env=self.env,
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._output,
            text=True,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        try:
            self.head = self._started()
        except BaseException:
            self.close()
            raise

    def add(self, *, cpus: int = CPUS, **resources: float) -> Node:
        """One more node, with resources of its own by name; returns when the cluster knows it."""
        assert self._process.stdin is not None
        arguments = {"num_cpus": cpus, "resources": resources, "include_dashboard": False}
        print(json.dumps(arguments), file=self._process.stdin, flush=True)
        return self._started()

    def _started(self) -> Node:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], START_TIMEOUT_S)
        line = self._process.stdout.readline() if ready else ""
        assert line, (self.folder / "nodes.txt").read_text()
        said = json.loads(line)
        self.address: str = said["address"]
        return Node(id=said["node"], raylet=said["raylet"])

    def actors(self, name: str, *, on: Node | None = None) -> list[int]:
        """Process ids of the living actors of class `name`, on one node or on any."""
        return [pid for pid in actors_in(self.folder, name) if on is None or _parent(pid) == on.raylet]

    def kill(self, node: Node) -> None:
        """Ends a node as a machine that loses its power: all its processes at once, unasked."""
        for pid in [node.raylet, *(pid for pid in actors_in(self.folder, "") if _parent(pid) == node.raylet)]:
            with suppress(ProcessLookupError):  # it ended meanwhile
                os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Ends every node: the utility ends what it started when it has nothing more to read."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(40)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process.stdout.close()
        self._output.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def actors_in(folder: Path, name: str) -> list[int]:
    """Process ids of the living workers that run class `name` of the cluster in `folder`."""
    return [pid for pid, line in _processes(folder) if line.startswith(f"ray::{name}".encode())]


def _processes(folder: Path) -> Iterator[tuple[int, bytes]]:
    """Process id and command line of what runs for the cluster in `folder`."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            line = (path / "cmdline").read_bytes()
            ours = str(folder).encode() in (path / "environ").read_bytes()
        except OSError:  # it ended meanwhile, or is not ours
            continue
        if ours:
            yield int(path.name), line


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it ended meanwhile
        return None
