import io

import pytest
from rich.console import Console

from training.progress import StepBar


def test_the_bar_tells_epoch_and_smoothed_loss() -> None:
    out = io.StringIO()
    with StepBar(
        "fold 2", epochs=3, steps=6, console=Console(file=out, force_terminal=True)
    ) as bar:
        bar(1, 2.0)
        bar(1, 1.0)
        assert bar.loss == pytest.approx(1.95)
        for _ in range(4):
            bar(3, 1.0)
    text = out.getvalue()
    assert "fold 2: epoch 3/3, loss 1.7" in text
    assert "100%" in text
