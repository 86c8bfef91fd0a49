"""`wattbus simulate CONNECTOR`: a device that other people's tools can talk to."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import SOON, Doorbell, completed, simulated_device


@pytest.mark.skipif(shutil.which("mbpoll") is None, reason="needs mbpoll")
async def test_mbpoll_reads_it(tmp_path: Path) -> None:
    async with simulated_device(tmp_path) as port:
        options = ("-m", "tcp", "-p", str(port), "-a", "1", "-0", "-t", "3", "-r", "1", "-1", "127.0.0.1")
        mbpoll = await asyncio.create_subprocess_exec("mbpoll", *options, stdout=asyncio.subprocess.PIPE)
        async with asyncio.timeout(SOON):
            output, _ = await mbpoll.communicate()
    assert mbpoll.returncode == 0
    assert "[1]: \t1" in output.decode(), "every register answers with its own number"


async def test_a_taken_port_is_told(tmp_path: Path, doorbell: Doorbell) -> None:
    command = await completed("simulate", "modbus_tcp", "--port", str(doorbell.port), cwd=tmp_path)
    assert command.process.returncode == 1
    assert command.faults[-1].startswith(f"cannot listen on 127.0.0.1:{doorbell.port}: ")


async def test_a_service_without_a_device(tmp_path: Path) -> None:
    command = await completed("simulate", "history", cwd=tmp_path)
    assert (command.process.returncode, command.faults) == (2, ["history brings no simulated device"])
