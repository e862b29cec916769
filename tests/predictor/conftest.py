from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """How many threads a pass has holds for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
