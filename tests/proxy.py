"""A port in front of a server, which can be taken away and given back while the server keeps what it holds."""

import contextlib
import re
import socket
import struct
import threading
import urllib.parse
from collections.abc import Callable, Iterator

PASS, REFUSE, RESET, HANG = "pass", "refuse", "reset", "hang"
RESETTING = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


class Proxy:
    """Passes connections on to a server on this machine, until it is told otherwise.

    Args:
        endpoint: http://127.0.0.1:PORT of the server.

    Attributes:
        endpoint: the same of this.
    """

    def __init__(self, endpoint: str):
        self._target = ("127.0.0.1", urllib.parse.urlsplit(endpoint).port)
        self._mode, self._lock = PASS, threading.Lock()
        self._awaited: list[tuple[bytes, Callable[[], object]]] = []
        self._open: set[socket.socket] = set()
        self._listen(0)
        self.endpoint = f"http://127.0.0.1:{self._port}"

    def _listen(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self._port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client = listener.accept()[0]
            except OSError:
                return  # closed
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._mode == RESET:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETTING)
                client.close()
                return
            server = socket.create_connection(self._target)
            with self._lock:
                self._open |= {client, server}
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            self._pump(client, server, self._look)
            back.join()
        for each in (client, server):
            self._open.discard(each)
            each.close()

    def _pump(self, source: socket.socket, target: socket.socket, look=lambda block: None) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(1 << 16):
                look(block)
                if self._mode == HANG:
                    return  # neither an answer nor an end, as long as the sockets are open
                target.sendall(block)
            target.shutdown(socket.SHUT_WR)

    def _look(self, block: bytes) -> None:
        with self._lock:
            due = bool(self._awaited) and re.search(self._awaited[0][0], block)
            action = self._awaited.pop(0)[1] if due else None
        if action is not None:
            action()

    def at(self, request: str, action: Callable[[], object]) -> None:
        """Does something before a request passes in which this regular expression is found; once, in order of calls."""
        self._awaited.append((request.encode(), action))

    def leave_at(self, request: str, mode: str) -> None:
        """`leave` at such a request."""
        self.at(request, lambda: self.leave(mode))

    @property
    def awaits(self) -> int:
        """How many requests it still waits for."""
        return len(self._awaited)

    def leave(self, mode: str) -> None:
        """From here on refuses connections, resets them, or never answers; so for those that are open."""
        self._mode = mode
        if mode == REFUSE:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        if mode != HANG:
            for each in list(self._open):
                with contextlib.suppress(OSError):
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETTING)
                    each.shutdown(socket.SHUT_RDWR)

    def come_back(self) -> None:
        """Passes on again."""
        was, self._mode = self._mode, PASS
        if was == REFUSE:
            self._listen(self._port)


@contextlib.contextmanager
def proxy(endpoint: str) -> Iterator[Proxy]:
    """In front of a server, for the block."""
    made = Proxy(endpoint)
    try:
        yield made
    finally:
        if made._mode != REFUSE:
            made.leave(REFUSE)
