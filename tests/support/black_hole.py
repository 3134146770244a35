"""An address that takes no connection and says nothing, as behind a route that is dead."""

import contextlib
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def black_hole(address: str, port: int) -> Iterator[None]:
    """While this lasts, the kernel drops each attempt to connect to this address of the host."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket(family))
        full.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        full.bind((address, port))
        full.listen(0)
        while True:  # until its queue is full
            waiting = stack.enter_context(socket.socket(family))
            waiting.settimeout(0.2)
            try:
                waiting.connect((address, port))
            except TimeoutError:
                break
        yield
