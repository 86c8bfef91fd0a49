"""docs/wmbus-agreement.md, written from the comparison.

python -m tests.connectors.im871a.agreement_page > docs/wmbus-agreement.md
python -m tests.connectors.im871a.agreement_page --open     what neither agrees nor is explained
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator

from tests.connectors.im871a.agreement import Verdict, verdicts
from tests.connectors.im871a.receiver_forms import FORMS, arrive, wireless
from tests.connectors.im871a.telegram_data import DriverTest, driver_tests
from wattbus.errors import DecodeError


def refused(tests: Iterable[DriverTest]) -> list[tuple[str, str]]:
    """Driver and error of the telegrams that are not decoded."""
    errors = []
    for test in tests:
        try:
            test.decode()
        except DecodeError as error:
            errors.append((test.driver, str(error)))
    return errors


KINDS = {
    "id": "identification numbers of the meters: agree",
    "agreed": "agree; the standard alone says what they are",
    "data_file": "agree; a data file in `connectors/im871a/meters` says what they are",
    "differs": "**differ**, see below",
    "proprietary": "coded in the manufacturer's own way: kept as hexadecimal text",
    "refused": "encrypted in a way that the standard does not define",
    "status": "words for status and errors: both say that all is well, or both that it is not (the words differ)",
    "both_empty": "the other program gives no value",
    "calculated": "made by the other program: sums, dates of past months, words for numbers",
    "repeated": "the same record a second time under another name",
}
INTRODUCTION = """# Wireless M-Bus: how far we agree with another program

The telegrams in `wmbus-wmbusmeters/driver_tests.json` come with their decoding by
[wmbusmeters](https://github.com/wmbusmeters/wmbusmeters), a program that shares no code with this one. Here every field
of those decodings is compared with our records: same value, units converted, and a name that does not contradict
(flow or return, maximum or minimum, backward, tariff, phase, storage); every record counts for one field only.
Whatever does not agree has its explanation in `tests/connectors/im871a/agreement_reasons.yaml`. This page is written
by `python -m tests.connectors.im871a.agreement_page`, and a test keeps it true.
"""


def page(tests: list[DriverTest], not_comparable: int) -> str:
    """docs/wmbus-agreement.md."""
    found = verdicts(tests)
    kinds = Counter(verdict.kind for verdict in found)
    errors = refused(tests)
    comparable = kinds["agreed"] + kinds["differs"]
    zeros = sum(verdict.kind == "agreed" and verdict.expected == 0 for verdict in found)
    lines = [INTRODUCTION, "## Telegrams", "", "| telegrams | |", "| ---: | --- |"]
    lines += [f"| {len(tests) + not_comparable} | in the file |", f"| {not_comparable} | not compared: odd number of "
              "digits, or two telegrams for one decoding |", f"| {len(tests) - len(errors)} | decoded |"]  # fmt: skip
    lines += [f"| {len(errors)} | refused |", "", *(f"- `{driver}`: {error}" for driver, error in errors), ""]
    lines += ["## Quantities", "", "| fields | |", "| ---: | --- |"]
    lines += [f"| {kinds[kind]} | {meaning} |" for kind, meaning in KINDS.items()]
    lines += ["", f"Of the {comparable} fields that are coded as the standard has it, {kinds['agreed']} agree: "
              f"**{100 * kinds['agreed'] / comparable:.1f} %** ({zeros} of them with the value 0).", ""]  # fmt: skip
    lines += ["## What differs", "", "| driver | field | they say | why |", "| --- | --- | --- | --- |"]
    lines += [f"| {v.driver} | `{v.field}` | {v.expected} | {v.reason} |" for v in found if v.kind == "differs"]
    frames = wireless(tests)
    lines += ["", "## By receiver", "", f"The {len(frames)} wireless telegrams in the form in which each receiver "
              "hands them over, made here from its description: how many arrive byte for byte.", ""]  # fmt: skip
    lines += ["| form | arrive |", "| --- | ---: |"]
    lines += [f"| {name} | {arrive(form, frames)} |" for name, form in FORMS.items()]
    lines += ["", "## By driver of the other program", "", *_by_driver(tests, found)]
    return "\n".join(lines) + "\n"


def _by_driver(tests: list[DriverTest], found: list[Verdict]) -> Iterator[str]:
    columns = list(KINDS)
    yield f"| driver | telegrams | {' | '.join(column.replace('_', ' ') for column in columns)} |"
    yield "| --- " + "| ---: " * (len(columns) + 1) + "|"
    telegrams = Counter(test.driver for test in tests)
    counts = Counter((verdict.driver, verdict.kind) for verdict in found)
    for driver in sorted(telegrams):
        cells = [str(counts[driver, column] or "") for column in columns]
        yield f"| {driver} | {telegrams[driver]} | {' | '.join(cells)} |"


def main(arguments: list[str]) -> None:
    """See the module."""
    tests, not_comparable = driver_tests()
    if "--open" in arguments:
        for verdict in verdicts(tests):
            if verdict.kind == "open":
                sys.stdout.write(f"{verdict.driver} {verdict.field} {verdict.expected!r} {verdict.reason}\n")
    else:
        sys.stdout.write(page(tests, not_comparable))


if __name__ == "__main__":
    main(sys.argv[1:])
