"""The health check of an image: is the service ready? Exit code 1 and what is not well when it is not.

It runs every half a minute in every container, so it imports as little as it can.
"""

import os
import socket
import sys

LONGEST_ANSWER_S = 4.0
MOST_BYTES = 4000  # Docker keeps 4096 of what a health check prints


def answer(port: int) -> str:
    """What /readyz says, status line included."""
    with socket.create_connection(("127.0.0.1", port), LONGEST_ANSWER_S) as connection:
        connection.settimeout(LONGEST_ANSWER_S)
        connection.sendall(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        received = b""
        while len(received) < MOST_BYTES and (part := connection.recv(MOST_BYTES)):
            received += part
    return received.decode("utf-8", "replace")


def check() -> tuple[bool, str]:
    """Whether the service is ready, and what it says about it."""
    try:
        said = answer(int(os.environ["HTTP_PORT"]))
    except (KeyError, ValueError):
        return False, "HTTP_PORT is not set: there is no health to ask for"
    except OSError as error:
        return False, f"no answer: {error}"
    head, _, body = said.partition("\r\n\r\n")
    return head.startswith(("HTTP/1.0 200", "HTTP/1.1 200")), body


if __name__ == "__main__":
    ready, told = check()
    sys.stdout.write(f"{told}\n")
    sys.exit(not ready)
