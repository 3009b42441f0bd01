"""Errors of the world model.

    WorldModelError
    └── ShapeError      arrays whose shapes do not fit the model or each other; also a ValueError

Every message says what failed, what is intact, and what to do next."""

from __future__ import annotations


class WorldModelError(Exception):
    """Root of this package's errors."""


class ShapeError(WorldModelError, ValueError):
    pass
