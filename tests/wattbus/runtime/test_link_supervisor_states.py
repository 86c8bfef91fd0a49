"""What a link counts as: it has answered, values come, it is silent, it is down. In virtual time."""

from __future__ import annotations

import pytest

from tests.wattbus.runtime.supervised_link import Supervised, lines, log, supervised
from wattbus.connector import Datapoint
from wattbus.errors import LinkDown, LinkSilent

__all__ = ["log"]

NO_ANSWER = ("degraded", "connecting: no answer yet")


async def never_well(link: Supervised, hours: float, *script: object) -> None:
    """Let the connector do this in every attempt; the link must not count as well for a moment."""
    for _ in range(10_000):
        for step in script:
            link.connector.tell(step)
    await link.passes(hours * 3600)
    assert ("online", "") not in link.states


async def test_an_address_that_swallows_packets_is_never_up(log: pytest.LogCaptureFixture) -> None:
    """Each attempt takes ten seconds: longer than a link needs to settle."""
    async with supervised(shortest_interval_s=1) as link:
        assert link.now == NO_ANSWER

        async def run(_: object) -> None:
            link.connector.entered += 1
            await link.clock.sleep(10)
            raise LinkDown("no answer within 10 s")

        link.connector.run = run  # type: ignore[method-assign, assignment]
        link.connector.tell(LinkDown("no answer within 10 s"))
        await link.passes(3600)
        assert link.states == [("degraded", "no answer within 10 s")]
        assert link.links == ["down"]
        assert 45 <= link.connector.entered <= 95, "every 40 to 70 s"
    assert lines(log) == ["link: no answer within 10 s"]


async def test_a_device_that_accepts_and_never_answers_is_never_up(log: pytest.LogCaptureFixture) -> None:
    """The connector has no time-outs of its own: the runtime has."""
    async with supervised(shortest_interval_s=1) as link:
        await link.passes(3600)
        assert link.states == [("degraded", "no answer within 60 s")]
        assert link.connector.entered <= 45
    assert lines(log) == ["link: no answer within 60 s"]


async def test_where_nothing_is_due_an_answer_is_enough() -> None:
    """wM-Bus, a radio board, a port that devices connect to: there may be no value for hours."""
    async with supervised() as link:
        await link.passes(60)
        assert link.now == NO_ANSWER
        await link.answers()
        assert (link.now, link.links) == (("online", ""), ["connected"])
        await link.passes(86_400)
        assert (link.now, link.connector.entered) == (("online", ""), 1)
        await link.hears("a telegram")
        assert link.links == ["connected", "up"]


async def test_a_value_that_comes_once_an_hour_is_not_waited_for() -> None:
    async with supervised(shortest_interval_s=3600) as link:
        await link.answers()
        assert link.now == ("online", "")
        await link.passes(9.9 * 3600)
        assert link.now == ("online", "")
        await link.passes(0.2 * 3600)
        assert link.links == ["connected", "silent"], "after ten intervals it is"


async def test_where_values_are_due_an_answer_is_not_enough(log: pytest.LogCaptureFixture) -> None:
    async with supervised(shortest_interval_s=10) as link:
        await link.answers()
        assert link.now == ("degraded", "connected: no value has come yet")
        await link.passes(60)
        assert lines(log) == [], "it only takes its time"
        await link.hears("value")
        assert (link.now, link.links) == (("online", ""), ["connected", "up"])
    assert lines(log) == []


async def test_what_becomes_known_later_is_due_later() -> None:
    async with supervised() as link:
        await link.answers()
        assert link.now == ("online", "")
        link.shortest_interval_s = 10
        assert link.connector.link is not None
        link.connector.link.announce([Datapoint("a", expected_interval_s=10)])
        assert link.now == ("degraded", "connected: no value has come yet")


@pytest.mark.parametrize("shortest_interval_s", [None, 5])
async def test_who_only_talks_nonsense_is_not_up(shortest_interval_s: float | None) -> None:
    async with supervised(shortest_interval_s=shortest_interval_s) as link:
        await link.hears("nonsense")
        assert link.now == ("degraded", "what comes cannot be decoded: it has no checksum")
        assert link.links == ["connecting"]
        await link.answers()
        assert link.now == ("degraded", "what comes cannot be decoded: it has no checksum")
        assert link.links == ["connecting", "connected"]
        for _ in range(100):
            await link.hears("nonsense")
        assert len(link.states) == 2, "more of it says nothing more"
        await link.hears(0)
        assert link.now[0] == "degraded", "a message without values is none either"
        await link.hears("value")
        assert link.now == ("online", "")
        await link.hears("nonsense")
        assert link.now == ("online", ""), "one of many meters may be unreadable"


async def test_a_link_that_stands_and_says_nothing_is_left_and_entered_again() -> None:
    async with supervised(shortest_interval_s=6) as link:
        for _ in range(10):
            await link.hears("hello")
            await link.passes(50)
        assert link.connector.entered == 1
        await link.passes(14)
        assert link.connector.entered == 2
        assert link.now == ("degraded", "silent for 61 s")


async def test_nonsense_is_no_sign_of_life() -> None:
    async with supervised(shortest_interval_s=6) as link:
        await link.hears("hello")
        for _ in range(62):
            await link.hears("nonsense")
            await link.passes(1)
        assert link.states[1] == ("degraded", "silent for 61 s: what comes cannot be decoded: it has no checksum")


async def test_a_link_that_stays_silent_is_logged_once(log: pytest.LogCaptureFixture) -> None:
    async with supervised(shortest_interval_s=6) as link:
        await link.hears("hello")
        await link.passes(3600)
        assert link.connector.entered > 20, "it is entered again and again"
        assert lines(log) == ["link: silent for 61 s"]
        assert link.links == ["up", "silent", "down"], "and nobody answers any more"
        await link.hears("back")
        await link.passes(60)
        assert link.now == ("online", "")
    assert lines(log)[1:] == ["link: over"]


async def test_a_device_that_answers_and_gives_no_values_stays_silent(log: pytest.LogCaptureFixture) -> None:
    """A Modbus device that refuses every address, say."""
    async with supervised(shortest_interval_s=6) as link:

        async def run(of: object) -> None:
            link.connector.entered += 1
            link.supervisor.connected()
            await link.clock.sleep(1e6)

        link.connector.run = run  # type: ignore[method-assign, assignment]
        await link.hears(LinkDown("entered again"))
        await link.passes(3600)
        assert ("online", "") not in link.states
        assert link.links == ["down", "connected", "silent"]
        assert link.states[-1][1].startswith(("silent for 3", "it answers, but no values come"))
        assert link.connector.entered > 40, "the pause begins anew: it did answer"
    assert lines(log) == ["link: entered again"]


async def test_silence_that_the_connector_found_ends_when_something_is_heard(log: pytest.LogCaptureFixture) -> None:
    """Of strangers, say: it is not for us, and shows that we hear."""
    async with supervised() as link:
        await link.answers()
        await link.passes(60)
        await link.hears(LinkSilent("the stick is silent for 900 s; it is opened again"))
        assert (link.links[-1], link.now[0]) == ("silent", "degraded")
        await link.passes(60)
        await link.hears(LinkSilent("the stick is still silent; it is opened again and reset"))
        assert link.now == ("degraded", "the stick is still silent; it is opened again and reset")
        await link.passes(60)
        await link.answers()
        assert link.now == ("online", "")
    assert lines(log) == [
        "link: the stick is silent for 900 s; it is opened again",
        "link: over",
    ]


# -- one outage


async def test_the_reason_that_holds_now_is_in_the_status(log: pytest.LogCaptureFixture) -> None:
    async with supervised() as link:
        await link.hears("hello")
        await link.passes(10)
        for reason in ("connection lost", "connection refused", "connection refused", "no route to host"):
            await link.hears(LinkDown(reason))
            await link.passes(120)
        told = [detail for _, detail in link.states[1:]]
        assert told == ["connection lost", "connection refused", "no route to host"]
    assert lines(log) == ["link: connection lost"]


async def test_a_device_that_answers_and_breaks_at_once_does_not_come_and_go(log: pytest.LogCaptureFixture) -> None:
    async with supervised(shortest_interval_s=1) as link:
        for _ in range(2):  # it stands for less than five seconds each time
            await link.hears("hello")
            await link.hears(LinkDown("reset by peer"))
            await link.passes(2)
        assert link.links == ["up", "down", "up", "down"]
        link.states.clear()
        log.clear()
        await never_well(link, 0.5, "hello", LinkDown("reset by peer"))
        assert link.states == []
        assert lines(log) == []
        pauses = [pause for pause in link.clock.slept if pause != 1.0]
        assert min(pauses[-5:]) >= 30


async def test_it_is_up_again_when_it_has_stood_for_a_while(log: pytest.LogCaptureFixture) -> None:
    async with supervised() as link:
        for _ in range(2):
            await link.hears("hello")
            await link.hears(LinkDown("reset by peer"))
            await link.passes(2)
        log.clear()
        await link.hears("hello")
        await link.passes(4)
        assert link.now == ("degraded", "reset by peer")
        await link.passes(2)
        assert link.now == ("online", "")
        await link.passes(60)
        await link.hears(LinkDown("reset by peer"))
        await link.passes(2)
        await link.hears("hello")
        assert link.now == ("online", ""), "after an outage of a link that stood it is, at once"
    assert lines(log) == ["link: over", "link: reset by peer", "link: over"]


async def test_only_a_link_that_stood_starts_the_backoff_anew() -> None:
    async with supervised() as link:
        for _ in range(6):
            await link.passes(100)  # in run() for long, and nobody answers
            await link.hears(LinkDown("no answer"))
        assert link.clock.slept[-1] > 10
        await link.passes(100)
        await link.answers()
        await link.passes(6)
        await link.hears(LinkDown("no answer"))
        assert link.clock.slept[-1] <= 1
