"""Which sensors turn stale, and what it costs to find out. In virtual time."""

from __future__ import annotations

from tests.support.effort import calls_of
from wattbus.runtime.staleness import Staleness
from wattbus.testing.clock import VirtualClock


class Watched:
    """A watch whose limits a test may change."""

    def __init__(self, **limits_s: float | None) -> None:
        self.limits_s = limits_s
        self.clock = VirtualClock()
        self.staleness = Staleness(lambda key: self.limits_s.get(key), self.clock)

    def after(self, seconds: float) -> list[str]:
        self.clock.forward(seconds)
        return sorted(self.staleness.turned_stale())


def test_who_is_not_heard_for_longer_than_its_limit_turns_stale_once() -> None:
    watch = Watched(a=10, b=20, never=None)
    assert watch.after(100) == [], "who was never heard has no value that could be stale"
    for key in ("a", "b", "never", "unknown"):
        watch.staleness.heard(key)
    assert watch.after(10) == [], "just in time is in time"
    assert watch.after(0.1) == ["a"]
    assert watch.staleness.is_stale("a")
    assert watch.after(5) == []
    watch.staleness.heard("a")
    assert not watch.staleness.is_stale("a")
    assert watch.after(5) == ["b"]
    assert watch.after(6) == ["a"]
    assert watch.after(1e9) == []


def test_who_is_heard_again_and_again_does_not() -> None:
    watch = Watched(a=10)
    for _ in range(100):
        watch.staleness.heard("a")
        assert watch.after(9) == []
    assert watch.after(2) == ["a"]


def test_limits_may_change_while_somebody_is_waited_for() -> None:
    watch = Watched(shorter=100, longer=10, none=10, some=None)
    for key in watch.limits_s:
        watch.staleness.heard(key)
    watch.limits_s.update(shorter=5, longer=50, none=None, some=5)
    for key in [*watch.limits_s, "never heard"]:
        watch.staleness.described(key)
    assert watch.after(6) == ["shorter", "some"]
    assert watch.after(6) == [], "nor at the moments that held before"
    assert watch.after(40) == ["longer"]
    assert watch.after(100) == []


def test_moments_that_rounding_moves_come_all_the_same() -> None:
    watch = Watched(a=0.1)
    watch.clock.forward(1e9 + 1 / 3)
    for _ in range(1000):
        watch.staleness.heard("a")
        watch.clock.forward(0.05)
        assert sorted(watch.staleness.turned_stale()) == []
    assert watch.after(0.06) == ["a"]


def test_looking_costs_nothing_where_nothing_is_due() -> None:
    watch = Watched(**{f"k{number}": 60.0 for number in range(10_000)})
    for key in watch.limits_s:
        watch.staleness.heard(key)
    assert calls_of(lambda: watch.after(1)) < 10
    watch.clock.forward(30)
    for key in watch.limits_s:
        watch.staleness.heard(key)
    assert watch.after(30) == [], "each of them is looked at once in a minute"
    assert calls_of(lambda: watch.after(1)) < 10
