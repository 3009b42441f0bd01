"""`aether model promote` and `aether model rollback`: which model stands, by a person's word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from runtime.cli.output import Json, LogUrl, answer, command, reading, talk

if TYPE_CHECKING:
    from runtime.models.registry.by_hand import Moved

Why = Annotated[str, typer.Option(help="Why, for those who read the log later.")]


@command
def promote(
    model: Annotated[
        str, typer.Argument(metavar="NAME@DIGEST", help="The model, by the digest's first digits at least.")
    ],
    why: Why = "",
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """Make a model what sessions act by, whatever it was judged to be worth.

    The log says so, with what stood before; live sessions that follow the name take it at their next cycle. From now on
    its name alone means this model.

    Example: aether model promote maze@3f9c2b7d01aa --why "seen to do better on the large maze"
    """
    from runtime.models.registry.by_hand import promote_by_hand
    from runtime.models.registry.store import registry_of
    from runtime.settings import log_url, read_settings

    settings = read_settings({"log": log}).settings
    moved = promote_by_hand(log_url(settings), registry_of(settings), model, why=why)
    if as_json:
        _answer(moved, log)
    elif moved.event is not None:
        typer.echo(f"{moved.model} stands" + ("" if moved.before is None else f", in place of {moved.before}"))
        typer.echo(f"event {moved.event}")
    else:
        typer.echo(f"{moved.model} stands already; nothing was entered")
        _say_mended(moved)


@command
def rollback(
    name: Annotated[str, typer.Argument(help="Name of the models.")],
    why: Why = "",
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """Take back the model that was promoted last; what stood before it stands again.

    A canary is taken back before the model that stands. What stood before may be the scenario's own policy. Live
    sessions that follow the name take the change at their next cycle.

    Example: aether model rollback maze --why "turns in circles since this morning"
    """
    from runtime.models.registry.by_hand import roll_back_by_hand
    from runtime.models.registry.store import registry_of
    from runtime.settings import log_url, read_settings

    settings = read_settings({"log": log}).settings
    moved = roll_back_by_hand(log_url(settings), registry_of(settings), name, why=why)
    if as_json:
        _answer(moved, log)
    elif moved.event is not None:
        typer.echo(f"{moved.before} was taken back; {moved.model} stands")
        typer.echo(f"event {moved.event}")
    else:
        typer.echo(f"{moved.before} was taken back before, and {moved.model} stands; nothing was entered")
        _say_mended(moved)


def _answer(moved: Moved, log: str | None) -> None:
    with reading(log) as store:
        answer([moved._asdict()], as_of=store.position())


def _say_mended(moved: Moved) -> None:
    if moved.mended:
        talk(f"aether: what {moved.name} means here lagged behind the log, as after a crash, and does no more")
