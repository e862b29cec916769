import re

import pytest

from tests.training.answers import Row, drawn, outcomes
from training.blanking import BLANKINGS
from training.cue_swaps import CUE_SWAPS
from training.evaluation import Evaluation
from training.evaluation_page import points, report, sections, with_interval
from training.measures import Flags, Floats, Share
from training.outcomes import AS_IS, Outcomes
from training.renderings import RENDERINGS, SHIFTS
from training.scoring import SWAP

EVERY = [AS_IS, *RENDERINGS, *SHIFTS, *BLANKINGS, *(SWAP + name for name in CUE_SWAPS)]


def headings(text: str) -> list[str]:
    return re.findall(r"^## (.*)$", text, re.MULTILINE)


def row_of(text: str, first: str) -> list[str]:
    """The cells of the first row that begins so."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_share_is_told_with_its_interval() -> None:
    assert with_interval(Share(81, 263)) == "30.8 % [25.5, 36.6] (n 263)"
    assert with_interval(Share(0, 0)) == "- (n 0)"
    assert points(0.0314) == "3.1"
    assert points(float("nan")) == "-"


def test_a_whole_evaluation_has_every_section() -> None:
    found = Evaluation(drawn(EVERY), 1.25)
    text = report("these", found)
    assert text.startswith("# Evaluation on these\n\nResearch use only, not a medical device.\n")
    assert "temperature, 1.250" in text
    assert headings(text) == [
        "How often it is right",
        "Class by class",
        "What a probability is worth",
        "The same slices saved otherwise",
        "In the other source's clothes",
        "Without the lungs",
        "When it should not answer",
    ]
    cancers = row_of(text, "cancers called by their class, of four")[1]
    assert cancers == with_interval(found.score.cancers)
    assert row_of(text, "JPEG, quality 80")[2] == points(found.loss(found.renderings[4]))
    assert "nan" not in text.replace("normal", "")


def test_what_was_not_scored_has_no_section() -> None:
    text = report("these", Evaluation(drawn(folds=1), 1))
    assert headings(text) == [
        "How often it is right",
        "Class by class",
        "What a probability is worth",
        "When it should not answer",
    ]
    assert "Cross-fitted" not in text
    assert "folds" not in text


def test_figures_are_linked_where_the_page_finds_them() -> None:
    text = "\n".join(sections(Evaluation(drawn(), 1), "folder/"))
    assert re.findall(r"\]\((.*?)\)", text) == [
        "folder/confusion.png",
        "folder/reliability.png",
        "folder/risk_coverage.png",
    ]


SURE: list[Row] = [(0, 0, 5.0)] * 3 + [(3, 3, 5.0)] * 3
LOST: list[Row] = [(0, 0, 5.0)] * 3 + [(3, 0, 5.0)] * 3
# All are called normal, and still every normal is more so than every cancer.
THRESHOLD: list[Row] = [(0, 3, 1.0)] * 3 + [(3, 3, 2.0)] * 3


@pytest.mark.parametrize(("blanked", "reads"), [(SURE, True), (LOST, False), (THRESHOLD, True)])
@pytest.mark.parametrize("name", ["lungs_blanked", "chest_blanked"])
def test_a_model_that_tells_normals_without_a_lung_reads_the_source(
    blanked: list[Row], reads: bool, name: str
) -> None:
    text = report("these", Evaluation(outcomes({AS_IS: SURE, name: blanked}), 1))
    assert ("**The model reads the source.**" in text) == reads
    assert ("less well" in text) != reads


def test_lungs_alone_say_nothing_of_the_source() -> None:
    text = report("these", Evaluation(outcomes({AS_IS: SURE, "only_lungs": SURE}), 1))
    assert "nothing can be said of what the model reads" in text


def test_what_the_gate_accepts_stands_where_there_is_one() -> None:
    def everything_sure(shares: Floats, _: Outcomes) -> Flags:
        accepted: Flags = shares.max(1) > 0.7
        return accepted

    given = drawn([AS_IS, "table"])
    with_gate, without = Evaluation(given, 1, everything_sure), Evaluation(given, 1)
    acceptance = with_gate.acceptance([AS_IS])
    assert acceptance is not None
    text = report("these", with_gate)
    gate = text[text.index("What the gate accepts") :]
    assert row_of(gate, "as it is")[1:3] == [
        with_interval(acceptance.accepted),
        with_interval(acceptance.wrong),
    ]
    assert "What the gate accepts" not in report("these", without)


def test_a_folder_of_one_class_has_a_report() -> None:
    for label in (0, 3):
        given = outcomes({variant: [(label, label, 2.0)] for variant in EVERY})
        assert report("one", Evaluation(given, 1)).count("(n 0)") > 1
