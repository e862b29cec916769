import subprocess
import sys

SHAPE_WITHOUT_VALUES = """
import predictor.lean_torch, torch
import torch._meta_registrations
weight = torch.empty(4, 3, 3, 3, device="meta")
print(*torch.nn.functional.conv2d(torch.empty(2, 3, 8, 8, device="meta"), weight).shape)
"""


def test_who_asks_for_the_meta_kernels_later_gets_them() -> None:
    # A process of its own: here torch was imported whole.
    answer = subprocess.run(
        [sys.executable, "-c", SHAPE_WITHOUT_VALUES], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["2", "4", "6", "6"]
