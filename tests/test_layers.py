"""Imports point down only, the core touches no operating system, and C declares its exceptions."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.helpers.sources import VOCABULARY, Source, layer_of, package_sources

# What each layer may import beside itself and the vocabulary.
CORE = {"wire", "store", "mptcp", "shim6", "policy", "engine", "endpoint"}
ALLOWED: dict[str, set[str]] = {
    VOCABULARY: set(),
    "wire": set(),
    "store": {"wire"},
    "policy": {"wire", "store"},
    "mptcp": {"wire", "store", "policy"},
    "shim6": {"wire", "store", "policy"},
    "engine": {"wire", "store", "mptcp"},
    "endpoint": CORE,
    "abi": {"wire", "store"},  # what other packages compile against
    "host": CORE,
    "sim": CORE,
    "lab": CORE | {"host"},
    "analysis": {"wire", "store", "mptcp"},
    "scapy": {"wire", "mptcp"},
    "cli": CORE | {"host", "sim", "lab", "analysis"},
    "main": {"cli"},  # python -m mpcore
}
TOUCHES_THE_SYSTEM = {"host", "lab", "cli", "main"}
SYSTEM_MODULES = {
    "asyncio", "multiprocessing", "os", "posix", "random", "secrets", "select", "selectors", "signal",
    "socket", "ssl", "subprocess", "threading", "time",
}  # fmt: skip
# A class without state of its own: the type of the generator that a scenario seeds and passes in.
EXCEPTIONS = {("sim", "random"), ("sim", "random.Random")}

SOURCES = package_sources()
CYTHON_IMPORT = re.compile(
    r"^\s*(?:from\s+(?P<origin>[\w.]+)\s+c?import\s+(?P<names>\([^)]*\)|[^\n#]+)|c?import\s+(?P<plain>[^\n#]+))",
    re.MULTILINE,
)


def imports_of(source: Source) -> Iterator[str]:
    """Yield the full name of each thing that `source` imports or cimports, anywhere in it."""
    return cython_imports(source.text) if source.is_cython else python_imports(source.text)


def python_imports(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def cython_imports(text: str) -> Iterator[str]:
    for match in CYTHON_IMPORT.finditer(text):
        prefix = f"{match['origin']}." if match["origin"] else ""
        for name in (match["names"] or match["plain"]).strip("()").split(","):
            if name.strip():
                yield prefix + name.split()[0]


def test_the_scanner_sees_every_form_of_import() -> None:
    python = "import os, a.b\nfrom c import d\ndef f():\n    from mpcore.host import e\n"
    assert list(python_imports(python)) == ["os", "a.b", "c.d", "mpcore.host.e"]
    cython = (
        "cimport a.b\nfrom libc.stdint cimport uint8_t, uint16_t  # sizes\nimport socket as s\n"
        "from mpcore.wire.ip cimport (\n    one,\n    two as three,\n)\n"
    )
    assert list(cython_imports(cython)) == [
        "a.b", "libc.stdint.uint8_t", "libc.stdint.uint16_t", "socket",
        "mpcore.wire.ip.one", "mpcore.wire.ip.two",
    ]  # fmt: skip


def test_every_layer_is_known() -> None:
    assert {source.layer for source in SOURCES} <= set(ALLOWED)


def test_what_is_allowed_has_no_circle() -> None:
    reached = {VOCABULARY}
    while more := {
        layer for layer in ALLOWED if layer not in reached and ALLOWED[layer] - {layer} <= reached
    }:
        reached |= more
    assert reached == set(ALLOWED)


def test_host_and_sim_know_nothing_of_each_other() -> None:
    assert "sim" not in ALLOWED["host"]
    assert "host" not in ALLOWED["sim"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.place)
def test_imports_point_down(source: Source) -> None:
    below = {source.layer, VOCABULARY, *ALLOWED[source.layer]}
    own = [name for name in imports_of(source) if name.split(".")[0] == "mpcore"]
    assert [name for name in own if layer_of(name) not in below and name != "mpcore.__version__"] == []


@pytest.mark.parametrize(
    "source",
    [source for source in SOURCES if source.layer not in TOUCHES_THE_SYSTEM],
    ids=lambda source: source.place,
)
def test_the_core_touches_no_operating_system(source: Source) -> None:
    found = {(source.layer, name) for name in imports_of(source) if name.split(".")[0] in SYSTEM_MODULES}
    assert found <= EXCEPTIONS


def test_the_simulator_draws_only_from_generators_that_have_a_seed() -> None:
    """Functions of the module `random` share one hidden generator; only its class may be used."""
    texts = [source.text for source in SOURCES if source.layer == "sim"]
    assert {name for text in texts for name in re.findall(r"(?<![\w.])random\.(\w+)", text)} <= {"Random"}
    assert [text for text in texts if re.search(r"\bRandom\(\)", text)] == []


def test_the_endpoint_loads_no_socket() -> None:
    pytest.importorskip("mpcore.endpoint")
    code = "import sys, mpcore.endpoint; print({'socket', 'select', 'asyncio', 'ssl'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def nogil_declarations(text: str) -> Iterator[str]:
    """Yield each declaration of a function or function pointer that runs without the GIL, on one line."""
    without_comments = re.sub(r"#.*", "", text)
    for match in re.finditer(
        r"^[ \t]*c(?:p?def|typedef)\b[^\n(]*\((?:[^()]|\([^()]*\))*\)[^\n]*", without_comments, re.M
    ):
        declaration = " ".join(match[0].split())
        if re.search(r"\bnogil\b", declaration):
            yield declaration


def test_the_scanner_sees_every_form_of_nogil() -> None:
    text = (
        "cdef int f(int a) noexcept nogil\n"
        "cdef inline void g(\n    const uint8_t *data,  # (bytes)\n    int size,\n) nogil:\n    pass\n"
        "ctypedef int (*h)(void *context) except -1 nogil\n"
        "cdef int i(int a)\n"
    )
    assert list(nogil_declarations(text)) == [
        "cdef int f(int a) noexcept nogil",
        "cdef inline void g( const uint8_t *data, int size, ) nogil:",
        "ctypedef int (*h)(void *context) except -1 nogil",
    ]


@pytest.mark.parametrize(
    "source", [source for source in SOURCES if source.is_cython], ids=lambda source: source.place
)
def test_what_runs_without_the_gil_declares_its_exceptions(source: Source) -> None:
    """Without one, each caller takes the GIL to look for an exception."""
    bare = [line for line in nogil_declarations(source.text) if not re.search(r"\b(noexcept|except)\b", line)]
    assert bare == []
