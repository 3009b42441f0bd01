"""The gateway's life: it listens, and at its end finishes what is under way, rests its sessions, lets go of the log.

Knows addresses, signals and order; every step has its own module. Invariant: whatever ends it, the answers that were
passed on whole before its end are on the log, or counted as not recorded."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from yarl import URL

from runtime.errors import Unavailable, UsageError
from runtime.gateway.proxy import Proxy
from runtime.gateway.recorder import Counts, Recorder
from telemetry.log import EventLog

FINISH_S = 10.0
"""How long answers that are under way may take at the end; then they are cut off, and recorded so."""


@dataclass(frozen=True, slots=True)
class Listening:
    """A gateway that takes requests. `url` is the agent's `base_url`."""

    url: str
    counts: Counts


@asynccontextmanager
async def listening(
    log: EventLog, *, upstream: str, listen: str, say: Callable[[str], None]
) -> AsyncIterator[Listening]:
    """A gateway in front of `upstream` on `listen`, a HOST:PORT; port 0 takes a free one.

    Raises `UsageError` for an address that is not loopback and for what is no URL, `Unavailable` for a port that
    is taken."""
    base, (host, port) = endpoint(upstream), address(listen)
    recorder = Recorder(log, upstream=str(base.with_user(None)), host=base.authority.rpartition("@")[2], say=say)
    runner = web.AppRunner(
        Proxy(base, recorder).application(),
        access_log=None,
        auto_decompress=False,
        handler_cancellation=True,
        shutdown_timeout=FINISH_S,
    )
    try:
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port, reuse_address=True, backlog=1024).start()
        except OSError as error:
            raise Unavailable(f"{listen} cannot be listened on: {error.strerror}. Try: --listen {host}:0") from error
        bound = runner.addresses[0][1]
        yield Listening(f"http://{f'[{host}]' if ':' in host else host}:{bound}/v1", recorder.counts)
    finally:
        await runner.cleanup()
        await asyncio.to_thread(recorder.close)


async def serve(
    log: EventLog, *, upstream: str, listen: str, ready: Callable[[str], None], say: Callable[[str], None]
) -> tuple[Counts, signal.Signals]:
    """Runs a gateway until SIGINT or SIGTERM, and returns what it counted and which of them it was. `ready` gets the
    URL once it listens. Raises as `listening` does."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[signal.Signals] = loop.create_future()

    def end(number: signal.Signals) -> None:
        if not told.done():
            told.set_result(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, number)
    async with listening(log, upstream=upstream, listen=listen, say=say) as gateway:
        ready(gateway.url)
        number = await told
    return gateway.counts, number


def endpoint(upstream: str) -> URL:
    """Raises `UsageError` for what is no HTTP URL."""
    url = URL(upstream)
    if url.scheme not in ("http", "https") or not url.host:
        raise UsageError(f"the endpoint {upstream!r} is no HTTP URL; one looks like https://api.openai.com/v1")
    return url


def address(listen: str) -> tuple[str, int]:
    """Host and port. Raises `UsageError` for what is none, and for a host that others can reach: who reaches the
    gateway writes to the log."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{listen!r} is no address to listen on; one looks like 127.0.0.1:8320")
    if host != "localhost" and not _is_loopback(host):
        raise UsageError(f"the gateway listens on loopback only, and {host!r} is not; use 127.0.0.1:{port}")
    return host, int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
