"""Refuses to start when a sibling room comes from somewhere else than this one.

The rooms are top-level names, so another distribution's `memory` or `telemetry` could stand before ours on the path."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from runtime.errors import UsageError

ROOMS = ("runtime", "loops", "memory", "heart", "world_model", "telemetry")


def check_rooms() -> None:
    """Raises `UsageError` naming the room that comes from elsewhere."""
    home = Path(__file__).resolve().parent.parent
    for room in ROOMS:
        spec = find_spec(room)
        found = Path(spec.origin).resolve().parent.parent if spec and spec.origin else None
        if found != home:
            raise UsageError(
                f"the package {room!r} comes from {found or 'nowhere'}, not from {home} where 'runtime' lies. "
                f"Another distribution or folder of that name comes first on the path; start from another folder or "
                f"remove it. Nothing was started"
            )
