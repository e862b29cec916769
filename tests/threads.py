"""For tests that set how many threads torch has."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def kept_threads() -> Iterator[None]:
    """How many a pass has holds for the whole process: put back, also where the test failed."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
