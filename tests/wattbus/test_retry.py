"""Backoff, breaker and watchdog in virtual time."""

from __future__ import annotations

from random import Random

from wattbus.retry import Backoff, Breaker, FreshnessWatchdog
from wattbus.testing.clock import VirtualClock


def test_pauses_double_up_to_the_longest_with_jitter() -> None:
    backoff = Backoff(first_s=1, longest_s=60, random=Random(1))
    pauses = [backoff.next_s() for _ in range(2000)]
    for number, pause in enumerate(pauses):
        full = min(60, 2.0 ** min(number, 10))
        assert full / 2 <= pause <= full
    assert len(set(pauses)) > 1900, "not every device comes back in the same second"
    backoff.reset()
    assert backoff.next_s() <= 1


def test_a_breaker_opens_after_failures_in_a_row_and_tries_now_and_then() -> None:
    clock = VirtualClock()
    breaker = Breaker(3, Backoff(5, 60), clock)
    assert not breaker.failed()
    assert not breaker.failed()
    assert not breaker.succeeded(), "it was not open"
    assert [breaker.failed() for _ in range(3)] == [False, False, True]
    assert breaker.is_open
    tries = 0
    for _ in range(3600):
        clock.forward(1)
        if breaker.allows():
            tries += 1
            assert not breaker.failed(), "told once"
    assert 60 <= tries <= 130
    clock.forward(60)
    assert breaker.allows()
    assert breaker.succeeded()
    assert breaker.allows()
    assert not breaker.is_open


def test_a_watchdog_barks_at_silence() -> None:
    clock = VirtualClock()
    dog = FreshnessWatchdog(60, clock)
    clock.forward(60)
    assert not dog.is_silent
    clock.forward(1)
    assert dog.is_silent
    dog.fed()
    assert not dog.is_silent
    dog.limit_s = None
    clock.forward(1e6)
    assert not dog.is_silent
