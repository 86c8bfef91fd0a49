"""The connector against libmodbus, an implementation that shares nothing with ours."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from shutil import which

import pytest

from connectors.modbus_tcp.connector import create
from tests.connectors.modbus_tcp.conftest import RecordingLink, settings_for
from wattbus.errors import CommandRejected

SOURCE = Path(__file__).with_name("libmodbus_server.c")

CONFIG = {
    "read_holding_registers": [
        {"address": 10, "count": 2, "unit": 1, "datatypes": ">f"},
        {"address": 12, "count": 3, "unit": 1, "datatypes": ">3H", "scaling_factors": {"13": 0.1}},
        {"address": 199, "count": 2, "unit": 1, "datatypes": ">I"},
    ],
    "read_input_registers": [{"address": 1, "count": 1, "unit": 1, "datatypes": "e"}],
    "read_coils": [{"address": 20, "count": 9, "unit": 1}],
    "read_discrete_inputs": [{"address": 30, "count": 4, "unit": 1}],
    "write_coil": [{"address": 20, "unit": 1}],
    "write_coils": [{"address": 21, "unit": 1, "count": 3}],
    "write_register": [{"address": 14, "unit": 1, "datatypes": ">h"}, {"address": 500, "unit": 1, "datatypes": ">h"}],
    "write_registers": [{"address": 10, "unit": 1, "datatypes": ">f"}],
}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if which("cc") is None or which("pkg-config") is None:
        pytest.skip("no C compiler or pkg-config: not tried against libmodbus")
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libmodbus"], capture_output=True, text=True)
    if flags.returncode != 0:
        pytest.skip("libmodbus-dev is not installed: not tried against libmodbus")
    program = tmp_path_factory.mktemp("libmodbus") / "server"
    subprocess.run(["cc", "-Wall", "-o", program, SOURCE, *flags.stdout.split()], check=True)
    return program


@pytest.fixture
async def port(program: Path) -> AsyncIterator[int]:
    process = await asyncio.create_subprocess_exec(program, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    yield int(await process.stdout.readline())
    process.kill()
    await process.wait()


async def test_libmodbus_is_read_and_written_with_every_function_code(port: int) -> None:
    connector = create(settings_for(CONFIG, port, MODBUS_TIMEOUT_SECONDS="2"))
    link = RecordingLink()
    run = asyncio.create_task(connector.run(link))
    await link.until(lambda link: bool(link.raw))
    (reading,) = connector.decode(link.raw[0])
    assert reading.values == {
        "read_holding_registers__1__10": pytest.approx(50.24, rel=1e-7),
        "read_holding_registers__1__12": 36,
        "read_holding_registers__1__13": 3.9,
        "read_holding_registers__1__14": 42,
        "read_input_registers__1__1": 21.0,
        **{f"read_coils__1__{number}": number % 2 == 1 for number in range(20, 29)},
        **{f"read_discrete_inputs__1__{number}": number % 3 == 0 for number in range(30, 34)},
    }  # register 200 does not exist: the range at 199 is left out, the others are not

    await connector.write("write_coil__1__20", True)
    await connector.write("write_coils__1__21", "0 1 0")
    await connector.write("write_register__1__14", -5)
    await connector.write("write_registers__1__10", 1.5)
    with pytest.raises(CommandRejected, match=r"illegal data address \(2\)"):
        await connector.write("write_register__1__500", 1)

    seen = len(link.raw)
    await link.until(lambda link: len(link.raw) > seen + 1)
    (reading,) = connector.decode(link.raw[-1])
    assert [reading.values[f"read_coils__1__{number}"] for number in range(20, 25)] == [True, False, True, False, False]
    assert reading.values["read_holding_registers__1__14"] == 65531
    assert reading.values["read_holding_registers__1__10"] == 1.5
    run.cancel()
    await asyncio.wait([run])
