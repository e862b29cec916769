import sys

import pytest

from predictor.memory import (
    M_ARENA_MAX,
    M_MMAP_THRESHOLD,
    M_TRIM_THRESHOLD,
    give_back_freed_memory,
    keep_freed_memory,
)

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


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_the_real_library_takes_it() -> None:
    keep_freed_memory()
    give_back_freed_memory()
