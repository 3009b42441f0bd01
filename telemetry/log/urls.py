"""What a log's URL names, and how it is shown.

Knows text; opens nothing. Invariant: what `shown` gives holds no password."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode

from telemetry.errors import LogError

HIDDEN = "***"
_SECRET = ("password", "sslpassword")
_POSTGRES = re.compile(r"(?P<scheme>postgres(?:ql)?(?:\+psycopg)?)://(?P<rest>.*)", re.DOTALL)
_EXAMPLE = "postgresql://user@host:5432/database"


def is_postgres(url: str | Path) -> bool:
    scheme, found, _ = str(url).partition("://")
    return bool(found) and scheme.partition("+")[0] in ("postgresql", "postgres")


def sqlite_path(url: str | Path) -> Path:
    """The file that a SQLite URL or bare path names. Raises `LogError` for any other scheme."""
    text = str(url)
    scheme, found, rest = text.partition("://")
    if not found:
        path = text
    elif scheme == "sqlite":
        path = rest.removeprefix("/")
    else:
        raise LogError(f"no store answers to {scheme}://; use sqlite:///path/to/log.db, a bare path, or {_EXAMPLE}.")
    if not path:
        raise LogError(f"{text!r} names no file; use sqlite:///path/to/log.db or a bare path.")
    return Path(path)


def postgres_uri(url: str) -> str:
    """What libpq reads. Raises `LogError` for another driver, and for a URL in which a password is not told from what
    follows it; none of it is repeated."""
    found = _POSTGRES.fullmatch(url)
    if found is None:
        raise LogError(f"{url.partition('://')[0]}:// names a driver that is not here; use {_EXAMPLE}.")
    authority, _, rest = found["rest"].partition("?")[0].partition("/")
    if authority.count("@") > 1 or "@" in rest:
        raise LogError(
            "the PostgreSQL URL has an '@' too many. In a user or password write '@' as %40, '/' as %2F and ':' as "
            "%3A, or leave the password to PGPASSWORD or ~/.pgpass."
        )
    return f"postgresql://{found['rest']}"


def shown(url: str | Path) -> str:
    """The URL as people may see it."""
    if not is_postgres(url):
        return str(url)
    rest, mark, query = str(url).partition("://")[2].partition("?")
    user, at, place = rest.rpartition("@")
    name, colon, _ = user.partition(":")
    parameters = [(key, HIDDEN if key in _SECRET else value) for key, value in parse_qsl(query, keep_blank_values=True)]
    return f"postgresql://{name}{colon and ':' + HIDDEN}{at}{place}{mark}{urlencode(parameters, safe='*/,=')}"


def secrets_of(url: str) -> set[str]:
    """Every way in which a password stands in the URL."""
    rest, _, query = url.partition("://")[2].partition("?")
    given = rest.rpartition("@")[0].partition(":")[2]
    found = {given, unquote(given), *(value for key, value in parse_qsl(query) if key in _SECRET)}
    return found - {""}
