"""The shop's tools, over one SQLite file: `$SHOP_DB`, else `shop.db` in the working folder.

`python -m examples.refund.shop` prints its tables, with `--ledger` a line for each thing that was done.
Invariant: a refund is known by its key, so the same key again changes nothing, and no order is refunded above what was
paid for it."""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from loops.environments.tools import EffectKey, tool

ORDERS = (
    ("1001", "ada", "a kettle", 30.0),
    ("1002", "bob", "a lamp", 45.0),
    ("1003", "ada", "a bicycle", 420.0),
    ("1004", "ada", "a teapot", 25.0),
)
TABLES = """
CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, customer TEXT NOT NULL, item TEXT NOT NULL, paid REAL NOT NULL);
CREATE TABLE IF NOT EXISTS refunds (key TEXT PRIMARY KEY, order_id TEXT NOT NULL, amount REAL NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (recipient TEXT NOT NULL, subject TEXT NOT NULL, body TEXT NOT NULL);
"""
HOLD = "SHOP_HOLD"
"""Names a file; while it is there, a refund that was made answers late. The demo kills the host meanwhile."""
LATE_S = 60.0


class Order(TypedDict):
    """An order as the shop knows it, amounts in euros."""

    order: str
    customer: str
    item: str
    paid: float
    refunded: float


class Refund(TypedDict):
    order: str
    amount: float


@contextmanager
def shop() -> Iterator[sqlite3.Connection]:
    """The shop's database, made on first use; what happens inside is one transaction."""
    connection = sqlite3.connect(os.environ.get("SHOP_DB", "shop.db"), timeout=30)
    try:
        connection.executescript(TABLES)
        with connection:
            connection.executemany("INSERT OR IGNORE INTO orders VALUES (?, ?, ?, ?)", ORDERS)
            yield connection
    finally:
        connection.close()


@tool(effect="read")
def find_order(order: Annotated[str, Field(description="The order's number, such as 1001.")]) -> Order:
    """Look an order up: whose it is, what was bought, what was paid, what was refunded."""
    with shop() as database:
        row = database.execute(
            "SELECT id, customer, item, paid, (SELECT coalesce(sum(amount), 0) FROM refunds WHERE order_id = id) "
            "FROM orders WHERE id = ?",
            (order,),
        ).fetchone()
    if row is None:
        raise LookupError(f"there is no order {order}")
    return Order(order=row[0], customer=row[1], item=row[2], paid=row[3], refunded=row[4])


@tool(effect="keyed")
def refund(
    order: Annotated[str, Field(description="The order's number.")],
    customer: Annotated[str, Field(description="Whose order it is, as find_order says.")],
    amount: Annotated[float, Field(gt=0, description="Euros to pay back.")],
    key: EffectKey,
) -> Refund:
    """Pay money for an order back to its customer."""
    with shop() as database:
        made = database.execute("SELECT order_id, amount FROM refunds WHERE key = ?", (key,)).fetchone()
        if made is None:
            _check(database, order, customer, amount)
            database.execute("INSERT INTO refunds VALUES (?, ?, ?)", (key, order, amount))
            made = (order, amount)
    _answer_late()
    return Refund(order=made[0], amount=made[1])


def _check(database: sqlite3.Connection, order: str, customer: str, amount: float) -> None:
    row = database.execute("SELECT customer, paid FROM orders WHERE id = ?", (order,)).fetchone()
    if row is None or row[0] != customer:
        raise LookupError(f"there is no order {order} of {customer}")
    (refunded,) = database.execute(
        "SELECT coalesce(sum(amount), 0) FROM refunds WHERE order_id = ?", (order,)
    ).fetchone()
    if round(refunded + amount - row[1], 2) > 0:  # whole cents: sums of floats are off in the last digit
        raise ValueError(
            f"order {order} was {row[1]:g} and {refunded:g} of it is refunded; {amount:g} more is too much"
        )


def _answer_late() -> None:
    hold = os.environ.get(HOLD)
    late = time.monotonic() + LATE_S
    while hold and Path(hold).exists() and time.monotonic() < late:
        time.sleep(0.02)


@tool(effect="unsafe")
def email(to: str, subject: str, body: str) -> str:
    """Send an e-mail. It cannot be taken back, and nobody can say afterwards whether it was sent."""
    with shop() as database:
        database.execute("INSERT INTO outbox VALUES (?, ?, ?)", (to, subject, body))
    return "sent"


def tables() -> str:
    """The refunds and the outbox, for people."""
    with shop() as database:
        refunds = database.execute("SELECT order_id, amount, key FROM refunds ORDER BY rowid").fetchall()
        mails = database.execute("SELECT recipient, subject FROM outbox ORDER BY rowid").fetchall()
    lines = ["refunds", *(f"  {order}  {amount:>7.2f}  {key[:12]}" for order, amount, key in refunds)]
    return "\n".join([*lines, "outbox", *(f"  {to}  {subject}" for to, subject in mails)])


def ledger() -> str:
    """What was really done, a line each, for `aether chaos --ledger`."""
    with shop() as database:
        refunds = database.execute("SELECT order_id FROM refunds ORDER BY rowid").fetchall()
        mails = database.execute("SELECT recipient, subject FROM outbox ORDER BY rowid").fetchall()
    return "\n".join(
        [*(f"refund {order}" for (order,) in refunds), *(f"email {to}: {subject}" for to, subject in mails)]
    )


if __name__ == "__main__":
    sys.stdout.write(f"{ledger() if '--ledger' in sys.argv else tables()}\n")
