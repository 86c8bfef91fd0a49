"""The suite that every connector passes: name it and its simulator, and that is the test file.

from wattbus.testing.conformance import Conformance
from wattbus.testing.under_test import ConnectorUnderTest

class TestThermometer(Conformance):
    under = ConnectorUnderTest(
        "thermometer",
        tcp=lambda host, port: {"THERMOMETER_HOST": host, "THERMOMETER_PORT": port},
        write=("led", True, False),
    )
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any, ClassVar

import pytest

from wattbus.connector import Scalar
from wattbus.mqtt.embedded_broker import Mosquitto
from wattbus.testing import cases, purity
from wattbus.testing.far_ends import NOBODY, Address, Medium
from wattbus.testing.hurried import run_hurried
from wattbus.testing.recorder import published_by
from wattbus.testing.under_test import ConnectorUnderTest

SENT_AT_MS = 1_700_000_000_000
SERIAL, TCP = "/dev/ttyUSB7", ("127.0.0.1", 4001)  # where nothing is contacted


class Conformance:
    """Derive a class whose name begins with Test, and give it `under`."""

    under: ClassVar[ConnectorUnderTest]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Each case for each way to the device."""
        media = self.under.media
        if "nobody" in metafunc.fixturenames:
            faults = [(medium, fault) for medium in media for fault in NOBODY[medium]]
            metafunc.parametrize(("medium", "nobody"), faults, ids=[f"{medium}-{fault}" for medium, fault in faults])
        elif "medium" in metafunc.fixturenames:
            metafunc.parametrize("medium", media)

    @property
    def _address(self) -> Address:
        return SERIAL if self.under.tcp is None else TCP

    def test_nobody_is_there(self, medium: Medium, nobody: str) -> None:
        run_hurried(cases.nobody_there(self.under, NOBODY[medium][nobody]))

    def test_silent(self, medium: Medium) -> None:
        run_hurried(cases.silent(self.under, medium))

    def test_nonsense(self, medium: Medium) -> None:
        run_hurried(cases.nonsense(self.under, medium))

    def test_answers(self, medium: Medium) -> None:
        run_hurried(cases.answers(self.under, medium))

    def test_torn(self, medium: Medium) -> None:
        run_hurried(cases.torn(self.under, medium))

    def test_late_answer_is_not_the_next_ones(self, medium: Medium) -> None:
        self._needs_a_command()
        run_hurried(cases.late_answer(self.under, medium))

    def test_cancelled_anywhere_in_run(self, medium: Medium) -> None:
        run_hurried(cases.cancelled_running(self.under, medium))

    def test_cancelled_anywhere_in_write(self, medium: Medium) -> None:
        self._needs_a_command()
        run_hurried(cases.cancelled_writing(self.under, medium))

    def test_decode_is_pure(self) -> None:
        between, raws = run_hurried(cases.raw_messages(self.under))
        purity.check_purity(self.under, between.address, raws)

    def test_a_thousand_datapoints_take_time_in_proportion(self) -> None:
        if self.under.many is None:
            pytest.skip("`many` does not say how it gets a thousand datapoints")
        purity.check_proportion(self.under, self._address)

    def test_settings_that_are_missing_or_wrong_are_named(self) -> None:
        purity.check_settings(self.under, self._address)

    def test_read_only(self, tmp_path: Path) -> None:
        """Commands are rejected, and the connector is not even asked."""
        self._needs_a_command()
        if shutil.which("mosquitto") is None:
            pytest.skip("mosquitto is not on the PATH")
        asyncio.run(self._read_only(tmp_path))

    def _needs_a_command(self) -> None:
        if self.under.write is None:
            pytest.skip("it takes no commands")

    async def _read_only(self, folder: Path) -> None:
        assert self.under.write is not None
        key, value, _ = self.under.write
        broker = Mosquitto(configuration_directory=folder / "mosquitto")
        await broker.start()
        try:
            async with self.under.simulated(self.under.media[0]) as between:
                more: dict[str, Any] = {"MQTT_BROKER_PORT": broker.port, "DATA_DIRECTORY": str(folder / "data")}
                settings = self.under.load(self.under.variables(between.address, READ_ONLY="TRUE", **more))
                connector = self.under.create(settings)

                async def write(key: str, value: Scalar) -> None:
                    raise AssertionError("write() was called with READ_ONLY=TRUE")

                connector.write = write  # type: ignore[method-assign]
                async with published_by(connector, settings) as client:

                    def topic() -> Any:
                        known = client.last(f"{settings.name}/datapoints") or []
                        return next(
                            (one["topic"] for one in known if (one["type"], one["key"]) == ("actuator", key)), ""
                        )

                    await client.publish(await client.until(topic), {"value": value, "timestamp": SENT_AT_MS})
                    result = await client.message(f"{topic().removesuffix('/value')}/result")
                    assert result["outcome"] == "rejected", result
        finally:
            await broker.stop()
