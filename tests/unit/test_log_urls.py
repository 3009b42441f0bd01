"""What a log's URL names, and that no password is shown."""

from __future__ import annotations

import pytest

from telemetry.errors import LogError
from telemetry.log import is_postgres, open_log, shown
from telemetry.log.urls import postgres_uri, secrets_of

SECRETS = [
    "postgresql://ann:hush-1@db:5432/log",
    "postgres://ann:hush-1@db/log?sslmode=require",
    "postgresql+psycopg://ann:hush-1@[::1]/log",
    "postgresql://db/log?user=ann&password=hush-1",
    "postgresql://ann:hush-1@x@db/log",
    "postgresql://ann:hush-1/x@db/log",
    "postgresql://ann:hush-1:x@db/log",
    "postgresql://ann:hush-1%20x@db,db2:5433/log?options=-csearch_path%3Done",
]


@pytest.mark.parametrize("url", SECRETS)
def test_a_shown_url_holds_no_password_and_still_says_where_and_who(url: str) -> None:
    text = shown(url)
    assert "hush" not in text
    assert "***" in text
    assert "ann" in text
    assert "db" in text or "::1" in text


@pytest.mark.parametrize("url", SECRETS)
def test_every_way_in_which_the_password_stands_is_known_as_a_secret(url: str) -> None:
    assert any(secret.startswith("hush-1") for secret in secrets_of(url))


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("/var/a.db", "/var/a.db"),
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("postgresql://db/log", "postgresql://db/log"),
        ("postgres://ann@db/log?sslmode=require", "postgresql://ann@db/log?sslmode=require"),
        ("postgresql:///log?host=/run/pg", "postgresql:///log?host=/run/pg"),
    ],
)
def test_a_url_without_a_password_is_shown_whole(url: str, text: str) -> None:
    assert shown(url) == text


def test_only_postgresql_is_taken_for_it() -> None:
    assert all(is_postgres(url) for url in SECRETS)
    assert not any(is_postgres(url) for url in ("a.db", "sqlite:///a.db", "mysql://db/log", "postgresql"))


@pytest.mark.parametrize("url", ["postgresql://ann:hush-1@x@db/log", "postgresql://ann:hush-1/x@db/log"])
def test_a_password_that_cannot_be_told_from_the_host_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(LogError, match="%40") as caught:
        postgres_uri(url)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("url", ["postgresql://ann:hush-1@[::1/log", "postgresql://ann:hush-1@db/log?sslmod=require"])
def test_what_libpq_cannot_read_is_refused_without_the_password(url: str) -> None:
    with pytest.raises(LogError, match="no URL that PostgreSQL reads") as caught:
        open_log(url)
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None
