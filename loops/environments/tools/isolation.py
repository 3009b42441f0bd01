"""How a program is shut in: which way this machine has, and the command that runs a program that way.

Knows bubblewrap and namespaces; knows nothing of tools and limits. Invariant: inside, the system's folders are
read-only, `/tmp` is private, one folder at most is shared, and there is no network, no privilege, no process from
outside and none of its environment variables but those it is given."""

from __future__ import annotations

import functools
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Way = Literal["bubblewrap", "namespaces"]

INSIDE = "/workspace"
"""Where the shared folder stands for the program; without one it works in `/tmp`."""

PROBE_S = 60.0
"""Seconds that `true` may take to run inside. The answer is kept for the process' life, so no stall is to be one."""

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_PYTHONS = ("/usr/bin/python3", "/usr/local/bin/python3")
_PATH = "/usr/local/bin:/usr/bin:/bin"
_HOW = "install bubblewrap (apt install bubblewrap) and allow unprivileged user namespaces"


@dataclass(frozen=True, slots=True)
class Isolation:
    """What this machine has. `words` is one line for people."""

    kind: Way | Literal["none"]
    words: str


@functools.cache
def isolation() -> Isolation:
    """The first way that runs `true`: bubblewrap, then namespaces by unshare(1). Asked once a process."""
    if sys.platform != "linux":
        return Isolation("none", f"none: the sandbox needs Linux, this is {sys.platform}")
    without: list[str] = []
    kinds: tuple[Way, ...] = ("bubblewrap", "namespaces")
    for kind in kinds:
        wrong = probe(kind)
        if wrong is None:
            return Isolation(kind, "; ".join([kind, *without]))
        without.append(f"no {kind}: {wrong}")
    return Isolation("none", "; ".join(["none", *without, _HOW]))


def probe(kind: Way) -> str | None:
    """What keeps `true` from running inside, None when nothing does."""
    try:
        with entered(kind, folder=None, tmp_bytes=1 << 20) as command:
            done = subprocess.run([*command, "true"], stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_S)
    except FileNotFoundError as error:
        return f"{error.filename} is not there"
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return None if done.returncode == 0 else (said[-1] if said else f"it ended with {done.returncode}")


@contextmanager
def entered(
    kind: Way, *, folder: Path | None, tmp_bytes: int, given: Mapping[str, str] | None = None
) -> Iterator[list[str]]:
    """The words to put before a program and its arguments; the program has the variables `given`. Killing the process
    they start, or this one, kills whatever the program has started."""
    path, shown = _python()
    # Twice: the first process inside can be looked at by the program, so it must not hold this one's variables either.
    bare = ["env", "-i", f"PATH={_PATH}:/usr/sbin:/sbin"]
    clean = ["env", "-i", f"PATH={path}", "HOME=/tmp", "LANG=C.UTF-8"]
    clean += [f"{name}={value}" for name, value in (given or {}).items()]
    if kind == "bubblewrap":
        yield [*bare, *_bubblewrap(folder, shown, tmp_bytes), *clean]
        return
    with tempfile.TemporaryDirectory(prefix="aether-sandbox-", ignore_cleanup_errors=True) as root:
        # --pdeathsig: unshare itself dies with this process; --kill-child: what it started dies with it.
        outer = ["setpriv", "--pdeathsig", "KILL", "unshare", "--kill-child", "--fork", "--user", "--map-root-user"]
        spaces = ["--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup"]
        yield [*bare, *outer, *spaces, "sh", "-c", _script(root, folder, shown, tmp_bytes), "sh", *clean]


def _python() -> tuple[str, list[str]]:
    """PATH with a `python3` on it, and what must be shown for that beyond the system's folders."""
    if any(Path(python).exists() for python in _PYTHONS):
        return _PATH, []
    return f"{sys.base_prefix}/bin:{_PATH}", [sys.base_prefix]


def _links_and_folders(more: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The system's folders as they are here: links by their target, and what is to be shown read-only."""
    links = {place: str(Path(place).readlink()) for place in _SYSTEM if Path(place).is_symlink()}
    shown = [place for place in (*_SYSTEM, *_ETC, *more) if place not in links and Path(place).exists()]
    return links, shown


def _bubblewrap(folder: Path | None, more: Sequence[str], tmp_bytes: int) -> list[str]:
    links, shown = _links_and_folders(more)
    command = ["bwrap", "--die-with-parent", "--cap-drop", "ALL", "--unshare-user", "--disable-userns"]
    command += ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    for place, target in links.items():
        command += ["--symlink", target, place]
    for place in shown:
        command += ["--ro-bind", place, place]
    size = ["--size", str(tmp_bytes), "--tmpfs"]
    command += ["--proc", "/proc", "--dev", "/dev", *size, "/tmp", *size, "/dev/shm"]
    if folder is not None:
        command += ["--bind", str(folder), INSIDE]
    command += ["--remount-ro", "/dev", "--remount-ro", "/proc", "--remount-ro", "/"]
    return [*command, "--chdir", INSIDE if folder is not None else "/tmp", "--"]


def _script(root: str, folder: Path | None, more: Sequence[str], tmp_bytes: int) -> str:
    """What bubblewrap does, in the words of mount(8): it runs as the new namespaces' first process, whose privileges
    end at their border, and gives them up before the program starts. Any step that fails ends it."""
    links, shown = _links_and_folders(more)
    new = shlex.quote(root)
    lines = ["set -eu", "umask 022", f"mount -t tmpfs -o mode=755 root {new}"]
    lines += [f"mkdir {new}/old {new}/proc {new}/dev {new}/tmp {new}{INSIDE}"]
    for place, target in links.items():
        lines.append(f"ln -s {shlex.quote(target)} {new}{place}")
    for place in shown:
        inside = Path(f"{root}{place}")
        here, there, above = (shlex.quote(str(path)) for path in (place, inside, inside.parent))
        make = "mkdir -p" if Path(place).is_dir() else "touch"
        lines += [f"mkdir -p {above}", f"{make} {there}", f"mount --rbind {here} {there}"]
    # One by one: read-only does not reach what is mounted below.
    lines += [
        "while read -r _ _ _ _ point _; do",
        f'case "$point" in {new}/*) mount -o remount,bind,ro,nosuid,nodev "$point" ;; esac',
        "done < /proc/self/mountinfo",
        f"mount -t tmpfs -o mode=1777,nosuid,nodev,size={tmp_bytes} tmp {new}/tmp",
        f"mount -t proc proc {new}/proc",
        f"for device in {' '.join(_DEVICES)}; do",
        f"touch {new}/dev/$device; mount --bind /dev/$device {new}/dev/$device",
        "done",
        f"ln -s /proc/self/fd {new}/dev/fd; ln -s /tmp {new}/dev/shm",
    ]
    if folder is not None:
        lines += [f"mount --rbind {shlex.quote(str(folder))} {new}{INSIDE}"]
    lines += [
        f"cd {new}",
        "pivot_root . old",
        f"rmdir old{new}",  # so that nothing is left when this process is killed
        "umount -l old",
        "rmdir old",
        "echo 0 > /proc/sys/user/max_user_namespaces",
        # Without it, somebody who is root outside could write the kernel's settings without any privilege inside.
        "mount -o remount,bind,ro /proc",
        "mount -o remount,bind,ro /",
        f"cd {INSIDE if folder is not None else '/tmp'}",
        'setpriv --no-new-privs --bounding-set=-all --inh-caps=-all --ambient-caps=-all -- "$@"',
        # Something after it, so that no shell replaces itself: it stays the first process, which signals spare.
        "exit 0",
    ]
    return "\n".join(lines)
