"""One word, one meaning: a class of the shared library lends its name to nobody, and no two services share one.

A connector may use its protocol's words as another one does; nobody outside its folder knows them.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

PROJECT = Path(__file__).parents[2]
EVERYWHERE = {"Settings"}  # of each service: the rule by which it is found
CONNECTORS = "connectors"


def classes() -> dict[str, set[str]]:
    """Name of a public class at the top of a module → the files that have one."""
    found: dict[str, set[str]] = defaultdict(set)
    for package in PROJECT.glob("*/__init__.py"):
        if package.parent.name == "tests":
            continue
        for file in package.parent.rglob("*.py"):
            for node in ast.parse(file.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    found[node.name].add(str(file.relative_to(PROJECT)))
    return found


def test_no_class_name_stands_for_two_things() -> None:
    ambiguous: dict[str, set[str]] = {}
    for name, files in classes().items():
        outside = {file for file in files if not file.startswith(CONNECTORS)}
        of_library = any(file.startswith(("wattbus/", "links/")) for file in outside)
        if name not in EVERYWHERE and (len(outside) > 1 or (of_library and len(files) > 1)):
            ambiguous[name] = files
    assert ambiguous == {}
