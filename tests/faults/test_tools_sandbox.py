"""Programs a model wrote, shut in: what they cannot reach, and what ends them. Every test runs each way this machine
has."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
import typing_extensions

from loops.environments.tools import isolation as walls
from loops.environments.tools.isolation import Way, isolation, probe
from loops.environments.tools.sandbox import Limits, Ran, Sandbox, sandbox_tools
from loops.environments.tools.tool import Caller
from loops.environments.tools.vault import Vault
from loops.errors import ScenarioInvalid
from telemetry.otel.context import under
from telemetry.otel.ids import span_id, trace_id

QUICK = Limits(wall_s=200, cpu_s=100)
"""Of a program that ends by itself, however late: it runs at the lowest priority, on a machine that may be busy."""
ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["bubblewrap", "namespaces"])
def way(request: pytest.FixtureRequest) -> Way:
    way = cast(Way, request.param)
    wrong = probe(way)
    if wrong is not None:
        pytest.skip(f"this machine has no {way}: {wrong}")
    return way


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def python(way: Way, code: str, *, folder: Path | None = None, limits: Limits = QUICK) -> Ran:
    return Sandbox(way, folder=folder, limits=limits).python(code)


def shell(way: Way, command: str, *, folder: Path | None = None, limits: Limits = QUICK) -> Ran:
    return Sandbox(way, folder=folder, limits=limits).shell(command)


def test_a_program_is_told_the_span_that_its_call_belongs_to_and_no_other_variable(way: Way) -> None:
    with under("session/box@9", cycle=2):
        told = shell(way, "env")["output"].splitlines()
    named = f"TRACEPARENT=00-{trace_id('session/box', 2):032x}-{span_id('session/box', 9):016x}-01"
    own = ("PATH=", "HOME=", "LANG=", "PWD=", "SHLVL=", "OLDPWD=", "_=")
    assert [line for line in told if not line.startswith(own)] == [named]
    assert "TRACEPARENT" not in shell(way, "env")["output"], "a call under no span belongs to none"


TRACED = """
import os, sys
sys.path.insert(0, "libraries")
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(sys.stdout, formatter=lambda span:
    f"{span.context.trace_id} {span.parent.span_id}")))
around = TraceContextTextMapPropagator().extract({"traceparent": os.environ["TRACEPARENT"]})
with provider.get_tracer("inside").start_as_current_span("computed", context=around):
    pass
"""


def test_a_span_that_a_program_opens_is_the_child_of_its_calls_span(way: Way, folder: Path) -> None:
    """With OpenTelemetry's own SDK, which is laid into the folder: inside there is nothing but Python."""
    libraries = folder / "libraries"
    installed = Path(typing_extensions.__file__).parent
    shutil.copytree(installed / "opentelemetry", libraries / "opentelemetry", ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copy(typing_extensions.__file__, libraries)
    with under("session/box@9", cycle=2):
        ran = python(way, TRACED, folder=folder)
    assert ran["output"] == f"{trace_id('session/box', 2)} {span_id('session/box', 9)}", ran


def test_this_machine_has_a_way_and_says_which() -> None:
    found = isolation()
    assert found.kind != "none", found.words
    assert found.words.startswith(found.kind)
    assert "\n" not in found.words


def test_a_program_answers_with_its_output_and_exit_code(way: Way) -> None:
    assert python(way, "import sys\nprint('out')\nsys.exit(3)") == {
        "exit_code": 3,
        "output": "out\n",
        "left_out_bytes": 0,
        "stopped": None,
    }
    assert shell(way, 'cat\necho "it\'s" here >&2\ncat <<END\ndoc\nEND\nfalse') == {
        "exit_code": 1,
        "output": "it's here\ndoc\n",
        "left_out_bytes": 0,
        "stopped": None,
    }


def test_without_a_python_of_the_system_the_running_one_is_shown(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walls, "_PYTHONS", ())
    assert python(way, "import sys, json; print(sys.prefix)")["output"] == f"{sys.base_prefix}\n"


def test_it_works_in_the_workspace_and_what_it_writes_stays(way: Way, folder: Path) -> None:
    (folder / "in.txt").write_text("seen")
    ran = python(way, "open('out.txt', 'w').write(open('in.txt').read() + ' and done')", folder=folder)
    assert ran["exit_code"] == 0, ran
    assert (folder / "out.txt").read_text() == "seen and done"


def test_without_a_workspace_its_folder_is_private_and_gone_afterwards(way: Way) -> None:
    assert shell(way, "pwd; echo x > left; ls")["output"] == "/tmp\nleft\n"
    assert shell(way, "ls -A")["output"] == ""


def test_it_reaches_no_network(way: Way) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=5)"
        ran = python(way, code)
        assert ran["exit_code"] == 1
        assert "ConnectionRefusedError" in ran["output"] or "unreachable" in ran["output"]
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()
    interfaces = python(way, "import socket; print([name for _, name in socket.if_nameindex()])")["output"]
    assert interfaces == "['lo']\n"


def test_it_reaches_no_abstract_socket_of_the_machine(way: Way) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        name = f"aether-test-{os.getpid()}-{way}"
        server.bind("\0" + name)
        server.listen()
        ran = python(way, f"import socket\nsocket.socket(socket.AF_UNIX).connect('\\0{name}')")
        assert "ConnectionRefusedError" in ran["output"]


def test_it_changes_nothing_of_the_system(way: Way) -> None:
    before = Path("/etc/passwd").read_bytes()
    ran = shell(
        way,
        "for place in /etc/passwd /usr/aether-was-here /aether /dev/aether /proc/sys/kernel/core_pattern"
        " /proc/sysrq-trigger; do (echo x > $place) 2>/dev/null && echo wrote $place; done; "
        "mount -t tmpfs x /tmp 2>/dev/null && echo mounted; unshare -U true 2>/dev/null && echo nested; echo end",
    )
    assert ran["output"] == "end\n"
    assert Path("/etc/passwd").read_bytes() == before
    assert not Path("/usr/aether-was-here").exists()


def test_it_sees_no_file_outside(way: Way, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("hunter2")
    (folder / "link").symlink_to(tmp_path / "secret.txt")
    (folder / "own").write_text("")
    outside = (
        f"{tmp_path}/secret.txt {tmp_path} /workspace/../secret.txt /workspace/link /etc/shadow /etc/passwd {ROOT}"
    )
    command = f"for place in /workspace/own {outside} /root /home /sys; do [ -e $place ] && echo $place; done"
    assert shell(way, command, folder=folder)["output"] == "/workspace/own\n"


def test_it_sees_no_variable_and_no_process_of_its_host(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AETHER_TEST_KEY", "hunter2")
    ran = python(
        way,
        "import os, glob\n"
        "print(sorted(os.environ))\n"
        "for f in glob.glob('/proc/[0-9]*/environ'):\n"
        "    try: print('hunter2' in open(f).read())\n"
        "    except PermissionError: pass\n"
        f"print(os.path.exists('/proc/{os.getpid()}/cmdline') and {str(Path(sys.executable).name)!r} in "
        f"open('/proc/{os.getpid()}/cmdline').read())\n",
    )
    assert ran["output"].startswith("['HOME', 'LANG', 'PATH']\n")
    assert "True" not in ran["output"]


def test_an_endless_loop_ends_by_processor_time(way: Way) -> None:
    ran = python(way, "while True: pass", limits=Limits(wall_s=200, cpu_s=1))
    assert ran["stopped"] == "it used more than 1 s of processor time"
    assert ran["exit_code"] is None


def test_waiting_for_ever_ends_by_wall_time_with_all_that_was_started(way: Way, folder: Path) -> None:
    os.mkfifo(folder / "alive")
    reader = os.open(folder / "alive", os.O_RDONLY | os.O_NONBLOCK)
    # Each holds the pipe's writing end: one in a session of its own, one without any output, one in the foreground.
    command = "exec 3>alive; setsid sleep 1000 & sleep 1000 >/dev/null 2>&1 & echo waiting; exec >&- 2>&-; sleep 1000"
    said, wall_s = "", 1
    while not said:  # a busy machine lets it begin late
        ran = shell(way, command, folder=folder, limits=Limits(wall_s=wall_s))
        assert ran["stopped"] == f"it ran longer than {wall_s} s"
        said, wall_s = ran["output"], 10 * wall_s
    assert said == "waiting\n"
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""  # the last writer is gone
    os.close(reader)


def test_what_is_left_in_the_background_ends_with_the_program(way: Way, folder: Path) -> None:
    os.mkfifo(folder / "alive")
    reader = os.open(folder / "alive", os.O_RDONLY | os.O_NONBLOCK)
    assert shell(way, "exec 3>alive; setsid sleep 1000 & echo done", folder=folder)["output"] == "done\n"
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_a_fork_bomb_is_bounded(way: Way) -> None:
    ran = shell(way, "bomb() { bomb | bomb & }; bomb; sleep 1000", limits=Limits(wall_s=30, processes=40))
    # Root is stopped by the watch, anybody else by the kernel too, which the shell says.
    assert ran["stopped"] is not None or "fork" in ran["output"].lower()


def test_memory_of_a_process_is_bounded(way: Way) -> None:
    ran = python(way, "x = bytearray(400 << 20)", limits=Limits(wall_s=200, memory_bytes=300 << 20))
    assert ran["output"].rstrip().endswith("MemoryError")


def test_memory_of_all_processes_together_is_bounded(way: Way) -> None:
    code = (
        "import os, time\n"
        "for _ in range(4):\n"
        "    if os.fork() == 0:\n"
        "        x = bytearray(os.urandom(1 << 20) * 100)\n"
        "        time.sleep(1000)\n"
        "time.sleep(1000)\n"
    )
    ran = python(way, code, limits=Limits(wall_s=200, memory_bytes=300 << 20))
    assert ran["stopped"] == "it held more than 300 MiB of memory"


def test_files_are_bounded(way: Way) -> None:
    small = Limits(wall_s=200, file_bytes=1 << 20, tmp_bytes=3 << 20)
    assert "File too large" in python(way, "open('f', 'wb').write(b'x' * (2 << 20))", limits=small)["output"]
    many = "for i in range(5): open(str(i), 'wb').write(b'x' * (1 << 20))"
    assert "No space left" in python(way, many, limits=small)["output"]


def test_20_mb_of_output_keep_their_beginning_and_end(way: Way) -> None:
    ran = python(way, "print('first')\nprint('x' * 20_000_000)\nprint('last')")
    assert ran["exit_code"] == 0
    assert ran["output"].startswith("first\nxxx")
    assert ran["output"].endswith("xxx\nlast\n")
    assert len(ran["output"]) < (64 << 10) + 100
    assert ran["left_out_bytes"] == 20_000_012 - (64 << 10)
    assert f"[… {ran['left_out_bytes']:,} bytes left out …]" in ran["output"]


def test_it_dies_with_its_host(way: Way, folder: Path) -> None:
    """kill -9 of the process that runs a tool leaves nothing of the tool behind."""
    os.mkfifo(folder / "alive")
    host = (
        "from pathlib import Path\n"
        "from loops.environments.tools.sandbox import Limits, Sandbox\n"
        f"sandbox = Sandbox({way!r}, folder=Path({str(folder)!r}), limits=Limits())\n"
        "sandbox.shell('exec 3>alive; echo up >&3; sleep 1000')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", host], cwd=ROOT)
    with (folder / "alive").open() as alive:
        assert alive.readline() == "up\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert alive.read() == ""  # the end of the pipe comes when its last writer is gone


def test_the_tools_are_unsafe_and_answer_json(folder: Path) -> None:
    tools = {tool.spec.name: tool for tool in sandbox_tools(["python", "shell"], folder=folder, vault=Vault())}
    assert {tool.spec.effect_class for tool in tools.values()} == {"unsafe"}
    assert all(tool.spec.timeout_s > Limits().wall_s for tool in tools.values())
    caller = Caller(session="session/1", person=None, effect="e" * 64)
    ran = tools["python"].run({"code": "print(6 * 7)"}, caller)
    assert ran == {"exit_code": 0, "output": "42\n", "left_out_bytes": 0, "stopped": None}


def test_with_no_way_the_tools_are_refused_and_say_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walls, "PROBE_S", 0.0)  # a machine too slow to run even `true` inside
    isolation.cache_clear()
    try:
        with pytest.raises(ScenarioInvalid, match=r"python need a sandbox.*no bubblewrap.*apt install bubblewrap"):
            sandbox_tools(["python"], folder=None, vault=Vault())
    finally:
        isolation.cache_clear()
