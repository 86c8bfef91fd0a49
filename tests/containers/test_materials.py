"""The bill of materials: what the standard demands of it, and that it lists what is there.

CycloneDX 1.6 (ECMA-424, 1st edition), the JSON form: required are `bomFormat` and `specVersion`, of each component
`type` and `name`, of each dependency its `ref`; every `bom-ref` is there once; no property beside those defined.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest

from containers import materials

ROOT = Path(__file__).parents[2]
TYPES = {
    "application", "framework", "library", "container", "platform", "operating-system", "device", "device-driver",
    "firmware", "file", "machine-learning-model", "data", "cryptographic-asset",
}  # fmt: skip
PARTS = {
    "type", "mime-type", "bom-ref", "supplier", "manufacturer", "authors", "author", "publisher", "group", "name",
    "version", "description", "scope", "hashes", "licenses", "copyright", "cpe", "purl", "omniborId", "swhid", "swid",
    "modified", "pedigree", "externalReferences", "components", "evidence", "releaseNotes", "modelCard", "data",
    "cryptoProperties", "properties", "tags", "signature",
}  # fmt: skip
TOP = {
    "$schema", "bomFormat", "specVersion", "serialNumber", "version", "metadata", "components", "services",
    "externalReferences", "dependencies", "compositions", "vulnerabilities", "annotations", "formulation",
    "declarations", "definitions", "properties", "signature",
}  # fmt: skip
PHASES = {"design", "pre-build", "build", "post-build", "operations", "discovery", "decommission"}
STATUS = """Package: tar
Status: install ok installed
Architecture: amd64
Version: 1.34+dfsg-1.2
Description: GNU version of the tar archiving utility
 Tar is a program.

Package: libstdc++6
Status: install ok installed
Architecture: amd64
Version: 1:12.2.0-14

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1
"""


def check(document: dict[str, Any]) -> None:
    """What the standard demands. Raises AssertionError."""
    assert document.keys() <= TOP
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", document["serialNumber"])
    assert isinstance(document["version"], int) and document["version"] >= 1
    described = document["metadata"]
    assert datetime.fromisoformat(described["timestamp"]).tzinfo is not None
    assert all(cycle["phase"] in PHASES for cycle in described["lifecycles"])
    components = [described["component"], *document["components"]]
    for component in [*components, *described["tools"]["components"]]:
        check_component(component)
    references = [component["bom-ref"] for component in components]
    assert len(references) == len(set(references))
    depending = [dependency["ref"] for dependency in document["dependencies"]]
    assert len(depending) == len(set(depending))
    for dependency in document["dependencies"]:
        assert dependency.keys() <= {"ref", "dependsOn", "provides"}
        assert {dependency["ref"], *dependency["dependsOn"]} <= set(references)
        assert len(dependency["dependsOn"]) == len(set(dependency["dependsOn"]))


def check_component(component: dict[str, Any]) -> None:
    assert component.keys() <= PARTS
    assert component["type"] in TYPES and isinstance(component["name"], str) and component["name"]
    if "purl" in component:
        assert re.fullmatch(r"pkg:(pypi|deb|generic)/[^@\s]+@[^@\s]+", component["purl"])
    licences = component.get("licenses", [])
    for licence in licences:
        if "expression" in licence:  # then it is the only one
            assert licences == [licence] and licence.keys() <= {"expression", "acknowledgement", "bom-ref"}
        else:
            assert licence.keys() == {"license"} and ("id" in licence["license"]) != ("name" in licence["license"])


@pytest.fixture
def debian(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "status").write_text(STATUS)
    (tmp_path / "os-release").write_text('ID=debian\nVERSION_ID="12"\nNAME="Debian GNU/Linux"\n')
    return tmp_path / "status", tmp_path / "os-release"


def test_it_is_as_the_standard_demands(debian: tuple[Path, Path]) -> None:
    check(materials.bill("history", [], *debian))


def test_what_the_script_prints_is_as_the_standard_demands() -> None:
    command = [sys.executable, "-I", ROOT / "containers/materials.py", "history"]
    check(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def test_every_package_that_is_installed_is_listed(debian: tuple[Path, Path]) -> None:
    listed = {(part["name"], part["version"]) for part in materials.bill("history", [], *debian)["components"]}
    assert {(materials.normal(found.name), found.version) for found in distributions()} <= listed
    assert ("python", sys.version.split()[0]) in listed


def test_the_base_image_is_listed_without_what_was_removed(debian: tuple[Path, Path]) -> None:
    found = [part["purl"] for part in materials.bill("history", [], *debian)["components"] if "deb/" in part["purl"]]
    assert found == [
        "pkg:deb/debian/tar@1.34%2Bdfsg-1.2?arch=amd64&distro=debian-12",
        "pkg:deb/debian/libstdc%2B%2B6@1%3A12.2.0-14?arch=amd64&distro=debian-12",
    ]


def test_a_base_image_of_another_kind_has_none(tmp_path: Path) -> None:
    document = materials.bill("history", [], tmp_path / "none", tmp_path / "none")
    check(document)
    assert not [part for part in document["components"] if "deb/" in part["purl"]]


def test_it_says_what_needs_what(tmp_path: Path) -> None:
    requirement = "Requires-Dist: wick.oil>=2; extra == 'night'\n"
    for name, needs in (("Cellar_Lamp", requirement), ("wick-oil", ""), ("moon", "")):
        described = f"Metadata-Version: 2.4\nName: {name}\nVersion: 1\nLicense-Expression: MIT OR 0BSD\n{needs}"
        (tmp_path / f"{name}-1.dist-info").mkdir()
        (tmp_path / f"{name}-1.dist-info" / "METADATA").write_text(described)
    document = materials.bill("cellar", [str(tmp_path)], tmp_path / "none", tmp_path / "none")
    check(document)
    needs_of = {needing["ref"]: needing["dependsOn"] for needing in document["dependencies"]}
    assert needs_of["pkg:pypi/cellar-lamp@1"] == ["pkg:pypi/wick-oil@1"]
    assert needs_of["pkg:pypi/moon@1"] == []
    assert "pkg:pypi/moon@1" in needs_of["image:cellar"]
    assert document["components"][0]["licenses"] == [{"expression": "MIT OR 0BSD"}]


def test_the_same_packages_give_the_same_bill(debian: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1764000000")
    document = materials.bill("history", [], *debian)
    assert document == materials.bill("history", [], *debian)
    assert document["metadata"]["timestamp"] == "2025-11-24T16:00:00Z"
    assert materials.bill("raw_db", [], *debian)["serialNumber"] != document["serialNumber"]
