"""How the URL of a place of models is shown. Knows text; opens nothing. Invariant: nothing that `shown` or `hide` gives
holds a password, or a value of the URL's query."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

HIDDEN: Final = "***"


def is_clear(url: str) -> bool:
    """Whether a password is told from what follows it."""
    parts = urlsplit(url)
    return "@" not in parts.path and not parts.fragment and parts.netloc.count("@") <= 1


def shown(url: str) -> str:
    """The URL as people may see it: without a password, and without what stands in its query."""
    parts = urlsplit(url)
    if not is_clear(url):
        return f"{parts.scheme}://{HIDDEN}"
    user, at, host = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    query = "&".join(f"{key}={HIDDEN}" for key, _ in parse_qsl(parts.query, keep_blank_values=True))
    return urlunsplit((parts.scheme, f"{name}{colon and ':' + HIDDEN}{at}{host}", parts.path, query, ""))


def hide(text: str, url: str) -> str:
    """`text` without the secrets of `url`, however they are written there."""
    parts = urlsplit(url)
    given = parts.netloc.rpartition("@")[0].partition(":")[2]
    values = [value for _, value in parse_qsl(parts.query)]
    found = {given, unquote(given), *values, *(pair.partition("=")[2] for pair in parts.query.split("&"))}
    for secret in sorted(found - {""}, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text
