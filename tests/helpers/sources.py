"""The package's own source files, for tests of how it is built."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CYTHON_SUFFIXES = {".pyx", ".pxd"}


@dataclass(frozen=True)
class Source:
    """One file; `module` is the name under which it is, or would be, imported."""

    path: Path
    module: str

    @property
    def text(self) -> str:
        return self.path.read_text()

    @property
    def is_cython(self) -> bool:
        return self.path.suffix in CYTHON_SUFFIXES

    @property
    def place(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def layer(self) -> str:
        """The part of the package below `mpcore`; `vocabulary` for what all of it shares."""
        parts = self.module.split(".")
        return layer_of(self.module) if len(parts) > 1 else VOCABULARY


VOCABULARY = "vocabulary"
SHARED = {"errors", "events", "actions", "config", "config_shim6", "config_types", "counters", "value"}
# Files beside endpoint.py that are parts of it.
ENDPOINT = "endpoint"
PARTS_OF_ENDPOINT = {"connections", "shim6_endpoint", "snapshot"}


def layer_of(module: str) -> str:
    """Return the layer of `mpcore.x.y`."""
    _, _, below = module.partition(".")
    name = below.partition(".")[0]
    if name in PARTS_OF_ENDPOINT:
        return ENDPOINT
    return VOCABULARY if not name or name in SHARED else name.strip("_")


def package_sources() -> list[Source]:
    """Return every .py, .pyi, .pxd of mpcore/ and every .pyx, .pxd of pyx/."""
    found = []
    for folder in ("mpcore", "pyx"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".py", ".pyi", *CYTHON_SUFFIXES}:
                parts = path.relative_to(ROOT / folder).with_suffix("").parts
                module = ".".join(("mpcore", *(part for part in parts if part != "__init__")))
                found.append(Source(path, module))
    return found
