"""Compare a wheel with the checkout: modules, headers, stubs and compiled bodies, and nothing else."""

import sys
import zipfile
from pathlib import Path

SHIPPED = {".py", ".pyi", ".pxd", ".lua", ".typed"}
PROGRAMS = {"mpcore/lab/bench/accept.c"}  # sources that are compiled where they are used


def main(wheel: str) -> int:
    """Print what the wheel lacks or has beyond what it should; return 1 when there is any."""
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    found = {name.split(".")[0] + ".so" if name.endswith(".so") else name for name in names}
    wanted = {str(path) for path in Path("mpcore").rglob("*") if path.suffix in SHIPPED}
    bodies = (path.relative_to("pyx").with_suffix(".so") for path in Path("pyx").rglob("*.pyx"))
    wanted |= PROGRAMS | {str("mpcore" / body) for body in bodies}
    for word, names in (("lacks", wanted - found), ("should not have", found - wanted)):
        for name in sorted(names):
            print(f"wheel: {wheel} {word} {name}", file=sys.stderr)
    return int(found != wanted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
