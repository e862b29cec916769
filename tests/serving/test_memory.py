import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from serving.memory import (
    M_ARENA_MAX,
    M_MMAP_THRESHOLD,
    M_TRIM_THRESHOLD,
    give_back_freed_memory,
    keep_freed_memory,
)

# Prints how many blocks of their own 64 MiB are, and then whether glibc takes the threshold at all.
LARGE_BLOCK = """
import ctypes
from serving.memory import ANY_SIZE, M_MMAP_THRESHOLD, keep_freed_memory

class Info(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd",
            "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
libc.malloc.restype = ctypes.c_void_p
{told}
before = libc.mallinfo2().hblks
assert libc.malloc(ctypes.c_size_t(2**26))
print(libc.mallinfo2().hblks - before, libc.mallopt(M_MMAP_THRESHOLD, ANY_SIZE))
"""
TOLD = {M_MMAP_THRESHOLD: 2**30, M_TRIM_THRESHOLD: 2**30, M_ARENA_MAX: 1}


class Library:
    """A C library that remembers what it is told; glibc names its version."""

    def __init__(self, *, is_glibc: bool) -> None:
        self.told: dict[int, int] = {}
        self.trimmed = False
        if is_glibc:
            self.gnu_get_libc_version = lambda: b"2.36"

    def mallopt(self, name: int, value: int) -> int:
        self.told[name] = value
        return 1

    def malloc_trim(self, pad: int) -> int:
        self.trimmed = True
        return 1


@pytest.mark.parametrize(
    ("platform", "is_glibc", "told"),
    [
        ("linux", True, TOLD),
        ("linux", False, {}),
        ("darwin", True, {}),
    ],
)
def test_glibc_alone_is_told_to_keep_large_blocks(
    platform: str, is_glibc: bool, told: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Library(is_glibc=is_glibc)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr("ctypes.CDLL", lambda name: library)
    keep_freed_memory()
    assert library.told == told
    assert not library.trimmed
    give_back_freed_memory()
    assert library.trimmed is bool(told)


def test_no_more_may_be_kept_than_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library(is_glibc=True)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("ctypes.CDLL", lambda name: library)
    keep_freed_memory(1000)
    assert library.told == {M_MMAP_THRESHOLD: 1000, M_TRIM_THRESHOLD: 1000, M_ARENA_MAX: 1}


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="mallinfo2 is of glibc 2.33 and later"
)
@pytest.mark.parametrize(
    ("told", "mapped"), [("", 1), ("keep_freed_memory()", 0), ("keep_freed_memory(2**24)", 1)]
)
def test_a_large_block_is_not_mapped_by_itself(told: str, mapped: int) -> None:
    # A process of its own: what a C library is told holds for ever, and this one has been told.
    answer = subprocess.run(
        [sys.executable, "-c", LARGE_BLOCK.format(told=told)],
        cwd=Path(__file__).parents[2],
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    found, is_taken = answer.stdout.split()
    if is_taken == "0":
        pytest.skip("this glibc takes no threshold above 32 MiB")
    assert int(found) == mapped
