"""Secrets stay in the vault: what leaves it holds handles, and only this process can turn them back."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from loops.environments.tools.vault import MAX_SECRETS, Vault, handle_of
from loops.errors import ToolFailed
from loops.spaces import ToolSpec
from telemetry.events.values import ToolCall

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)
LOGIN = ToolSpec(name="login", parameters={}, effect_class="unsafe", timeout_s=1, secret=("password",))
MARKER = re.compile(r"\[secret [0-9a-f]{16}\]")


@given(JSON)
def test_what_is_hidden_is_revealed_as_it_was(value: JsonValue) -> None:
    vault = Vault()
    hidden = vault.hide(value)
    assert handle_of(hidden) is not None
    if handle_of(value) is None:
        assert vault.reveal(hidden) == value
        assert vault.reveal({"a": [hidden, 1]}) == {"a": [value, 1]}


@given(JSON, st.text())
def test_hiding_arguments_twice_changes_nothing(value: JsonValue, user: str) -> None:
    vault = Vault()
    once = vault.hide_arguments(ToolCall(id="1", tool="login", arguments={"password": value, "user": user}), LOGIN)
    assert vault.hide_arguments(once, LOGIN) == once
    assert once.arguments["user"] == user
    assert handle_of(once.arguments["password"]) is not None


@given(st.text(min_size=4), st.text(), st.text())
def test_a_scrubbed_text_holds_the_secret_nowhere_but_by_chance_in_a_marker(
    secret: str, before: str, after: str
) -> None:
    vault = Vault()
    hidden = vault.hide(secret)
    if handle_of(secret) is None:
        scrubbed = vault.scrub(f"{before}{secret}{after}")
        assert all(secret not in piece for piece in MARKER.split(scrubbed))
        assert vault.reveal(MARKER.search(vault.scrub(secret))[0]) == secret  # type: ignore[index]  # it is there
        assert secret not in json.dumps(hidden) or secret in json.dumps({"secret": "0123456789abcdef"})


def test_a_secret_is_found_as_json_and_repr_write_it_and_inside_a_value() -> None:
    vault = Vault()
    secret = "p\u00e4ss\n'w\"rd"
    vault.hide({"login": [secret, 424242]})
    for text in (secret, repr(secret), json.dumps(secret), json.dumps(secret, ensure_ascii=False), "pin 424242."):
        scrubbed = vault.scrub(f"KeyError: {text}")
        assert MARKER.search(scrubbed), text
        assert "424242" not in scrubbed
    assert "424242" not in json.dumps(vault.scrub_json({"424242": [424242, "a 424242"]}))


def test_the_longer_of_two_secrets_is_taken_first() -> None:
    vault = Vault()
    vault.hide("hunter")
    handle = handle_of(vault.hide("hunter2"))
    assert vault.scrub("my hunter2") == f"my [secret {handle}]"


def test_a_secret_that_looks_like_part_of_a_marker_breaks_none() -> None:
    vault = Vault()
    hidden = vault.hide("swordfish")
    for part in ("secret", "cret ", str(handle_of(hidden))[2:8]):
        vault.hide(part)
    marker = vault.scrub("swordfish")
    assert vault.scrub(marker) == marker
    assert vault.scrub_json(hidden) == hidden
    assert vault.reveal(marker) == "swordfish"


def test_a_short_secret_is_hidden_but_not_looked_for() -> None:
    vault = Vault()
    assert vault.reveal(vault.hide("abc")) == "abc"
    assert vault.scrub("abc") == "abc"


def test_two_processes_give_a_value_two_handles() -> None:
    assert Vault().hide("hunter2") != Vault().hide("hunter2")


def test_a_handle_of_another_process_asks_for_the_secret_again() -> None:
    with pytest.raises(ToolFailed, match="give it again") as failed:
        Vault().reveal({"deep": [Vault().hide("hunter2")]})
    assert failed.value.kind == "invalid"


def test_the_vault_is_bounded_and_forgets_what_was_used_longest_ago() -> None:
    vault = Vault()
    first, second = vault.hide("first-secret"), vault.hide("second-secret")
    vault.reveal(first)
    for number in range(MAX_SECRETS - 1):
        vault.hide(f"secret-{number}")
    assert vault.reveal(first) == "first-secret"
    with pytest.raises(ToolFailed):
        vault.reveal(second)


def test_a_call_without_secrets_is_left_as_it_is() -> None:
    call = ToolCall(id="1", tool="login", arguments={"user": "ada"})
    assert Vault().hide_arguments(call, LOGIN) is call
