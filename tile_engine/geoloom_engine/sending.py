"""Answers that are not taken: a client that does not read, or hardly, is not waited for for ever."""

from __future__ import annotations

import asyncio

from tornado.iostream import IOStream

PATIENCE = 60.0
"""Seconds that a client may take for any answer."""

SLOWEST = 50_000
"""Bytes that it must take a second of a long one."""


def limit(written: asyncio.Future[None], stream: IOStream, size: int) -> None:
    """Close a connection whose client does not take an answer in time.

    Nearly all answers fit into what the system sends by itself, and cost nothing here.

    Parameters
    ----------
    written
        Is done when all of the answer is on its way.
    stream
        The connection.
    size
        Bytes of the answer.
    """
    if written.done():
        return
    timer = asyncio.get_running_loop().call_later(PATIENCE + size / SLOWEST, stream.close)
    written.add_done_callback(lambda done: timer.cancel())
