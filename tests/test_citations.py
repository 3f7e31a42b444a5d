"""Rules carry their source. `pytest -rP tests/test_citations.py` prints what no test cites yet."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from tests.helpers.sources import ROOT, package_sources

# The contents of RFC 8684, so that a section that does not exist is found.
RFC_8684_SECTIONS = {
    "1", "1.1", "1.2", "1.3", "1.4", "1.5",
    "2", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.7",
    "3", "3.1", "3.2", "3.3", "3.3.1", "3.3.2", "3.3.3", "3.3.4", "3.3.5", "3.3.6", "3.3.7", "3.3.8",
    "3.4", "3.4.1", "3.4.2", "3.5", "3.6", "3.7", "3.8", "3.9", "3.9.1", "3.9.2", "3.9.3",
    "4", "5", "6", "7", "7.1", "7.2", "7.3", "7.4", "8",
}  # fmt: skip

Citation = tuple[int, str]
CITATION = re.compile(r"\bRFC (\d{3,4}) (§\d[\d.]*(?:(?:, | and )§\d[\d.]*)*)")
SLOPPY = re.compile(r"\b(?:RFC\d+|rfc ?\d+|RFC \d+(?:,|:|) ?(?:§ \d|Sec\.))")


def citations(text: str) -> set[Citation]:
    """Return (RFC, section) for every citation, also one that goes over the end of a comment's line."""
    flat = re.sub(r"\s*\n\s*#?\s*", " ", text)
    found = set()
    for rfc, sections in CITATION.findall(flat):
        found |= {(int(rfc), section.rstrip(".")) for section in re.findall(r"§([\d.]+)", sections)}
    return found


def cited(paths: Iterable[Path]) -> dict[Citation, list[str]]:
    places: dict[Citation, list[str]] = defaultdict(list)
    for path in paths:
        for citation in citations(path.read_text()):
            places[citation].append(str(path.relative_to(ROOT)))
    return places


def code_files() -> list[Path]:
    return [source.path for source in package_sources()]


def suite_files() -> list[Path]:
    return sorted((ROOT / "tests").rglob("*.py"))


def in_order(found: Iterable[Citation]) -> list[Citation]:
    return sorted(found, key=lambda citation: (citation[0], [int(part) for part in citation[1].split(".")]))


def test_citations_are_read_over_line_ends_and_in_lists() -> None:
    text = "# by RFC 9293\n    # §3.8.6.1. RFC 8684 §3.1, §3.2 and §3.3.1; RFC 1071"
    assert citations(text) == {(9293, "3.8.6.1"), (8684, "3.1"), (8684, "3.2"), (8684, "3.3.1")}


def test_citations_have_one_form() -> None:
    files = [path for path in [*code_files(), *suite_files()] if path != Path(__file__)]
    sloppy = [(str(path.relative_to(ROOT)), SLOPPY.findall(path.read_text())) for path in files]
    assert [(place, found) for place, found in sloppy if found] == []


def test_cited_sections_of_rfc_8684_exist() -> None:
    places = cited(path for path in [*code_files(), *suite_files()] if path != Path(__file__))
    unknown = {
        section: where
        for (rfc, section), where in places.items()
        if rfc == 8684 and section not in RFC_8684_SECTIONS
    }
    assert unknown == {}


def test_what_a_test_cites_of_mptcp_is_cited_at_the_rule() -> None:
    code, tests = cited(code_files()), cited(path for path in suite_files() if path != Path(__file__))
    for citation in in_order(set(code) - set(tests)):
        print(f"RFC {citation[0]} §{citation[1]} is in no test; in {', '.join(code[citation])}")
    for citation in in_order(set(tests) - set(code)):
        print(f"RFC {citation[0]} §{citation[1]} is in no code; in {', '.join(tests[citation])}")
    assert [citation for citation in set(tests) - set(code) if citation[0] == 8684] == []
