"""The line of a log that says why, and what to do about it."""

import json

import pytest

from ctscan.doctor.words import LONGEST, advice, last_words

WHY = "ctscan predictor: weights /mnt/models/none.pt do not exist: set MODEL_PATH"
INFO = json.dumps({"level": "INFO", "message": "ready"})
ERROR = json.dumps({"level": "ERROR", "message": "engine failed", "exception": "ValueError"})


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], None),
        (["", "  "], None),
        ([INFO, WHY, ""], WHY),
        # What our service says for people counts over what a library says after it.
        ([WHY, "sys:1: ResourceWarning: unclosed socket"], WHY),
        (["Traceback", ERROR, INFO], "engine failed ValueError"),
        (["Traceback (most recent call last):", "  File", "RuntimeError: no"], "RuntimeError: no"),
        ([INFO], None),
        (["{broken", '{"level": "ERROR"'], None),
        (['["level"]'], '["level"]'),
    ],
)
def test_the_line_that_says_why(lines: list[str], words: str | None) -> None:
    assert last_words(lines) == words


def test_a_long_line_is_cut() -> None:
    words = last_words(["x" * 5000])
    assert words is not None
    assert len(words) == LONGEST
    assert words.endswith("…")


@pytest.mark.parametrize(
    ("words", "todo"),
    [
        (WHY, "/mnt/models/none.pt is not in the container: WEIGHTS"),
        ("weights m.pt cannot be read (PermissionError): expected", "read m.pt; WEIGHTS"),
        ("weights m.pt are no checkpoint: expected a file", "other weights than m.pt; WEIGHTS"),
        ("weights m.pt do not fit resnet18: missing x", "other weights than m.pt; WEIGHTS"),
        ("m.yaml describes other weights: it names", "the card that belongs to the weights"),
        ("nothing says what m.pt is: add its card", "the card that belongs to m.pt"),
        ("m.yaml: card: unknown keys ['x']", "mend the card beside the weights"),
        ("configuration: limits.rowz: Key 'rowz' not in 'Limits'", "mend that in CONFIG"),
        ("configuration: unknown section 'limit', did you mean 'limits'?", "mend that in CONFIG"),
        ("predictor.device is 'cuda', but no CUDA device", "or mend predictor.device in CONFIG"),
        ("cannot listen on 0.0.0.0:8080: Address in use", "ports of its own"),
        ("exec /bin/python: exec format error", "for the processor of the node"),
        ("OSError: [Errno 30] Read-only file system: '/app/x'", "mount an emptyDir"),
        ("torch.OutOfMemoryError: CUDA out of memory", "check the GPU"),
        ("ModuleNotFoundError: No module named 'x'", "build the image again"),
        ("RuntimeError: out of ideas", None),
    ],
)
def test_what_to_do_about_last_words(words: str, todo: str | None) -> None:
    found = advice(words, config="CONFIG", weights="WEIGHTS")
    assert found is None if todo is None else todo in str(found)
