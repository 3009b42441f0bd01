"""Why there is no whole answer, in kinds that a program can go by and words that a person can.

Knows the official client's errors; knows no session. Invariant: no text here holds the key or the endpoint's whole
answer."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import httpx2
import openai
from pydantic import ValidationError

from loops.reasoners.language.wire import Reply

Kind = Literal["unreachable", "timeout", "rate_limited", "server_error", "refused", "cut", "invalid"]

_NO_CONNECTION = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.UnsupportedProtocol, httpx2.ProxyError)


@dataclass(frozen=True, slots=True)
class Failure:
    """One attempt that gave no whole answer; `reply` is what had come of it."""

    kind: Kind
    error: str
    """What the endpoint did, as the rest of a sentence that begins with its name."""
    status: int | None = None
    retry_after_s: float | None = None
    final: bool = False
    """Another attempt would fail as well."""
    reply: Reply | None = None

    def advice(self, *, key: str, key_is_set: bool, timeout_s: float) -> str:
        """What to do about it. `key` is the name of the variable that the key is read from."""
        match self.kind, self.status:
            case "unreachable", _:
                return "Check that it runs and that base_url is right, then resume the session to ask again."
            case "timeout", _:
                return f"Resume the session to ask again, or raise timeout_s above {timeout_s:g}."
            case "refused", 401 | 403:
                there = "is set" if key_is_set else "is not set"
                return f"Its key is read from the environment variable {key}, which {there}."
            case "refused", 404:
                return "Check the model's name, and that base_url ends where /chat/completions follows."
            case "refused", _:
                return "Change the endpoint's settings as it says, then open the session anew."
            case "invalid", _:
                return "Check that base_url leads to an OpenAI-compatible endpoint and that the model answers there."
        return "Resume the session to ask again."


def failed(error: openai.APIError | httpx2.RequestError, *, reply: Reply, key: str, timeout_s: float) -> Failure:
    """The failure that an error of the client is, or one of its connection that it lets through."""
    cause = error if isinstance(error, httpx2.RequestError) else error.__cause__
    match error:
        case openai.APIStatusError():
            return _status(error, line(_words(error), key))
        case openai.APIError() if not isinstance(error, openai.APIConnectionError):
            return Failure("server_error", f"broke off with an error: {line(_words(error), key)}", reply=reply)
    why = line(str(cause or error) or type(cause or error).__name__, key)
    if isinstance(cause, _NO_CONNECTION):
        return Failure("unreachable", f"could not be reached: {why}")
    if isinstance(error, openai.APITimeoutError) or isinstance(cause, httpx2.TimeoutException):
        return Failure("timeout", f"gave no whole answer within {timeout_s:g} s", reply=reply)
    return Failure("cut", f"ended its answer early: {why}", reply=reply)


def misread(error: Exception, *, reply: Reply, key: str) -> Failure:
    """The failure that an answer of no known form is."""
    text = str(error)
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "its answer"
        text = f"{where}: {first['msg']}, found {str(first['input'])[:80]!r}"
    return Failure("invalid", f"did not answer in the protocol: {line(text, key)}", reply=reply)


def _status(error: openai.APIStatusError, words: str) -> Failure:
    status, after = error.status_code, _retry_after_s(error.response.headers)
    said = f"({status}): {words}"
    match status:
        case 429:
            asks = f", asking to wait {after:g} s" if after is not None else ""
            spent = error.code == "insufficient_quota"
            return Failure("rate_limited", f"takes no more requests for now{asks} {said}", status, after, final=spent)
        case 408:
            return Failure("timeout", f"gave up waiting {said}", status, after)
        case 401 | 403:
            return Failure("refused", f"refused the key {said}", status, final=True)
        case 404:
            return Failure("refused", f"knows no such model or address {said}", status, final=True)
        case _ if status < 500:
            return Failure("refused", f"refused the request {said}", status, final=True)
    return Failure("server_error", f"failed {said}", status, after)


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that the endpoint asks to wait (RFC 9110, 10.2.3), or None where it does not say."""
    for name, divisor in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        said = headers.get(name, "")
        try:
            seconds = float(said) / divisor
        except ValueError:
            date = email.utils.parsedate_tz(said)
            if date is None:
                continue
            seconds = email.utils.mktime_tz(date) - time.time()
        return max(seconds, 0.0) if seconds == seconds else None
    return None


def _words(error: openai.APIError) -> str:
    """What the endpoint said of it."""
    body = error.body
    if isinstance(body, dict):
        for name in ("message", "detail", "error"):
            if isinstance(body.get(name), str):
                return str(body[name])
    return str(body or error.message)


def line(text: str, key: str) -> str:
    """The text on one line, not long, without the key."""
    if key:
        text = text.replace(key, "…")
    words = " ".join(text.split())
    return words if len(words) <= 300 else f"{words[:300]} …"
