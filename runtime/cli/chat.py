"""`aether chat`: a conversation with a session in the terminal, or in plain lines through pipes."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.cli.output import LogUrl, command
from runtime.cli.run import Address

if TYPE_CHECKING:
    from runtime.hosting.orders import SessionOrder
    from runtime.settings import Settings

BUILT_IN = """\
name = "chat"

[environment]
id = "tools:"

[reasoner]
kind = "language"

[world_model]
kind = "none"
"""
"""What a chat without a scenario is: a model that talks and has no tools."""


@command
def chat(
    scenario: Annotated[
        Path | None, typer.Argument(metavar="[SCENARIO.toml]", help="A conversation.  [default: one without tools]")
    ] = None,
    session: Annotated[str | None, typer.Option(metavar="ID", help="Go on with this session instead.")] = None,
    person: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whom the session serves.  [default: the scenario's]")
    ] = None,
    log: LogUrl = None,
    address: Address = None,
) -> None:
    """Talk with an agent. Each line is a message; /help lists what else there is; Ctrl-D or /quit lets it rest.

    The model is that of the scenario, else AETHER_MODEL at OPENAI_BASE_URL with OPENAI_API_KEY. Lines can be piped
    in: the agent's words go to stdout, all else to stderr.

    Example: aether chat examples/refund.toml --person ada
    """
    from runtime.cli.conversation import converse
    from runtime.settings import read_settings

    settings = read_settings({"log": log, "address": address}).settings
    order = _order(settings, scenario, session, person)
    code = converse(settings, order)
    if code:
        raise typer.Exit(code)


def _order(settings: Settings, scenario: Path | None, session: str | None, person: str | None) -> SessionOrder:
    """Raises `UsageError` for what is no conversation, or over."""
    from runtime.errors import UsageError
    from runtime.run import check_scenario, new_orders
    from runtime.scenario import parse_scenario, read_scenario

    if session is not None:
        if scenario is not None or person is not None:
            raise UsageError("a session goes on with the scenario and person it began with; give --session alone")
        return _resumed(settings, session)
    file = parse_scenario(BUILT_IN, source="chat") if scenario is None else read_scenario(scenario)
    if not file.scenario.environment.is_conversation:
        raise UsageError(f'{scenario} is no conversation (environment.id = "tools:"); try: aether run {scenario}')
    check_scenario(file, settings)
    (order,) = new_orders(file, sessions=1)
    return order.model_copy(update={"person": person, "attended": True})


def _resumed(settings: Settings, session: str) -> SessionOrder:
    from runtime.errors import UsageError
    from runtime.hosting.orders import SessionOrder
    from runtime.scenario import parse_scenario
    from runtime.sessions import PREFIX, opened, row_of, stream_of
    from runtime.settings import log_url
    from telemetry.log import open_log

    with closing(open_log(log_url(settings), mode="read")) as log:
        first = opened(log, stream_of(session))
        head = log.head(stream_of(session))
        assert head is not None, "a session with a first event has a head"
        row = row_of(log, head)
    if not parse_scenario(first.scenario_text, source=session).scenario.environment.is_conversation:
        raise UsageError(f"session {session} is no conversation; try: aether session resume {session}")
    if row.status == "closed":
        raise UsageError(f"session {session} is closed ({row.outcome}) and stays so; begin anew with: aether chat")
    return SessionOrder(session=session.removeprefix(PREFIX), attended=True)
