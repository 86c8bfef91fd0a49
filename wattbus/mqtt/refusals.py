"""What the broker does not let this client do, each with its begin and its end."""

from __future__ import annotations

import time
from collections.abc import Callable

CALM_S = 60.0  # a topic on which some messages are refused and others are not is refused all that time

Report = Callable[[str, str], None]


class Refusals:
    """Refused subscriptions and publications by name; `report(name, reason)` is called when one begins, is renewed, or
    ends (reason "")."""

    def __init__(self, report: Report = lambda name, reason: None) -> None:
        self.report = report
        self._refused: dict[str, float] = {}  # name → when it was refused last (monotonic seconds)

    def __bool__(self) -> bool:
        return bool(self._refused)

    def refused(self, name: str, reason: str) -> None:
        """It was refused just now."""
        self._refused[name] = time.monotonic()
        self.report(name, reason)

    def accepted(self, name: str, *, at_once: bool = False) -> None:
        """It was not refused just now: over, when nothing was for a while, or `at_once`."""
        since = self._refused.get(name)
        if since is not None and (at_once or time.monotonic() - since >= CALM_S):
            del self._refused[name]
            self.report(name, "")


def publishing(topic: str) -> str:
    """The name of a refusal to take messages on a topic."""
    return f"publishing refused: {topic}"


def too_large(topic: str) -> str:
    """The name of a refusal because of a message's size."""
    return f"too large: {topic}"


def subscription(topic_filter: str) -> str:
    """The name of a refusal to deliver what matches a filter."""
    return f"subscription refused: {topic_filter}"
