"""Build of a package of somebody else's that cimports mpcore's headers as they are installed."""

from Cython.Build import cythonize
from setuptools import Extension, setup

setup(
    name="consumer",
    ext_modules=cythonize(
        [Extension("consumer", ["consumer.pyx"], extra_compile_args=["-O1", "-g0", "-Wall", "-Wextra"])],
        compiler_directives={"language_level": 3, "freethreading_compatible": True},
    ),
)
