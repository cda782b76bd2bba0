"""A server that says whatever a test wants, byte by byte, whatever it is asked."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self


class RawServer:
    """Answers each connection's requests with `say()`, in threads; closes the connection after each where `closes`."""

    def __init__(self, say: Callable[[], bytes], *, closes: bool = True) -> None:
        self._say, self._closes = say, closes
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._lock = threading.Lock()
        self.port = self._listening.getsockname()[1]
        self.count = 0

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(10)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        with suppress(OSError), connection:
            while self._has_request(connection):
                with self._lock:
                    self.count += 1
                    said = self._say()
                connection.sendall(said)
                if self._closes:
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):  # what is unread would reset the connection, and discard the answer
                        pass
                    return

    @staticmethod
    def _has_request(connection: socket.socket) -> bool:
        head = b""
        while b"\r\n\r\n" not in head:
            came = connection.recv(65536)
            if not came:
                return False
            head += came
        return True
