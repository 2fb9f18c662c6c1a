"""The server's end: on SIGTERM it goes on answering until nobody comes any more, so that no client loses a request.

Kubernetes takes a pod out of its Service when it sends the signal, and what routes requests learns of it seconds later. So
`/ready` says no at once, and each answer closes its connection, whose client then goes elsewhere. After DRAIN_SECONDS, more
than uvicorn keeps an idle connection, the door is closed, what has begun is finished, and the process ends.
"""

import asyncio
import contextlib
import signal
import socket
import sys
import time
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from .guard import Connection

DRAIN_SECONDS = 7.0  # together with LAST_SECONDS less than the ten seconds that Docker waits
FINISH_SECONDS = 20  # for what has begun


def run(app: FastAPI, host: str, port: int) -> None:
    """Answers until a signal ends it: SIGTERM as said above, Ctrl-C or a second SIGTERM without draining."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=Connection,
        access_log=False,
        timeout_graceful_shutdown=FINISH_SECONDS,
    )
    server = Server(config, app)
    server.run([config.bind_socket()])
    if not server.started:
        sys.exit(1)


class Server(uvicorn.Server):
    """uvicorn's, which would close its door and all idle connections at once."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self.app = app
        self.drains_until: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGTERM and self.drains_until is None:
            self.app.state.is_draining = True
            self.drains_until = time.monotonic() + DRAIN_SECONDS
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        if self.drains_until is not None and time.monotonic() >= self.drains_until:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Takes in who stands at the door before it is closed: the system would reset their connections."""
        loop = asyncio.get_running_loop()
        waiting = [client for door in sockets or () for client in _accept_all(loop, door)]
        for server in self.servers:
            server.close()
        for client in waiting:
            with contextlib.suppress(OSError):
                await loop.connect_accepted_socket(self._make_connection, client)
        await super().shutdown(sockets)

    def _make_connection(self) -> Connection:
        return Connection(self.config, self.server_state, self.lifespan.state)


def _accept_all(loop: asyncio.AbstractEventLoop, door: socket.socket) -> list[socket.socket]:
    """Who has connected and was not yet accepted; none where the loop does not work this way, as on Windows."""
    clients: list[socket.socket] = []
    with contextlib.suppress(NotImplementedError, OSError):
        loop.remove_reader(door)
        door.listen(0)  # who comes from now on is not let in, rather than let in and reset
        while True:
            client: Any = door.accept()[0]
            client.setblocking(False)
            clients.append(client)
    return clients
