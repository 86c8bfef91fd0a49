"""The building in containers, brought up once for all tests.

Without an engine, or images, they are skipped and say so.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator

import pytest

from tests.containers.engine import ROOT, Building, fresh_clone, missing, network_for_builds, obtain, remove_left_overs

# Third-party images, by their variable in docker-compose.yml. What the optional ones are for can be left out.
OPTIONAL = {"GRAFANA_IMAGE": "grafana"}
NEEDED = ("BASE_IMAGE", "MOSQUITTO_IMAGE", "TIMESCALEDB_IMAGE")


def _images() -> dict[str, str]:
    """The third-party images that can be had. Skips when a needed one cannot."""
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    wanted = dict(re.findall(r"\$\{([A-Z]+_IMAGE):-([^}]+)\}", text))
    images = {}
    for variable in (*NEEDED, *OPTIONAL):
        image = obtain(wanted[variable])
        if not image and variable in NEEDED:
            pytest.skip(f"the containers were NOT tested: the image {wanted[variable]} cannot be had")
        if image != wanted[variable]:
            instead = f"{image} stands in" if image else f"{OPTIONAL[variable]} is left out"
            warnings.warn(f"the image {wanted[variable]} cannot be had: {instead}", stacklevel=2)
        images[variable] = image
    return images


@pytest.fixture(scope="session")
def services() -> list[str]:
    """The services of the building that are brought up; filled by `building`."""
    return []


@pytest.fixture(scope="session")
def building(tmp_path_factory: pytest.TempPathFactory, services: list[str]) -> Iterator[Building]:
    """A fresh clone, built and brought up. Skips visibly where that cannot be; a build that fails is a failure."""
    if reason := missing():
        pytest.skip(f"the containers were NOT tested: {reason}")
    remove_left_overs()
    images = _images()
    [requirement] = re.findall(r"^orjson==.*$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    network = network_for_builds(images["BASE_IMAGE"], requirement)
    if network is None:
        pytest.skip("the containers were NOT tested: builds reach no package index")
    left_out = {service for variable, service in OPTIONAL.items() if not images[variable]}
    building = Building(
        fresh_clone(tmp_path_factory.mktemp("clone")), {name: image for name, image in images.items() if image}, network
    )
    services += [name for name in building.configuration()["services"] if name not in left_out]
    try:
        building.build()
        building.up(services)
        yield building
    finally:
        building.remove()
