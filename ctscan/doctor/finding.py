"""What a step of the doctor finds: one sentence, and remarks that say what to do."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Outcome(StrEnum):
    """How a step ended, from best to worst."""

    WELL = "ok"
    NOTE = "note"
    NOT_TRIED = "not tried"
    UNKNOWN = "unknown"
    FAILED = "FAILED"


ORDER = list(Outcome)


class Rank(IntEnum):
    """Which of several failures the verdict names: the least one."""

    FAULT = 0
    # Wrong now, and right by itself after a while, as a rule.
    PASSING = 1
    # It follows from another failure, where there is one.
    CONSEQUENCE = 2


@dataclass(frozen=True)
class Remark:
    """One thing worth saying, and what to do about it."""

    outcome: Outcome
    what: str
    todo: str = ""
    rank: Rank = Rank.FAULT


@dataclass(frozen=True)
class Finding:
    """What one step found."""

    said: str
    remarks: tuple[Remark, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """The worst of the remarks."""
        return max((remark.outcome for remark in self.remarks), key=ORDER.index, default=ORDER[0])


def found(said: str, remarks: Iterable[Remark] = ()) -> Finding:
    """A finding of a sentence and any number of remarks."""
    return Finding(said, tuple(remarks))


def failed(what: str, todo: str, rank: Rank = Rank.FAULT) -> Remark:
    """A remark on what keeps the service from being well."""
    return Remark(Outcome.FAILED, what, todo, rank)


def note(what: str, todo: str = "") -> Remark:
    """A remark on what is good to know and no fault."""
    return Remark(Outcome.NOTE, what, todo)


def unknown(what: str, todo: str) -> Remark:
    """A remark on what could not be seen."""
    return Remark(Outcome.UNKNOWN, what, todo)


def listed(names: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {last} {names[-1]}"


def counted(number: int, noun: str) -> str:
    """`1 pod`, `2 pods`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
