"""A process that appends to a log until it is killed: `python -m tests.contract.appender URL`.

Every acknowledged event is one line `stream@version hash` on stdout, written only after it was acknowledged."""

from __future__ import annotations

import os
import sys
import threading

from telemetry.log import open_log
from tests.contract.stores import notes


def main(url: str) -> None:
    log = open_log(url)

    def produce(number: int) -> None:
        stream, version = f"s{number}", 0
        while True:
            kept = log.append(stream, notes(3, command=f"{version}"), expected_version=version, epoch=1)
            version = kept[-1].version
            os.write(1, "".join(f"{event.id} {event.hash.hex()}\n" for event in kept).encode())

    for number in range(4):
        threading.Thread(target=produce, args=(number,), daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1])
