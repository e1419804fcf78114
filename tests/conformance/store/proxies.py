"""A wire between a node and its server that a test cuts where it wants."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress

CHUNK_BYTES = 1 << 16


class CuttingProxy:
    """Forwards bytes on 127.0.0.1; `arm` says what happens to the next ones of a client.

    Attributes:
        port: where clients connect.
        cuts: connections it has cut.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._mode: str | None = None
        self._is_refusing = False
        self.cuts = 0
        self._is_ended = False
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def arm(self, mode: str) -> None:
        """Cuts the connection that a client next sends over.

        Args:
            mode: "swallow": the server never sees those bytes; "answerless": the server acts on
                them, and the client never sees the answer.
        """
        self._mode = mode

    def close(self) -> None:
        self._is_ended = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while not self._is_ended:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
            except OSError:
                continue
            thread = threading.Thread(target=self._forward, args=(client, server), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        is_cutting = False
        with client, server, suppress(OSError):
            while not self._is_ended:
                readable, _, _ = select.select([client, server], [], [], 0.05)
                for source in readable:
                    data = source.recv(CHUNK_BYTES)
                    if not data or (is_cutting and source is server):
                        return
                    if source is client and self._mode is not None:
                        mode, self._mode = self._mode, None
                        self.cuts += 1
                        if mode == "swallow":
                            return
                        # The server answers when it has all of it: until then it is forwarded.
                        is_cutting = True
                    (server if source is client else client).sendall(data)
