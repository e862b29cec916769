from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from training.outcomes import AS_IS, Outcomes, OutcomesError, joined


def outcomes(count: int = 3, variant: str = AS_IS) -> Outcomes:
    return Outcomes(
        picture=np.array([f"digest{index}" for index in range(count)]),
        label=np.arange(count) % 4,
        fold=np.arange(count) % 2,
        variant=np.array([variant] * count),
        logits=np.arange(count * 4, dtype=np.float32).reshape(count, 4),
        distance=np.array([None] * count),
        reasons=np.array(["", "colour,text", ""][:count]),
    )


def same(one: Outcomes, other: Outcomes) -> bool:
    pairs = [(getattr(one, item.name), getattr(other, item.name)) for item in fields(Outcomes)]
    return all(a.dtype.kind == b.dtype.kind and a.tolist() == b.tolist() for a, b in pairs[:5])


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    kept = outcomes()
    kept.save(tmp_path / "outcomes.npz")
    found = Outcomes.load(tmp_path / "outcomes.npz")
    assert same(kept, found)
    assert found.logits.dtype == np.float32
    assert np.isnan(found.distance).all()
    assert found.reasons.tolist() == ["", "colour,text", ""]


def test_rows_are_chosen_by_variant_and_joined_again() -> None:
    both = joined([outcomes(), outcomes(2, "jpeg")])
    assert len(both) == 5
    assert both.variants() == [AS_IS, "jpeg"]
    assert same(both.of("jpeg"), outcomes(2, "jpeg"))
    assert both.where(both.label == 1).picture.tolist() == ["digest1", "digest1"]


@pytest.mark.parametrize("broken", [{"label": [1]}, {"logits": np.zeros(3)}])
def test_columns_that_do_not_fit_are_refused(broken: dict[str, object]) -> None:
    whole = {item.name: getattr(outcomes(), item.name) for item in fields(Outcomes)}
    with pytest.raises(OutcomesError, match="expected"):
        Outcomes(**(whole | broken))


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 no archive", b"text"])
def test_a_file_without_outcomes_is_one_clear_line(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "outcomes.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OutcomesError, match="make evaluate"):
        Outcomes.load(path)


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", picture=np.zeros(2))
    np.save(tmp_path / "other.npy", np.zeros(2))
    for name in ("other.npz", "other.npy"):
        with pytest.raises(OutcomesError, match="holds no outcomes"):
            Outcomes.load(tmp_path / name)
