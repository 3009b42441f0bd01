"""`aether gateway`: an endpoint on loopback that records what agents say through it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.cli.output import LogUrl, command, talk

if TYPE_CHECKING:
    from runtime.gateway.recorder import Counts

Upstream = Annotated[
    str | None,
    typer.Option(
        "--upstream", metavar="URL", help="The endpoint behind it.  [default: $OPENAI_BASE_URL, else OpenAI's]"
    ),
]
Listen = Annotated[
    str, typer.Option(metavar="HOST:PORT", help="Where to listen, on loopback; port 0 takes a free one.")
]


@command
def gateway(upstream: Upstream = None, listen: Listen = "127.0.0.1:8320", log: LogUrl = None) -> None:
    """Serve an OpenAI-compatible endpoint in front of another and record what agents say through it.

    An agent of any framework uses the URL that is printed as its base_url; its conversations, tool calls and their
    results become observed sessions. The header x-aether-session: NAME names a session; without it a request goes on
    with the conversation that its messages begin with exactly. Ctrl-C ends it when what is under way is done.

    Example: aether gateway --upstream https://api.openai.com/v1 --log agents.db
    """
    import asyncio
    import signal

    from runtime.errors import INTERRUPTED
    from runtime.gateway.serve import serve
    from runtime.settings import log_url, read_settings
    from telemetry.log import open_log

    settings = read_settings({"log": log}).settings
    endpoint = upstream or settings.openai_base_url
    with closing(open_log(log_url(settings))) as store:
        counts, number = asyncio.run(serve(store, upstream=endpoint, listen=listen, ready=typer.echo, say=_say))
    talk(_words(counts))
    if number == signal.SIGINT:
        raise typer.Exit(INTERRUPTED)


def _say(line: str) -> None:
    talk(f"aether: {line}")


def _words(counts: Counts) -> str:
    lost = f", {counts.not_recorded} not recorded: {counts.why}" if counts.not_recorded else ""
    return f"{counts.recorded} requests of {counts.sessions} sessions recorded{lost}"
