"""The listening sockets of a server of several processes: one address, one socket for each start.

The kernel of the machine deals connections out over all sockets that listen on the address
(SO_REUSEPORT). A socket that only holds the address is bound first, without that option, so that an
address anybody else listens on is refused; a process that dies takes its socket with it, so new
connections go to the others at once.
"""

from __future__ import annotations

import socket

from lithox.errors import ConfigError


class SharedAddress:
    """One address that several sockets listen on. Blocks for name look-up when it is opened."""

    def __init__(self, host: str, port: int) -> None:
        """Binds the address; nobody listens yet.

        Args:
            port: 0 takes a free one.

        Raises:
            ConfigError: the address is unknown, taken or not allowed.
        """
        self._where = f"{host}:{port}"
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except OSError as error:
            raise self._refusal(error) from None
        self._family, _, _, _, address = found[0]
        self._keeper = self._bind(address, is_first=True)
        self._address = self._keeper.getsockname()
        self._keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

    @property
    def port(self) -> int:
        """The real port."""
        return self._address[1]

    def open_socket(self) -> socket.socket:
        """Returns one more bound socket. Raises ConfigError."""
        return self._bind(self._address, is_first=False)

    def close(self) -> None:
        """Gives the address up."""
        self._keeper.close()

    def _bind(self, address: tuple[object, ...], *, is_first: bool) -> socket.socket:
        opened = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if not is_first:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            opened.bind(address)
        except OSError as error:
            opened.close()
            raise self._refusal(error) from None
        return opened

    def _refusal(self, error: OSError) -> ConfigError:
        return ConfigError(f"cannot listen on {self._where}: {error.strerror}", key="listen")
