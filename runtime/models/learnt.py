"""What a model was learnt from and how well it foresees: one file beside its weights, and an event that says the same.

Knows names, positions and figures; knows no weights. Invariant: with the log at hand, what was learnt and what was held
out can be read again, and `data` says whether it is the same."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pydantic import JsonValue, ValidationError

from runtime import __version__
from runtime.errors import NotFound, VerificationFailed
from telemetry.events.learn import ModelTrained
from telemetry.events.values import Digest, ModelId, Value
from telemetry.files import digest_files, write_file

FILE = "learnt.json"
VERSIONS = ("numpy", "torch")
"""Libraries whose version can change what is learnt from equal data."""

ABOUT = {
    *("kind", "seed", "workers", "gpu", "run", "versions", "stopped", "scenarios", "environments", "excluded", "where"),
}
"""What an event says of a training beside its figures, its range and its settings."""

Kind = Literal["jepa", "linear"]


class Learnt(Value):
    model: ModelId
    kind: Kind
    at: int
    """UTC ns."""
    log: str
    """Its URL without a password."""
    from_position: int
    to_position: int
    data: Digest
    """Of the lessons; see `loops.lessons`."""
    transitions: int
    held_out: int
    """Transitions among them that chose no weights: the figures are of these."""
    unreadable: int = 0
    """Events that were left out."""
    excluded: dict[str, int] = {}
    """Sessions that were chosen and withheld, by why."""
    where: str | None = None
    """The expression that chose the sessions, if one did."""
    scenarios: tuple[str, ...]
    environments: tuple[str, ...]
    sessions: tuple[str, ...]
    seed: int
    workers: int = 1
    """That shared each step."""
    gpu: bool = False
    """Whether each had one."""
    run: str | None = None
    """The name that its looks have on the log; None where it took none, as a linear model."""
    config: dict[str, JsonValue]
    code: str
    versions: dict[str, str]
    metrics: dict[str, float] = {}
    stopped: str | None = None
    """Why training ended before its time; None where it did not."""

    @property
    def event(self) -> ModelTrained:
        """What the log says of it; its sessions are the event's refs."""
        about = self.model_dump(
            mode="json",
            include=ABOUT,
        )
        counts = {"transitions": self.transitions, "held_out": self.held_out, "unreadable": self.unreadable}
        return ModelTrained(
            model=self.model,
            from_position=self.from_position,
            to_position=self.to_position,
            data=self.data,
            config={**about, **counts, "settings": self.config},
            code=self.code,
            metrics=self.metrics,
        )

    def write(self, folder: Path) -> None:
        write_file(folder / FILE, f"{self.model_dump_json(indent=2)}\n".encode())


def read_learnt(folder: Path) -> Learnt:
    """Raises `NotFound` where there is none, `VerificationFailed` where it is no such file."""
    try:
        content = (folder / FILE).read_bytes()
    except FileNotFoundError:
        raise NotFound(f"{folder} does not say what its model was learnt from: there is no {FILE}") from None
    return parse_learnt(content, source=str(folder / FILE))


def parse_learnt(content: bytes, *, source: str) -> Learnt:
    """Raises `VerificationFailed` where it is no such file."""
    try:
        return Learnt.model_validate_json(content)
    except ValidationError as error:
        raise VerificationFailed(
            f"{source} cannot be read: {error.error_count()} of its values are not of their kind. The weights "
            "beside it are checked for themselves; train anew for a whole model"
        ) from error


@cache
def code_version() -> str:
    """This version, and 12 digits of the digest of all code that a training depends on."""
    rooms = Path(__file__).parents[2]
    folders = [rooms / "world_model", rooms / "loops" / "training"]
    files = [rooms / "loops" / f"{name}.py" for name in ("layouts", "lessons", "lives", "spaces")]
    files += [rooms / "runtime" / "models" / "training" / f"{name}.py" for name in ("spread", "train", "withheld")]
    whole = (*(path for folder in folders for path in sorted(folder.rglob("*.py"))), *files)
    return f"{__version__}+{digest_files(whole)[:12]}"


def versions() -> dict[str, str]:
    return {name: version(name) for name in VERSIONS}
