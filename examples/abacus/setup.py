"""Builds the board's C library into the package, with the C compiler that the package index has."""

import platform
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

SOURCES = ["library/board.c", "library/recipe.c", "library/steps.c"]
# Without a target zig cc takes the headers, the libc and every feature of the building machine, which may have no
# headers at all, while a wheel has to run on others: an old glibc, and the features that all processors have.
# A fused a * b + c is rounded once instead of twice, so contraction would change results. Stripped (-s), the library is
# the same to the last byte wherever it is built, and a certificate of one build is one of all.
FLAGS = ["-O2", "-s", "-shared", "-fPIC", "-ffp-contract=off", "-fno-math-errno", "-lm", "-lpthread"]
TARGET = ["-target", f"{platform.machine()}-linux-gnu.2.17"] if sys.platform == "linux" else ["-mcpu=baseline"]


class BuildLibrary(build_ext):
    """Compiles a plain C library, which needs no Python headers."""

    def get_ext_filename(self, fullname):
        return fullname.replace(".", "/") + ".so"

    def build_extension(self, ext):
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        compiler = [sys.executable, "-m", "ziglang", "cc", *TARGET, *FLAGS]
        subprocess.run([*compiler, *ext.sources, "-o", str(target)], check=True)


class WheelForAnyPython(bdist_wheel):
    """Names the wheel by its platform alone."""

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


setup(
    ext_modules=[Extension("opmux_abacus.libabacus", SOURCES, depends=["library/abacus.h"])],
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": WheelForAnyPython},
)
