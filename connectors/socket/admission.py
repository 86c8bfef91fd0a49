"""Who is heard, and how much of it: networks, rates, and what is told about the rest."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Sequence

from wattbus import metrics
from wattbus.clock import SYSTEM_CLOCK, Clock

log = logging.getLogger(__name__)

REFUSED = metrics.counter("socket_refused", "What limits refused, delayed or closed, by limit.", "limit")
MOST_REMEMBERED = 1000  # addresses

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def plain_address(host: str) -> str:
    """A peer's address as people write it: without the scope of IPv6, IPv4 as IPv4 also on a socket that has both."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


class Admission:
    """The networks that are heard."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks

    def allows(self, peer: str) -> bool:
        """Whether the device with this address (as `plain_address` gives it) is heard."""
        address = ipaddress.ip_address(peer)
        return any(address in network for network in self._networks)


class Complaints:
    """Counts what limits did; says it once for each limit and address, not for each message."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._said: set[tuple[str, str]] = set()

    def note(self, limit: str, peer: str, text: str) -> None:
        REFUSED.labels(self._service, limit).inc()
        if (limit, peer) in self._said or len(self._said) >= MOST_REMEMBERED:
            return
        self._said.add((limit, peer))
        log.warning("%s: %s (said once)", peer, text)


class Rate:
    """Messages per second of each address: a bucket that holds one second's worth (one message at least)."""

    def __init__(self, per_second: float, clock: Clock = SYSTEM_CLOCK) -> None:
        self._per_second = per_second
        self._burst = max(1.0, per_second)
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # what is left, and since when it refills

    def owed_s(self, peer: str, messages: int) -> float:
        """Take so many messages; for how long (s) `peer` must wait until it is within its rate again."""
        left = self._left(peer) - messages
        self._keep(peer, left)
        return max(0.0, -left / self._per_second)

    def allows(self, peer: str) -> bool:
        """Whether one more message is within the rate; it is taken then."""
        left = self._left(peer)
        taken = left >= 1.0
        self._keep(peer, left - taken)
        return taken

    def _left(self, peer: str) -> float:
        left, since = self._buckets.get(peer, (self._burst, 0.0))
        return min(self._burst, left + (self._clock.monotonic() - since) * self._per_second)

    def _keep(self, peer: str, left: float) -> None:
        self._buckets.pop(peer, None)
        self._buckets[peer] = (left, self._clock.monotonic())
        if len(self._buckets) > MOST_REMEMBERED:  # the bucket that was used least recently is the fullest one
            del self._buckets[next(iter(self._buckets))]
