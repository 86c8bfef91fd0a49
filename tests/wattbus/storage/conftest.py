"""One store per database kind: the conformance tests run against each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from wattbus.storage import Store, open_store


@pytest.fixture(params=["sqlite"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind; another kind is one more parameter here."""
    assert request.param == "sqlite"
    return f"sqlite:///{tmp_path / 'history.db'}"


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    opened = await open_store(database_url, busy_s=0.1)
    yield opened
    await opened.close()
