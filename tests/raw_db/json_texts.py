"""JSON as texts, built from the grammar of RFC 8259 and not by any JSON writer."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

_SPACE = st.text(" \t\n\r", max_size=2)
_NUMBERS = st.one_of(
    st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?", fullmatch=True),
    st.sampled_from(
        ["1.0", "1", "-0", "-0.0", "1e5", "100000.0", "18446744073709551616", "9" * 5000, "1E400", "5e-324"]
    ),
)
_PIECES = st.one_of(
    st.characters(min_codepoint=0x20, exclude_characters='"\\', exclude_categories=["Cs"]),
    st.sampled_from(["\\" + char for char in '"\\/bfnrt']),
    st.from_regex(r"\\u[0-9a-fA-F]{4}", fullmatch=True),  # half surrogate pairs too: the grammar has them
)
_STRINGS = st.one_of(
    st.lists(_PIECES, max_size=8).map(lambda pieces: '"' + "".join(pieces) + '"'),
    st.sampled_from(['"Energy.Active.Import.Register"', '"$ref"', '""', '"\\u00e4"', '"ä"', '"raw_message"']),
)
_WORDS = st.sampled_from(["true", "false", "null"])


def _spaced(draw: Any, parts: list[str]) -> str:
    return "".join([*(f"{draw(_SPACE)}{part}" for part in parts), draw(_SPACE)])


@st.composite
def _list(draw: Any, values: st.SearchStrategy[str]) -> str:
    return "[" + ",".join(_spaced(draw, [value]) for value in draw(st.lists(values, max_size=4))) + "]"


@st.composite
def _object(draw: Any, values: st.SearchStrategy[str]) -> str:
    members = draw(st.lists(st.tuples(_STRINGS, values), max_size=4))  # the same name may come twice
    return "{" + ",".join(_spaced(draw, [name, ":", value]) for name, value in members) + "}"


JSON_TEXTS: st.SearchStrategy[str] = st.recursive(
    st.one_of(_NUMBERS, _STRINGS, _WORDS), lambda inner: st.one_of(_list(inner), _object(inner)), max_leaves=12
)
