"""How far the last value on the bus is to be trusted now: its own quality, and whether its connector lives. Pure.

A retained value says what its connector knew when it wrote it. A connector that was killed, stopped, or cut off can say
nothing more, so whoever shows or uses values judges them anew, by the connector's status, its heartbeat, and the
reader's own connection to the broker. REST, WebSocket, page and controller all ask here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wattbus.mqtt.messages import Heartbeat, StatusMessage

SHORTEST_GRACE_S = 5.0  # a heartbeat may be late by this, or by a whole period
LONGEST_PERIOD_S = 3600.0  # a foreign connector may announce nonsense

LifeState = Literal["online", "degraded", "offline", "unknown"]


@dataclass(frozen=True, slots=True)
class Life:
    """Whether a connector lives, as its reader sees it; `reason` in words when it is not online."""

    state: LifeState
    reason: str = ""


class ConnectorLife:
    """What one connector said of itself. All times are monotonic seconds of the reader: clocks of machines differ.

    A heartbeat that is overdue counts more than a retained status that says online: a stopped process, a machine
    without network and a connector without Last Will leave exactly that behind.
    """

    def __init__(self, now_s: float) -> None:
        self.status: StatusMessage | None = None
        self.heartbeat: Heartbeat | None = None
        self._heard_at_s = now_s

    def take_status(self, status: StatusMessage | None, now_s: float, *, retained: bool) -> None:
        """`${C}/status`; None: it was cleared."""
        self.status = status
        if status is not None and not retained:
            self._heard_at_s = now_s

    def take_heartbeat(self, heartbeat: Heartbeat, now_s: float) -> None:
        """`${C}/heartbeat`: it lives, and says when it does so next."""
        self.heartbeat = heartbeat
        self._heard_at_s = now_s

    def listen_anew(self, now_s: float) -> None:
        """The reader's connection is new: heartbeats that it missed meanwhile were not missed by the connector."""
        self._heard_at_s = now_s

    @property
    def overdue_at_s(self) -> float | None:
        """From when on the connector counts as away unless it is heard again; None: it does not announce heartbeats."""
        if self.status is not None and self.status.state == "offline":
            return None
        period_s = self._period_s()
        return None if period_s is None else self._heard_at_s + period_s + max(period_s, SHORTEST_GRACE_S)

    def _period_s(self) -> float | None:
        if self.heartbeat is not None:
            beat = self.heartbeat
            period_s = (beat.next_heartbeats_timestamp - beat.this_heartbeats_timestamp) / 1000
        elif self.status is not None and self.status.heartbeat_seconds is not None:
            period_s = self.status.heartbeat_seconds
        else:
            return None
        return min(max(period_s, 0.0), LONGEST_PERIOD_S)

    def judged(self, now_s: float) -> Life:
        """Whether it lives now."""
        if self.status is not None and self.status.state == "offline":
            return Life("offline", self.status.detail or "it said goodbye")
        overdue_at_s = self.overdue_at_s
        if overdue_at_s is not None and now_s > overdue_at_s:
            since = f"nothing was heard of it for {now_s - self._heard_at_s:.0f} s"
            return Life("offline", f"{since}, though its status says {self.status.state}" if self.status else since)
        if self.status is not None:
            return Life(self.status.state, self.status.detail)
        return Life("online") if self.heartbeat is not None else Life("unknown")


def effective_quality(own: str | None, life: Life | None, *, on_the_bus: bool) -> str | None:
    """The quality of a sensor's last value (None: good).

    `own` is what the value itself carries, `life` that of its connector (None: nothing was heard of it),
    `on_the_bus` whether the reader has a connection to the broker.
    """
    if not on_the_bus or (life is not None and life.state == "offline"):
        return "offline"
    return own
