from training.blanking import BLANKINGS
from training.cue_swaps import CUE_SWAPS
from training.outcomes import AS_IS
from training.renderings import RENDERINGS, SHIFTS
from training.scoring import SWAP
from training.variants import WORDS, words


def test_every_variant_has_words_and_no_other() -> None:
    swaps = [SWAP + name for name in CUE_SWAPS]
    assert sorted(WORDS) == sorted([AS_IS, *RENDERINGS, *SHIFTS, *BLANKINGS, *swaps])
    assert len(set(WORDS.values())) == len(WORDS)


def test_an_unknown_one_is_called_by_its_name() -> None:
    assert words("other") == "other"
