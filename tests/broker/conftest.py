"""Installations for the tests of the broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker.installation import EVERYBODY, Installation


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """Set up, with two connectors; its broker does not run yet."""
    installation = Installation(tmp_path)
    installation.env_file("modbus_tcp/.env", CONNECTOR_NAME="heatpump")
    installation.env_file("im871a/.env", CONNECTOR_NAME="meters-cellar")
    installation.set_up()
    return installation


@pytest.fixture(scope="module")
def everybody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running broker with at least one user of every role."""
    installation = Installation(tmp_path_factory.mktemp("everybody"), BROKER_USERS=EVERYBODY)
    installation.env_file("modbus_tcp/.env", CONNECTOR_NAME="heatpump")
    installation.env_file("im871a/.env", CONNECTOR_NAME="meters-cellar")
    installation.set_up()
    with installation.running():
        yield installation
