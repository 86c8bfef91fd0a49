"""Running services: supervision, signals, health."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from itertools import pairwise

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.ports import free_port
from wattbus import metrics
from wattbus.errors import ConfigError
from wattbus.service import health
from wattbus.service.health import HealthServer
from wattbus.service.lifecycle import in_service, run_until_signal, supervise
from wattbus.testing.clock import VirtualClock
from wattbus.testing.waiting import PATIENCE_S


def bugs(service: str, task: str) -> float:
    return metrics.REGISTRY.get_sample_value("wattbus_bugs_total", {"service": service, "task": task}) or 0.0


async def test_work_that_fails_is_started_again_with_growing_pauses(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    starts: list[float] = []
    failures = [KeyError("a bug"), None, asyncio.CancelledError(), ExceptionGroup("g", [ValueError("deep")])]

    async def work() -> None:
        starts.append(clock.monotonic())
        if failures:
            failure = failures.pop(0)
            if failure is not None:
                raise failure
            return
        await asyncio.Event().wait()

    task = asyncio.create_task(in_service("s", lambda: supervise("work", work, clock=clock)))
    await clock.advance(0)
    assert health.of("s").faults(ready=False) == {"work": "failed, waiting to be started again"}
    await clock.advance(100)
    assert len(starts) == 5
    assert health.of("s").faults(ready=False) == {}
    assert bugs("s", "work") == 4
    pauses = [after - before for before, after in pairwise(starts)]
    assert all(2**n / 2 <= pause <= 2**n for n, pause in enumerate(pauses))
    assert caplog.text.count("this is a bug") == 4
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_wrong_settings_and_work_that_may_end_pass_through() -> None:
    async def wrong() -> None:
        raise ExceptionGroup("g", [ValueError("x"), ConfigError("PORT: no")])

    async def short() -> None:
        return

    with pytest.raises(ConfigError, match="PORT"):
        await supervise("wrong", wrong)
    await supervise("short", short, forever=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_cleanly(number: signal.Signals) -> None:
    ended: list[str] = []

    async def main() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("cleanly")

    async with asyncio.timeout(PATIENCE_S):
        await run_until_signal(main())
    assert ended == ["cleanly"]


async def test_what_does_not_end_in_time_is_left(caplog: pytest.LogCaptureFixture) -> None:
    release = asyncio.Event()

    async def stubborn() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async with asyncio.timeout(PATIENCE_S):
        await run_until_signal(stubborn(), grace_s=0.05)
    assert "did not end within 0.05 s" in caplog.text
    release.set()


async def test_the_end_of_the_main_coroutine_is_the_end() -> None:
    async def fails() -> None:
        raise ConfigError("PORT: no")

    async def ends() -> None:
        return

    await run_until_signal(ends())
    with pytest.raises(ConfigError, match="PORT"):
        await run_until_signal(fails())


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(health, "_SERVICES", {})  # other tests have had their own services in this process
    server = HealthServer("127.0.0.1", 0)
    yield await server.start()
    await server.stop()


async def test_health_tells_alive_and_ready_apart(port: int) -> None:
    faults = {"alive": "", "ready": "no connection"}
    health.of("a").alive("task", lambda: faults["alive"])
    health.of("a").ready("broker", lambda: faults["ready"])
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

            async def get(path: str) -> tuple[int, object]:
                async with session.get(path) as answer:
                    return answer.status, (await answer.json())["faults"].get("a")

            assert await get("/healthz") == (200, None)
            assert await get("/readyz") == (503, {"broker": "no connection"})
            faults["ready"] = ""
            assert (await get("/readyz"))[1] is None
            faults["alive"] = "failed"
            assert await get("/healthz") == (503, {"task": "failed"})
            assert (await get("/readyz"))[0] == 503
    finally:
        health.forget("a")


async def test_details_have_room_for_what_a_status_only_counts(port: int) -> None:
    everybody = {f"d{number}": "time-out" for number in range(5000)}
    health.of("a").details(lambda: {"devices_away": everybody})
    health.of("b")
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/details") as answer:
            found = await answer.json()
    finally:
        health.forget("a")
        health.forget("b")
    assert found["a"] == {"devices_away": everybody}
    assert found["b"] == {}


async def test_metrics_can_be_parsed(port: int) -> None:
    metrics.BUGS.labels("parsed", "x").inc()
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        families = {family.name: family for family in text_string_to_metric_families(await answer.text())}
    samples = families["wattbus_bugs"].samples
    assert [s.value for s in samples if s.name.endswith("_total") and s.labels["service"] == "parsed"] == [1.0]


async def test_a_port_that_is_taken_is_a_readable_error() -> None:
    port = free_port()
    first, second = HealthServer("127.0.0.1", port), HealthServer("127.0.0.1", port)
    assert await first.start() == port
    with pytest.raises(ConfigError, match=rf"HTTP_PORT: cannot listen on 127.0.0.1:{port}"):
        await second.start()
    await second.stop()
    await first.stop()
