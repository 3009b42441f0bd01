"""An HTTP client whose answers end in time.

httpx bounds each read; an endpoint that sends a byte now and then could hold a request for ever. Knows requests and
bytes; knows nothing of models. Invariant: no byte of an answer is taken after its request's time or beyond
MOST_BYTES."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx2
import openai

MOST_BYTES = 256 * 1024 * 1024
"""Of one answer. 128,000 tokens, streamed one by one with their log-probabilities, are some 100 MiB."""

CONNECT_S = 10.0
"""To connect: three SYNs of TCP (RFC 6298: after 1 and 3 s) and a TLS handshake."""

_UNTIL = "aetherloop.until"


def http_client(timeout_s: float) -> httpx2.Client:
    """A client for which a request and its answer together take at most about `timeout_s`; a read that is under way
    when the time is over may take as long again."""

    def begin(request: httpx2.Request) -> None:
        request.extensions[_UNTIL] = time.monotonic() + timeout_s

    def bound(response: httpx2.Response) -> None:
        assert isinstance(response.stream, httpx2.SyncByteStream), "a client that is not async streams so"
        response.stream = _Bounded(response.stream, response.request)

    return openai.DefaultHttpxClient(
        timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, CONNECT_S)),
        event_hooks={"request": [begin], "response": [bound]},
    )


class _Bounded(httpx2.SyncByteStream):
    def __init__(self, inner: httpx2.SyncByteStream, request: httpx2.Request) -> None:
        self._inner = inner
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        taken = 0
        for piece in self._inner:
            taken += len(piece)
            if time.monotonic() > self._request.extensions[_UNTIL]:
                raise httpx2.ReadTimeout("the time for a whole answer is over", request=self._request)
            if taken > MOST_BYTES:
                raise httpx2.ReadError(f"the answer is longer than {MOST_BYTES:,} bytes", request=self._request)
            yield piece

    def close(self) -> None:
        self._inner.close()
