"""What a model would say in the refund scenario: a function of the messages it is sent, and of nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answers: words, calls, or both. `calls` are names with their arguments as JSON text."""

    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()


Policy = Callable[[Messages], Reply]


def refunds(messages: Messages) -> Reply:
    """Looks the order up, refunds what was paid for it, writes to its customer, and says what came of it."""
    asked = max((i for i, message in enumerate(messages) if message["role"] == "user"), default=0)
    number = re.search(r"\b\d{4}\b", str(messages[asked]["content"]))
    if number is None:
        return Reply(text="Which order is it? Please give me its number.")
    done = [_result(message) for message in messages[asked + 1 :] if message["role"] == "tool"]
    if not done:
        return _call("find_order", text=f"Let me look at order {number[0]}.", order=number[0])
    order, *later = done
    if not isinstance(order, dict):
        return Reply(text=f"I am sorry: {order}.")
    if not later:
        return _call("refund", order=order["order"], customer=order["customer"], amount=order["paid"])
    if not isinstance(later[0], dict):
        return Reply(text=f"I could not refund order {order['order']}: {later[0]}.")
    said = f"{order['paid']:.2f} euros for {order['item']}"
    if len(later) == 1:
        return _call(
            "email",
            to=order["customer"],
            subject=f"Your refund of order {order['order']}",
            body=f"We paid back {said}.",
        )
    sent = "and wrote you an e-mail" if later[1] == "sent" else f"but an e-mail to you is in doubt: {later[1]}"
    return Reply(text=f"I refunded {said} {sent}.")


def _call(name: str, *, text: str = "", **arguments: object) -> Reply:
    return Reply(text=text, calls=((name, json.dumps(arguments)),))


def _result(message: Mapping[str, Any]) -> Any:  # noqa: ANN401  whatever a tool answered
    try:
        return json.loads(message["content"])
    except ValueError:
        return message["content"]


def chatter(tokens: int) -> Policy:
    """Answers everything with `tokens` words and calls nothing."""
    reply = Reply(text=" ".join(f"word{i}" for i in range(tokens)))
    return lambda _: reply
