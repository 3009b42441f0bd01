"""Where secret values wait while the log holds only their handles.

Knows the values that tools declare secret, in the memory of this process and nowhere else; knows nothing of where they
come from. Invariant: what `hide` and `scrub` return holds no value that was hidden, and `reveal` undoes `hide` for as
long as the process lives."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import JsonValue

from loops.errors import ToolFailed
from loops.spaces import ToolSpec
from telemetry.events.values import ToolCall

MAX_SECRETS = 4096
"""Values kept; the one used longest ago is forgotten first."""

MIN_SCRUBBED = 4
"""Shortest text that is looked for in other texts: shorter ones stand in every second word."""

_KEY = "secret"
_HANDLE = re.compile(r"[0-9a-f]{16}")
_WRITTEN = re.compile(r"\[secret ([0-9a-f]{16})\]")
_GONE = "its secret was kept only in the process that has ended; give it again"


@dataclass(frozen=True, slots=True)
class _Kept:
    value: JsonValue
    forms: frozenset[str]
    """How the value, or a text inside it, looks when it is written somewhere else."""


class Vault:
    """Secret values by handle, one vault for a process; its methods may be called from any thread.

    A handle is an HMAC under a key of this process, so it tells two values apart and says nothing about them."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def hide(self, value: JsonValue) -> JsonValue:
        """`{"secret": handle}` for `value`; a handle in either of its forms stays the handle that it is."""
        handle = handle_of(value)
        if handle is None:
            written = json.dumps(value, sort_keys=True)
            handle = hmac.new(self._key, written.encode(), hashlib.sha256).hexdigest()[:16]
            kept = _Kept(value, frozenset(_forms(value)))
            with self._lock:
                self._kept[handle] = kept
                self._kept.move_to_end(handle)
                while len(self._kept) > MAX_SECRETS:
                    self._kept.popitem(last=False)
        return {_KEY: handle}

    def reveal(self, value: JsonValue) -> JsonValue:
        """`value` with every handle in it replaced by what it stands for. Raises `ToolFailed` (invalid) for a handle of
        another process or one long forgotten."""
        handle = handle_of(value)
        if handle is not None:
            with self._lock:
                kept = self._kept.get(handle)
                if kept is None:
                    raise ToolFailed(_GONE, "invalid")
                self._kept.move_to_end(handle)
            return kept.value
        if isinstance(value, dict):
            return {name: self.reveal(part) for name, part in value.items()}
        if isinstance(value, list):
            return [self.reveal(part) for part in value]
        return value

    def hide_arguments(self, call: ToolCall, spec: ToolSpec) -> ToolCall:
        """The call with handles for the arguments that `spec` declares secret; hiding twice changes nothing."""
        if not any(name in call.arguments for name in spec.secret):
            return call
        hidden = {name: self.hide(value) if name in spec.secret else value for name, value in call.arguments.items()}
        return call.model_copy(update={"arguments": hidden})

    def scrub(self, text: str) -> str:
        """`text` with `[secret <handle>]` for every hidden value of MIN_SCRUBBED or more characters."""
        return _scrubbed(text, self._all_forms())

    def scrub_json(self, value: JsonValue) -> JsonValue:
        """`value` with the texts in it scrubbed, names of fields too; handles stay."""
        return _scrubbed_json(value, self._all_forms())

    def _all_forms(self) -> dict[str, str]:
        with self._lock:
            return {form: handle for handle, kept in self._kept.items() for form in kept.forms}


def handle_of(value: JsonValue) -> str | None:
    """The handle that `value` is, as `hide` gives it or as `scrub` writes it; None for any other value."""
    if isinstance(value, dict) and value.keys() == {_KEY}:
        handle = value[_KEY]
        return handle if isinstance(handle, str) and _HANDLE.fullmatch(handle) else None
    written = _WRITTEN.fullmatch(value) if isinstance(value, str) else None
    return written[1] if written else None


def _forms(value: JsonValue) -> Iterator[str]:
    """The texts in a value as they stand, as JSON writes them and as Python's `repr` does in its errors."""
    if isinstance(value, dict):
        for part in value.values():
            yield from _forms(part)
    elif isinstance(value, list):
        for part in value:
            yield from _forms(part)
    elif isinstance(value, str):
        written = (value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1])
        yield from (form for form in written if len(value) >= MIN_SCRUBBED)
    elif isinstance(value, int | float) and not isinstance(value, bool) and len(str(value)) >= MIN_SCRUBBED:
        yield str(value)


def _scrubbed(text: str, forms: dict[str, str]) -> str:
    found = sorted((form for form in forms if form in text), key=len, reverse=True)
    if not found:
        return text
    # What is already a handle is taken first, so that a value that looks like part of one cannot break it.
    either = "|".join([_WRITTEN.pattern, *map(re.escape, found)])
    return re.sub(either, lambda match: match[0] if match[1] else f"[secret {forms[match[0]]}]", text)


def _scrubbed_json(value: JsonValue, forms: dict[str, str]) -> JsonValue:
    if not forms or handle_of(value) is not None:
        return value
    if isinstance(value, str):
        return _scrubbed(value, forms)
    if isinstance(value, dict):
        return {_scrubbed(name, forms): _scrubbed_json(part, forms) for name, part in value.items()}
    if isinstance(value, list):
        return [_scrubbed_json(part, forms) for part in value]
    if isinstance(value, int | float) and not isinstance(value, bool) and str(value) in forms:
        return {_KEY: forms[str(value)]}
    return value
