"""A port of one's own on loopback, for a server that is told beforehand where to listen.

Asking for any port and closing it again gives it to whoever asks next, in this process or another. So a connection
was made to it: the port stays in TIME_WAIT for a minute, in which nobody is given it by chance, and a server that
names it (SO_REUSEADDR, as asyncio and http.server set it) may have it at once.
"""

from __future__ import annotations

import socket


def free_port() -> int:
    """A port that nobody listens on, and nobody is given for a minute who does not name it."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        port = int(server.getsockname()[1])
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = server.accept()
            accepted.close()  # first, so that it is this side which waits
    return port
