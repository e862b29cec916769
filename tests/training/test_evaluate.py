import csv
import dataclasses
from pathlib import Path

import pytest
import torch
import yaml

from predictor.checkpoint import build_network, weights_sha256
from serving.card import CLASSES, Card, InputSpec, read_card, write_card
from tests.threads import kept_threads as kept_threads
from tests.training.chest import plant
from training.blanking import BLANKINGS
from training.cue_swaps import CUE_SWAPS
from training.evaluate import main
from training.outcomes import AS_IS, Outcomes
from training.pictures import read_pictures
from training.renderings import RENDERINGS, SHIFTS
from training.samples import find_files
from training.scoring import SWAP

CARD = Card("custom_cnn", InputSpec(64, 64), temperature=1.5, about={"training_data": "phantoms"})
EVERY = {AS_IS, *RENDERINGS, *SHIFTS, *BLANKINGS, *(SWAP + name for name in CUE_SWAPS)}
FIGURES = {"confusion.png", "reliability.png", "risk_coverage.png"}


def write_weights(path: Path, seed: int) -> None:
    """Random weights and their card."""
    torch.manual_seed(seed)
    network = build_network(CARD)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), path)
    card = dataclasses.replace(CARD, weights_sha256=weights_sha256(path))
    write_card(card, path.with_suffix(".yaml"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, shipped weights, and two folds with a network each."""
    home = tmp_path_factory.mktemp("home")
    plant(home / "data")
    write_weights(home / "model.pt", 0)
    for fold in (0, 1):
        write_weights(home / "folds" / f"fold-{fold}.pt", fold + 1)
    pictures = read_pictures(find_files(home / "data")).pictures
    with (home / "folds" / "folds.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("picture", "label", "fold", "path"))
        for index, picture in enumerate(pictures):
            path = picture.path.relative_to(home / "data")
            writer.writerow((picture.digest, CLASSES[picture.label], index % 2, path))
    return home


def run(home: Path, out: Path, *more: str | Path) -> None:
    model = () if "--model" in more else ("--model", home / "model.pt")
    main([str(part) for part in ("--out", out, "--threads", 1, *model, *more)])


@pytest.fixture(scope="module")
def of_folds(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("of-folds")
    page = out / "docs" / "model-card.md"
    page.parent.mkdir()
    run(home, out, "--data", home / "data", "--folds", home / "folds", "--page", page)
    return out


def test_weights_are_scored_on_a_folder(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "test").mkdir()
    plant(tmp_path / "test", each=1)
    (tmp_path / "test" / "normal" / "notes.txt").write_text("not an image")
    stolen = (tmp_path / "test" / "normal" / "0.png").read_bytes()
    for name in CLASSES[:2]:
        (tmp_path / "test" / name / "stolen.png").write_bytes(stolen)
    run(home, tmp_path / "out", "--data", tmp_path / "test")
    told = capsys.readouterr().out
    assert "1 files are left out, the service refuses them: the file is no image" in told
    assert "1 pictures are left out: they lie under several classes" in told
    assert "cancers called by their class: " in told
    found = Outcomes.load(tmp_path / "out" / "outcomes.npz")
    assert set(found.of(AS_IS).label.tolist()) == {0, 1, 2}
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == FIGURES | {"outcomes.npz", "report.md", "figures.yaml"}
    assert "# Evaluation on test\n" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_every_picture_is_scored_by_the_network_of_its_own_fold(home: Path, of_folds: Path) -> None:
    found = Outcomes.load(of_folds / "outcomes.npz")
    assert set(found.variants()) == EVERY
    assert len(found.of(AS_IS)) == 8
    assert found.of(AS_IS).fold.tolist() == [0] * 4 + [1] * 4
    for fold in (0, 1):
        alone = of_folds / f"fold-{fold}"
        run(home, alone, "--data", home / "data", "--model", home / "folds" / f"fold-{fold}.pt")
        other = Outcomes.load(alone / "outcomes.npz").of(AS_IS)
        for name, logits in zip(other.picture, other.logits, strict=True):
            own = found.of(AS_IS).where(found.of(AS_IS).picture == name)
            assert (own.logits[0].tolist() == logits.tolist()) == (own.fold[0] == fold)


def test_the_page_and_the_cards_notes_are_written(home: Path, of_folds: Path) -> None:
    text = (of_folds / "docs" / "model-card.md").read_text(encoding="utf-8")
    assert text.startswith("# Model card\n")
    assert "| temperature | 1.500 |" in text
    assert {path.name for path in (of_folds / "docs" / "model-card").iterdir()} == FIGURES
    card = read_card(home / "model.yaml")
    figures = yaml.safe_load((of_folds / "figures.yaml").read_text(encoding="utf-8"))
    assert card.about == {"training_data": "phantoms", "figures": figures}
    assert figures["pictures"] == 8
    assert f"`{card.version}`" in text


def test_what_was_scored_can_be_told_again(home: Path, of_folds: Path, tmp_path: Path) -> None:
    seed = of_folds / "figures.yaml"
    page = tmp_path / "model-card.md"
    run(home, tmp_path, "--outcomes", of_folds / "outcomes.npz", "--page", page, "--seeds", seed)
    assert (tmp_path / "figures.yaml").read_bytes() == seed.read_bytes()
    assert f"| {of_folds.name} |" in page.read_text(encoding="utf-8")


def empty(home: Path) -> tuple[str | Path, ...]:
    (home / "empty" / "normal").mkdir(parents=True, exist_ok=True)
    (home / "empty" / "normal" / "notes.txt").write_text("not an image")
    return "--data", home / "empty"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "nowhere"), r"nowhere is no folder"),
        (("--data", "data", "--model", "no.pt"), r"weights .*no\.pt do not exist"),
        (("--data", "data", "--folds", "data"), r"folds\.csv does not exist: make train writes it"),
        (("--outcomes", "no.npz"), r"no\.npz does not exist: run make evaluate first"),
        (("--data", "data", "--seeds", "no.yaml"), r"no\.yaml cannot be read"),
        (("--data", "data", "--seeds", "model.yaml"), r"model\.yaml holds no figures"),
        (("--data", "empty"), r"holds no picture that could be scored"),
    ],
)
def test_what_is_missing_is_one_clear_line(
    arguments: tuple[str, ...], message: str, home: Path, tmp_path: Path
) -> None:
    empty(home)
    paths = [part if part.startswith("--") else home / part for part in arguments]
    with pytest.raises(SystemExit, match=f"^evaluate: .*{message}"):
        run(home, tmp_path, *paths)


def test_the_page_needs_folds(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(home, home / "out", "--data", home / "data", "--page", home / "page.md")
    assert "name them with --folds" in capsys.readouterr().err
