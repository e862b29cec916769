from pathlib import Path

import pytest
import torch
from torch import nn

from predictor.checkpoint import build_network
from predictor.networks.efficientnet_lite0 import EfficientNetLite0
from serving.card import CLASSES, Card, InputSpec
from training import fit as training_fit
from training.examples import Examples
from training.fit import Report, drawn, fit, kept_parts, normalise, steps

CARD = Card("custom_cnn", InputSpec(32, 32), arguments={"hidden_dims": [4, 8], "fc_hidden": 8})


def examples(count: int = 24) -> Examples:
    """Noise around a grey that tells the class."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % len(CLASSES)
    noise = torch.randint(0, 30, (count, 1, 36, 36), generator=generator)
    rows = (noise + 60 * labels[:, None, None, None]).to(torch.uint8)
    return Examples(rows, labels, torch.zeros_like(labels))


def run(state: Path, *, epochs: int = 3, seed: int = 0, report: Report | None = None) -> nn.Module:
    torch.manual_seed(99)  # the weights before training
    network = build_network(CARD)
    report = report or (lambda epoch, loss: None)
    fit(network, CARD, examples(), epochs=epochs, seed=seed, state=state, report=report)
    return network


def weights(network: nn.Module) -> torch.Tensor:
    return torch.cat([weight.flatten() for weight in network.state_dict().values()])


def test_normals_are_drawn_three_times_and_the_others_once() -> None:
    counts = examples(8).labels[drawn(examples(8))].bincount()
    assert counts.tolist() == [2, 2, 2, 6]


def test_steps_are_whole_batches_and_at_least_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert steps(examples(8)) == 1
    monkeypatch.setattr(training_fit, "BATCH_ROWS", 4)
    assert steps(examples(8)) == 12 // 4


def test_the_loss_falls_and_every_step_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, float]] = []
    network = run(tmp_path / "a.state", epochs=30, report=lambda *it: told.append(it))
    assert [epoch for epoch, _ in told] == list(range(1, 31))
    losses = [loss for _, loss in told]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert not network.training
    assert not any(weight.requires_grad for weight in network.parameters())


def test_the_seed_decides_the_weights(tmp_path: Path) -> None:
    first, again = run(tmp_path / "a.state"), run(tmp_path / "b.state")
    other = run(tmp_path / "c.state", seed=1)
    torch.testing.assert_close(weights(again), weights(first))
    assert not torch.allclose(weights(other), weights(first))


class Killed(Exception):
    """Stands for the end of the process."""


def test_a_run_that_was_killed_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole.state")

    def kill_in_the_third(epoch: int, loss: float) -> None:
        if epoch == 3:
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path / "cut.state", report=kill_in_the_third)
    told: list[int] = []
    resumed = run(tmp_path / "cut.state", report=lambda epoch, loss: told.append(epoch))
    assert told == [3]
    torch.testing.assert_close(weights(resumed), weights(whole), atol=0, rtol=0)


def test_a_complete_run_trains_nothing_more(tmp_path: Path) -> None:
    whole = run(tmp_path / "a.state")
    told: list[int] = []
    again = run(tmp_path / "a.state", report=lambda epoch, loss: told.append(epoch))
    assert told == []
    torch.testing.assert_close(weights(again), weights(whole), atol=0, rtol=0)
    assert not again.training


def test_what_imagenet_taught_of_edges_is_kept_and_nothing_else_is() -> None:
    network = EfficientNetLite0()
    kept = kept_parts(network, "ImageNet, from a package")
    assert kept == [network.stem, *network.blocks[:3]]
    assert kept_parts(network, "random weights") == []
    assert kept_parts(build_network(CARD), "ImageNet, from a package") == []


def test_kept_parts_do_not_change_in_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = EfficientNetLite0()
    monkeypatch.setattr(training_fit, "start_from_imagenet", lambda network: "ImageNet")
    stem, head = (
        [value.clone() for value in part.state_dict().values()]
        for part in (network.stem, network.head)
    )
    card = Card("efficientnet_lite0", InputSpec(32, 32))
    fit(
        network,
        card,
        examples(8),
        epochs=1,
        seed=0,
        state=tmp_path / "a.state",
        report=lambda epoch, loss: None,
    )
    assert all(map(torch.equal, network.stem.state_dict().values(), stem))
    assert not any(map(torch.equal, network.head.state_dict().values(), head))


def test_one_grey_channel_is_normalised_to_as_many_as_the_card_has() -> None:
    images = torch.full((2, 1, 3, 3), 0.5)
    found = normalise(images, CARD)
    assert found.shape == (2, 3, 3, 3)
    expected = (0.5 - torch.tensor(CARD.mean)) / torch.tensor(CARD.std)
    torch.testing.assert_close(found[1, :, 2, 2], expected)
