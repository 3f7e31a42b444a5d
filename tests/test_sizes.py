"""Small units: how long functions and files are. `pytest -rP tests/test_sizes.py` prints the longest."""

import ast
import re
import statistics
from collections.abc import Iterator

from tests.helpers.sources import Source, package_sources

FILE_LINES_MAX = 800
FUNCTION_LINES_MAX = 100
FUNCTION_LINES_USUAL = 60
USUAL_SHARE = 0.95

CYTHON_FUNCTION = re.compile(r"^(?P<indent> *)(?:cdef|cpdef|def)\b(?! class)[^=]*?\b(?P<name>\w+)\s*\(")
Function = tuple[int, str]


def python_functions(source: Source) -> Iterator[Function]:
    for node in ast.walk(ast.parse(source.text)):
        if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
            yield node.end_lineno - node.lineno + 1, f"{source.place}:{node.lineno} {node.name}"


def cython_functions(source: Source) -> Iterator[Function]:
    """Yield functions by their indentation: one ends where a line begins as far left as it did."""
    lines = source.text.splitlines()
    for number, line in enumerate(lines):
        match = CYTHON_FUNCTION.match(line)
        if match is None:
            continue
        indent = len(match["indent"])
        last = number
        for follower in range(number + 1, len(lines)):
            text = lines[follower]
            if (
                text.strip()
                and len(text) - len(text.lstrip()) <= indent
                and not text.lstrip().startswith(")")
            ):
                break
            last = follower if text.strip() else last
        yield last - number + 1, f"{source.place}:{number + 1} {match['name']}"


def all_functions() -> list[Function]:
    bodies = [source for source in package_sources() if source.path.suffix in {".py", ".pyx"}]
    return sorted(
        (
            function
            for source in bodies
            for function in (cython_functions if source.is_cython else python_functions)(source)
        ),
        reverse=True,
    )


def test_functions_are_small() -> None:
    functions = all_functions()
    lengths = [length for length, _ in functions]
    print(f"{len(lengths)} functions, median {statistics.median(lengths):.0f} lines; the longest:")
    for length, name in functions[:5]:
        print(f"  {length:4} {name}")
    assert [name for length, name in functions if length > FUNCTION_LINES_MAX] == []
    assert sum(length <= FUNCTION_LINES_USUAL for length in lengths) >= USUAL_SHARE * len(lengths)


def test_files_are_small() -> None:
    files = sorted(((source.text.count("\n"), source.place) for source in package_sources()), reverse=True)
    print(f"{len(files)} files; the longest:")
    for length, name in files[:5]:
        print(f"  {length:4} {name}")
    assert [name for length, name in files if length > FILE_LINES_MAX] == []
