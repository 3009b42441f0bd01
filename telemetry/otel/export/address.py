"""Addresses of collectors. Knows URLs; connects to nothing."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

HTTP: Final = ("http", "https")
GRPC: Final = ("grpc", "grpcs")
"""gRPC has no scheme of its own; with the last letter under TLS, as HTTP's."""


def protocol_of(url: str) -> str | None:
    """`http` or `grpc`; None for what is no address of a collector."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  raises for what is none
    except ValueError:
        return None
    if not parts.hostname:
        return None
    return "http" if parts.scheme in HTTP else "grpc" if parts.scheme in GRPC else None


def shown(url: str) -> str:
    """What people may see of it: neither a user nor a query, which can hold keys."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
