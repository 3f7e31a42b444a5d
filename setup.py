"""Build the compiled modules: pyx/a/b.pyx becomes mpcore.a.b, with its header in mpcore/a/b.pxd."""

import os
import platform
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from Cython.Build.Dependencies import create_dependency_tree
from Cython.Compiler.Main import Context
from Cython.Compiler.Options import CompilationOptions
from setuptools import Extension, setup

BUILD = Path("build/cython")
INCLUDE_PATH = [".", "pyx"]
DEBUG = os.environ.get("MPCORE_DEBUG") == "1"
DIRECTIVES = {
    "language_level": 3,
    "binding": True,
    "embedsignature": False,
    "boundscheck": DEBUG,
    "wraparound": False,
    "initializedcheck": DEBUG,
    "nonecheck": False,  # methods without the GIL use self, and the check would need it
    "cdivision": True,
    "freethreading_compatible": True,
}
FLAGS = ["-UNDEBUG", "-O1", "-g"] if DEBUG else ["-O3", "-g0"]
# gcc's generic tuning clears a struct with `rep stos`, which takes longer to start than the stores take:
# two of them were a third of the time that parsing a packet takes.
STORES = "-mmemset-strategy=unrolled_loop:256:noalign,libcall:-1:noalign"
COMPILER = os.environ.get("CC") or sysconfig.get_config_var("CC") or ""
if platform.machine() == "x86_64" and "gcc" in COMPILER and "clang" not in COMPILER:
    FLAGS.append(STORES)


def extension(path: Path) -> Extension:
    """Return the extension whose body is `path`, named after its place below pyx/."""
    name = ".".join(("mpcore", *path.relative_to("pyx").with_suffix("").parts))
    flags = [*FLAGS, "-Wall", "-Wextra", "-Wno-unused-function", "-Wno-unused-parameter"]
    return Extension(name, [str(path)], include_dirs=["."], extra_compile_args=flags, libraries=["m"])


def forget_outdated(path: Path) -> None:
    """Remove the C code of `path` when its header, or one that the header needs, is newer.

    Cython looks for a body's own header only beside the body, and ours are in mpcore/.
    """
    made = BUILD / path.with_suffix(".c")
    header = Path("mpcore") / path.relative_to("pyx").with_suffix(".pxd")
    if made.exists() and header.exists():
        newest, _ = dependencies.newest_dependency(str(header))
        if newest > made.stat().st_mtime:
            made.unlink()


sources = sorted(Path("pyx").rglob("*.pyx"))
# the tree that cythonize() uses too: there is one a process, and the first to ask gives it the paths
dependencies = create_dependency_tree(Context.from_options(CompilationOptions(include_path=INCLUDE_PATH)))
for source in sources:
    forget_outdated(source)
setup(
    ext_modules=cythonize(
        [extension(path) for path in sources],
        include_path=INCLUDE_PATH,
        compiler_directives=DIRECTIVES,
        build_dir=str(BUILD),
        nthreads=int(os.environ.get("MPCORE_BUILD_JOBS", os.cpu_count() or 1)),
    ),
)
