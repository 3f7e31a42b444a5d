"""A compiled module has a stub exactly where it has something for Python; `make lint` compares the two."""

import re

from tests.helpers.sources import package_sources

PYTHON_FACE = re.compile(r"^(?:cdef class|class|def|cpdef)\b|^[A-Z][A-Z_]* = ", re.MULTILINE)


def test_what_python_can_use_is_recognised() -> None:
    assert PYTHON_FACE.search("cdef class Engine:\n    pass\n")
    assert PYTHON_FACE.search("import x\n\ndef describe(data):\n    pass\n")
    assert PYTHON_FACE.search("WORDS = (1, 2)\n")
    assert not PYTHON_FACE.search("cdef int f(int a) noexcept nogil:\n    return a\ncdef enum:\n    A = 1\n")


def test_a_module_has_a_stub_exactly_when_it_has_a_python_face() -> None:
    sources = package_sources()
    stubs = {source.module for source in sources if source.path.suffix == ".pyi"}
    bodies = [source for source in sources if source.path.suffix == ".pyx"]
    assert stubs == {source.module for source in bodies if PYTHON_FACE.search(source.text)}
