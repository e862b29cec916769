"""The last words of a container: the line of its log that says why, and what to do about it."""

import json
import re
from collections.abc import Sequence

LONGEST = 300


def last_words(lines: Sequence[str]) -> str | None:
    """The line that says most about the end, or None where nothing was written.

    Our services end with one line for people; others with an error in JSON, with a traceback or
    with anything at all.
    """
    written = [line.strip() for line in lines if line.strip()]
    for choose in (_for_people, _logged_error, _anything):
        for line in reversed(written):
            if said := choose(line):
                return said if len(said) <= LONGEST else said[: LONGEST - 1] + "…"
    return None


def _for_people(line: str) -> str | None:
    return line if re.match(r"ctscan (predictor|transformer): ", line) else None


def _logged_error(line: str) -> str | None:
    if not line.startswith("{"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or record.get("level") not in ("ERROR", "CRITICAL"):
        return None
    return " ".join(str(record[key]) for key in ("message", "exception") if record.get(key))


def _anything(line: str) -> str | None:
    # JSON that is no error says what was done, not why it ended.
    return None if line.startswith("{") else line


# What a last line has in it → what to do. {path} and the like are what the pattern found; {config}
# and {weights} are where the pod has its configuration and its weights from.
ADVICE: tuple[tuple[str, str], ...] = (
    (
        r"weights (?P<path>\S+) do not exist",
        "{path} is not in the container: {weights}",
    ),
    (
        r"weights (?P<path>\S+) cannot be read",
        "let the user that the container runs as read {path}; {weights}",
    ),
    (r"describes other weights", "bring the card that belongs to the weights; {weights}"),
    (r"nothing says what (?P<path>\S+) is", "bring the card that belongs to {path}; {weights}"),
    (r"weights (?P<path>\S+) ", "bring other weights than {path}; {weights}"),
    (r"card: ", "mend the card beside the weights; {weights}"),
    (r"device is 'cuda'", "give the predictor a GPU, or mend predictor.device in {config}"),
    (r"configuration|precision is", "mend that in {config}, and apply the overlay again"),
    (r"cannot listen on", "give each container of the pod ports of its own"),
    (r"exec format error", "build the image for the processor of the node"),
    (
        r"Read-only file system|Permission denied",
        "mount an emptyDir or a volume there that the container's user may write to",
    ),
    (r"CUDA", "check the GPU of the node, its driver, and what else runs on it"),
    (r"ModuleNotFoundError|ImportError", "build the image again: it lacks a package"),
)


def advice(words: str, config: str, weights: str) -> str | None:
    """What to do about last words; None where they are not known here."""
    for pattern, todo in ADVICE:
        if match := re.search(pattern, words):
            return todo.format(config=config, weights=weights, **match.groupdict())
    return None
