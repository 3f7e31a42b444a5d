"""Every form of the sum in pyx/wire/sum.h, also those that this machine's processor would not choose."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers.reference import internet_sum
from tests.helpers.sources import ROOT

WRAPPER = """
#include "pyx/wire/sum.h"
static uint32_t finish(uint64_t total) { return mpcore_swap(mpcore_fold(total)); }
uint32_t plain(const uint8_t *data, size_t size) { return finish(mpcore_sum_plain(data, size)); }
uint32_t brief(const uint8_t *data, size_t size) { return finish(mpcore_sum_short(data, size)); }
uint32_t avx2(const uint8_t *data, size_t size) { return finish(mpcore_sum_avx2(data, size)); }
uint32_t avx512(const uint8_t *data, size_t size) { return finish(mpcore_sum_avx512(data, size)); }
uint32_t chosen(const uint8_t *data, size_t size) { return mpcore_sum(data, size); }
"""
FORMS = {"brief": "", "plain": "", "avx2": "avx2", "avx512": "avx512bw", "chosen": ""}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    if shutil.which("gcc") is None or "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("needs gcc and an x86 processor with AVX2")
    folder = tmp_path_factory.mktemp("sum")
    (folder / "wrapper.c").write_text(WRAPPER)
    command = ["gcc", "-O2", "-shared", "-fPIC", "-I", str(ROOT), "-o", "sum.so", "wrapper.c"]
    subprocess.run(command, cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "sum.so"))


@pytest.mark.parametrize("form", FORMS)
def test_every_length(library: ctypes.CDLL, form: str) -> None:
    if FORMS[form] not in Path("/proc/cpuinfo").read_text():
        pytest.skip(f"this processor has no {FORMS[form]}")
    total = getattr(library, form)
    data = bytes((at * at + 3 * at) & 0xFF for at in range(1200))
    for size in range(1, 1100):
        for start in (0, 1, 7):
            part = data[start : start + size]
            assert total(part, ctypes.c_size_t(size)) == internet_sum(part), (size, start)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("octet", [0x00, 0x01, 0x7F, 0x80, 0xFF])
def test_no_lane_overflows_in_the_largest_block(library: ctypes.CDLL, form: str, octet: int) -> None:
    if FORMS[form] not in Path("/proc/cpuinfo").read_text():
        pytest.skip(f"this processor has no {FORMS[form]}")
    size = 512 * 1024 + (3 if form == "chosen" else 0)
    data = bytes([octet]) * size
    assert getattr(library, form)(data, ctypes.c_size_t(size)) == internet_sum(data)
