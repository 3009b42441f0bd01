"""Orders kills of a scenario from a worker that has an environment of its own, and gathers its verdicts.

Knows processes and folders; knows nothing of sessions. Invariant: however it is left, the worker and its lives have
ended and the temporary folder is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from loops.randomness import derive
from runtime.chaos.values import Certificate, ChaosOrder, Kills, Line, Undisturbed, Verdict
from runtime.errors import RuntimeFailure, UsageError
from runtime.hosting.orders import ONE_THREAD
from runtime.models.registry.store import registry_of
from runtime.scenario import ScenarioFile
from runtime.settings import Settings

READ_BYTES = 65536
LEAVE_RAY_S = 60.0
"""How long the worker may take to leave its Ray, which ends its processes and removes its folder."""

Watch = Callable[[int, int], None]
"""Is told how many kills are judged, of how many."""


def certify(
    file: ScenarioFile,
    settings: Settings,
    *,
    source: str,
    watch: Watch,
    sample: int | None = None,
    ray: int = 0,
    cycles: int | None = None,
    seed: int | None = None,
    ledger: str | None = None,
    fresh: Sequence[str] = (),
) -> Certificate:
    """Kills the scenario's first session at `sample` of its commit boundaries, or at all, and at `ray` more of them
    through a real Ray, each in a world of its own: an empty AETHER_HOME, and for each variable in `fresh` a path in it
    where nothing is yet.

    Raises `UsageError` for what cannot be kept apart, `RuntimeFailure` when the session does not run undisturbed."""
    _check(file, fresh)
    scenario = file.scenario
    root = scenario.seed if seed is None else seed
    plain, through_ray = _Heard(), _Heard()
    with tempfile.TemporaryDirectory(prefix="aether-chaos-", ignore_cleanup_errors=True) as folder:
        world = Path(folder) / "world"
        order = ChaosOrder(
            scenario_text=file.text,
            source=source,
            seed=derive(root, "session", 0),
            cycles=scenario.cycles if cycles is None else cycles,
            sample=sample,
            ray=ray,
            ledger=ledger,
            models=settings.model_defaults,
            folder=str(Path.cwd()),
            registry=registry_of(settings),
            world=world,
        )
        variables = {**ONE_THREAD, "AETHER_HOME": str(world), **{name: str(world / name) for name in fresh}}
        with _worker(order, variables) as lines:
            for line in lines:
                if line.error is not None:
                    raise RuntimeFailure(line.error)
                heard = through_ray if line.through_ray else plain
                heard.whole = line.undisturbed or heard.whole
                heard.verdicts += [] if line.verdict is None else [line.verdict]
                watch(len(plain.verdicts) + len(through_ray.verdicts), plain.tried + min(ray, plain.tried))
    kills = plain.kills()
    return Certificate(
        scenario=scenario.name,
        seed=root,
        undisturbed=kills.undisturbed,
        verdicts=kills.verdicts,
        ray=through_ray.kills() if ray else None,
    )


@dataclass(slots=True)
class _Heard:
    """What the worker said so far of kills of one kind."""

    whole: Undisturbed | None = None
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def tried(self) -> int:
        return self.whole.tried if self.whole else 0

    def kills(self) -> Kills:
        """Raises `RuntimeFailure` unless everything was said."""
        if self.whole is None or len(self.verdicts) < self.tried:
            raise RuntimeFailure(
                "the worker that kills the sessions died; what it said stands above. Nothing is certified"
            )
        return Kills(undisturbed=self.whole, verdicts=tuple(self.verdicts))


def _check(file: ScenarioFile, fresh: Sequence[str]) -> None:
    workspace = file.scenario.environment.tools.workspace
    if workspace is not None and (workspace.startswith(("~", "/")) or ".." in Path(workspace).parts):
        raise UsageError(
            f"environment.tools.workspace is {workspace!r}, and each kill needs a copy of its own; "
            "name it relative to the working folder and inside it"
        )
    for name in fresh:
        if not name.isidentifier():
            raise UsageError(f"--fresh {name!r} is no name of an environment variable")
        if name in ("AETHER_HOME", *ONE_THREAD):
            raise UsageError(f"--fresh {name} is set for each kill anyway; leave it out")


@contextmanager
def _worker(order: ChaosOrder, variables: dict[str, str]) -> Iterator[Iterator[Line]]:
    """The lines of a worker that this process' environment is given to, changed by `variables`."""
    changed = [f"{name}={value}" for name, value in variables.items()]
    alone = ("-u", "RAY_ADDRESS") if order.ray else ()  # another's cluster would not have these variables
    process = subprocess.Popen(
        ["env", *alone, *changed, sys.executable, "-m", "runtime.chaos.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the worker and its lives
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(f"{order.model_dump_json()}\n")
        process.stdin.flush()
        yield (Line.model_validate_json(line) for line in process.stdout)
    finally:
        try:
            if order.ray:
                _leave_ray(process)
        finally:  # also where another Ctrl-C cuts that short
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # not waited for yet, so the id is still its own
            while os.read(process.stdout.fileno(), READ_BYTES):
                pass  # to its end, which is when the last life is over too and writes nothing more to the folder
            process.wait()
            process.stdout.close()
            with suppress(BrokenPipeError):
                process.stdin.close()


def _leave_ray(process: subprocess.Popen[str]) -> None:
    """Interrupts the worker and lets it end, without taking its id from it."""
    process.terminate()
    until = time.monotonic() + LEAVE_RAY_S
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None and time.monotonic() < until:
        time.sleep(0.05)
