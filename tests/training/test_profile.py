import numpy as np
import numpy.typing as npt
import pytest

from serving.card import CLASSES, Gate
from training.profile import (
    FOLDS,
    OTHER_PROFILES,
    PROFILES,
    RENDERED_ALIKE,
    RUN,
    fit_profile,
    folds_of,
    medoids,
)
from transformer.gate import grey_profile, profile_distances

Ints = npt.NDArray[np.int64]
NORMAL = CLASSES.index("normal")


def histograms_at(means: npt.ArrayLike, seed: int = 0) -> Ints:
    """Histograms [N,256] of slices whose greys lie around the given means."""
    random = np.random.default_rng(seed)
    values = [random.normal(mean, 12, 4000).clip(0, 255).astype(int) for mean in np.ravel(means)]
    return np.stack([np.bincount(it, minlength=256) for it in values])


@pytest.fixture(scope="module")
def data() -> tuple[Ints, Ints]:
    """Cancers in two renderings, normals in a third, and one odd cancer."""
    means = [*[80.0] * 60, *[130.0] * 60, *[200.0] * 40]
    means[17] = 240.0
    jitter = np.random.default_rng(1).normal(0, 3, len(means))
    labels = np.array([*[0] * 60, *[2] * 60, *[NORMAL] * 40])
    return histograms_at(np.array(means) + jitter), labels


def test_what_was_left_out_is_within_the_bound_but_for_a_few(data: tuple[Ints, Ints]) -> None:
    histograms, labels = data
    fitted = fit_profile(histograms, labels)
    shares, cancers, folds = grey_profile(histograms), labels != NORMAL, folds_of(labels)
    apart = np.zeros(len(labels))
    for fold in range(FOLDS):
        known = shares[cancers & (folds != fold)]
        chosen = known[medoids(known, PROFILES)]
        apart[folds == fold] = profile_distances(shares[folds == fold], chosen).min(1)
    within = (apart <= fitted["profile_distance"])[cancers].mean()
    assert RENDERED_ALIKE <= within < 1
    # The odd one did not make the bound.
    assert fitted["profile_distance"] < 15 < apart[17]


def test_other_slices_are_within_the_bound_of_all_ct_alone(data: tuple[Ints, Ints]) -> None:
    fitted = fit_profile(*data)
    normals = grey_profile(data[0][data[1] == NORMAL])
    assert profile_distances(normals, fitted["profiles"]).min() > 2 * fitted["profile_distance"]
    assert profile_distances(normals, fitted["other_profiles"]).min(1).max() < fitted["ct_distance"]
    # Of all slices a smaller share may be beyond it, the odd one among them.
    assert fitted["ct_distance"] > fitted["profile_distance"]


def test_what_is_fitted_makes_a_gate(data: tuple[Ints, Ints]) -> None:
    fitted = fit_profile(*data)
    gate = Gate(**fitted, margin=0.1)
    assert (len(gate.profiles), len(gate.other_profiles)) == (PROFILES, OTHER_PROFILES)
    assert all(share == round(share, 4) for share in gate.profiles[0])


def test_it_comes_out_alike_each_time(data: tuple[Ints, Ints]) -> None:
    assert fit_profile(*data) == fit_profile(*data)


def test_data_without_normals_have_no_other_profiles(data: tuple[Ints, Ints]) -> None:
    cancers = data[1] != NORMAL
    fitted = fit_profile(data[0][cancers], data[1][cancers])
    assert fitted["other_profiles"] == ()
    assert fitted["profiles"] == fit_profile(*data)["profiles"]


def test_a_handful_of_slices_is_enough(data: tuple[Ints, Ints]) -> None:
    fitted = fit_profile(data[0][[0, 60, 159]], data[1][[0, 60, 159]])
    assert (len(fitted["profiles"]), len(fitted["other_profiles"])) == (2, 1)


def test_normals_alone_are_refused(data: tuple[Ints, Ints]) -> None:
    with pytest.raises(ValueError, match="can be accepted"):
        fit_profile(data[0][120:], data[1][120:])


def test_neighbours_of_one_class_are_left_out_together() -> None:
    labels = np.array([0] * 50 + [3] * 13)
    folds = folds_of(labels)
    for start in (*range(0, 50, RUN), 50, 50 + RUN):
        run = folds[start : start + RUN]
        same = labels[start : start + RUN] == labels[start]
        assert len({*run[same].tolist()}) == 1
    assert {*folds[:50].tolist()} == set(range(FOLDS))
    assert folds[50] == 0


def test_a_medoid_stands_in_each_of_several_groups() -> None:
    profiles = grey_profile(histograms_at([*[60.0] * 9, *[120.0] * 5, *[210.0] * 3]))
    chosen = medoids(profiles, 3)
    assert [int(np.searchsorted([9, 14], at, side="right")) for at in chosen] == [0, 1, 2]


def test_a_medoid_moves_to_the_middle_of_its_own() -> None:
    means = [60.0, 64.0, 68.0, 72.0, 76.0, 200.0, 204.0, 208.0]
    # The first to be chosen is in the middle of all, 72 or 76: the second frees it.
    assert medoids(grey_profile(histograms_at(means)), 2).tolist() == [2, 6]


def test_a_medoid_is_the_least_far_from_the_others() -> None:
    profiles = grey_profile(histograms_at([100.0, 104.0, 108.0, 112.0, 150.0]))
    apart = profile_distances(profiles, profiles)
    assert medoids(profiles, 1).tolist() == [int(apart.sum(0).argmin())]
    assert medoids(profiles, 9).tolist() == [0, 1, 2, 3, 4]
