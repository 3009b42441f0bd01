"""One OpenAI-compatible endpoint: a request, its attempts, and a reply or a failure in words.

Knows HTTP through the official client, whose own retries are off so that each attempt is counted; knows nothing of
sessions. A request is an effect of class read: it may be sent again, at the price of another answer. Invariants: an
attempt of which somebody has heard a word is the last one, so nobody hears two beginnings; the key stands in no
text."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import httpx2
import openai
from pydantic import JsonValue

from loops.randomness import derive
from loops.reasoners.language.deadline import http_client
from loops.reasoners.language.ear import Ear
from loops.reasoners.language.failures import Failure, failed, misread
from loops.reasoners.language.settings import MAX_LEFT_OUT, MAX_WAIT_S, EndpointSettings
from loops.reasoners.language.wire import Assembly, Reply, TooLong
from telemetry.otel.context import carried, is_carried_to

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 8.0
"""Waits between attempts double from the first to the longest, as those of the official client (openai 3.52)."""

Secret = Callable[[str], str | None]
"""The value of an environment variable, read when it is called; None when it is not set."""

NO_KEY = "unused"
"""What is sent where no key is set: many local endpoints need none, and the client wants some."""

OPTIONAL = ("return_tokens_as_token_ids", "stream_options", "logprobs", "seed", "max_tokens")
"""Parameters that some endpoints do not know. One that refuses a request by such a name is asked without it."""

RENAMED = {"max_tokens": "max_completion_tokens"}
"""What takes the place of one: the name that OpenAI's reasoning models want."""


class Endpoint:
    """Asked from several threads at once."""

    def __init__(
        self,
        name: str,
        settings: EndpointSettings,
        *,
        base_url: str,
        secret: Secret,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.host = urlsplit(base_url).netloc.rpartition("@")[2]
        self.left_out: frozenset[str] = frozenset()
        """Optional parameters that the endpoint was found not to take."""
        self._settings = settings
        self._joined = is_carried_to(base_url, wish=settings.traceparent)
        self._secret = secret
        self._wait = wait
        self._client = openai.OpenAI(
            base_url=base_url,
            api_key=lambda: self._key() or NO_KEY,
            max_retries=0,
            timeout=settings.timeout_s,
            http_client=http_client(settings.timeout_s),
        )

    def ask(self, body: Mapping[str, JsonValue], *, seed: int, ear: Ear) -> tuple[int, Reply | Failure]:
        """How many attempts were made, and what came of the last. Blocks."""
        left_out, failures, attempts = self.left_out, 0, 0
        while True:
            attempts += 1
            ear.begin()
            result = self._attempt(_without(body, left_out), ear)
            if isinstance(result, Reply):
                ear.end()
                self.left_out |= left_out
                return attempts, result
            unknown = _not_taken(result, body, left_out)
            if unknown is not None and len(left_out) < MAX_LEFT_OUT:
                left_out |= {unknown}
                continue
            failures += 1
            over = result.final or ear.spoken_to or failures > self._settings.retries
            if over or (result.retry_after_s or 0) > MAX_WAIT_S:
                return attempts, result
            self._wait(result.retry_after_s or _wait_s(failures, seed))

    def explain(self, failure: Failure, *, attempts: int) -> str:
        """The failure for a person: what failed and where, what is intact, what to do next."""
        tried = "1 attempt" if attempts == 1 else f"{attempts} attempts"
        advice = failure.advice(
            key=self._settings.key, key_is_set=bool(self._key()), timeout_s=self._settings.timeout_s
        )
        return f"endpoint {self.name!r} at {self.host} {failure.error} ({tried}). Nothing was done. {advice}"

    def _attempt(self, body: Mapping[str, JsonValue], ear: Ear) -> Reply | Failure:
        assembly, key = Assembly(ear), self._key()
        more: openai.RequestOptions = {"headers": carried() if self._joined else {}}
        if not (key.isascii() and key.isprintable()):
            return Failure("refused", "takes no key that is not printable ASCII", status=401, final=True)
        try:
            # Answers are read as plain JSON: the client's own types are not checked against what an endpoint sends.
            if body.get("stream"):
                with self._client.post(
                    "/chat/completions",
                    cast_to=object,
                    body=body,
                    options=more,
                    stream=True,
                    stream_cls=openai.Stream[object],
                ) as chunks:
                    for chunk in chunks:
                        assembly.take(chunk)
            else:
                assembly.take(self._client.post("/chat/completions", cast_to=object, body=body, options=more))
        except (openai.APIError, httpx2.RequestError) as error:
            return failed(error, reply=assembly.reply(), key=key, timeout_s=self._settings.timeout_s)
        except (ValueError, RecursionError, TooLong) as error:
            return misread(error, reply=assembly.reply(), key=key)
        return _judged(assembly.reply())

    def _key(self) -> str:
        """The key, or nothing where it is not set."""
        return (self._secret(self._settings.key) or "").strip()


def _judged(reply: Reply) -> Reply | Failure:
    """The reply if it is a whole answer that says something."""
    if not reply.choices:
        return Failure("invalid", "did not answer in the protocol: there are no choices in what it sent", reply=reply)
    if not reply.whole:
        return Failure("cut", "ended its answer early, without a reason for its end", reply=reply)
    if not any(choice.text.strip() or choice.calls for choice in reply.choices):
        ended = ", ".join(sorted({str(choice.finish) for choice in reply.choices}))
        why = f"answered without a word or a call; it ended with {ended[:80]!r}"
        return Failure("invalid", why, final=True, reply=reply)
    return reply


def _not_taken(failure: Failure, body: Mapping[str, JsonValue], left_out: frozenset[str]) -> str | None:
    """The optional parameter by whose name the endpoint refused the request."""
    if failure.status not in (400, 422):
        return None
    for name in OPTIONAL:
        refused = name in failure.error and RENAMED.get(name, "") in failure.error
        if refused and name in body and name not in left_out:
            return name
    return None


def _without(body: Mapping[str, JsonValue], left_out: frozenset[str]) -> dict[str, JsonValue]:
    renamed = {RENAMED[name]: body[name] for name in left_out if name in RENAMED and name in body}
    return {name: value for name, value in body.items() if name not in left_out} | renamed


def _wait_s(failures: int, seed: int) -> float:
    """Doubling, less up to a quarter so that many sessions do not come back at once."""
    jitter = derive(seed, "retry", failures) / 2**31
    return min(FIRST_WAIT_S * 2.0 ** (failures - 1), LONGEST_WAIT_S) * (1 - jitter / 4)
