"""Errors of the heart.

    HeartError
    └── RegionMismatch      a rule's region does not fit what is seen or forecast; also a ValueError

Every message says what failed, what is intact, and what to do next."""

from __future__ import annotations


class HeartError(Exception):
    """Root of this package's errors."""


class RegionMismatch(HeartError, ValueError):
    pass
