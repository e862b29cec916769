"""What a PromQL expression asks for. No parser: it knows the forms that our expressions have."""

import re
from dataclasses import dataclass

WORDS = {"and", "or", "unless", "offset", "bool", "by", "without", "on", "ignoring", "group_left"}
_STRING = r'"(?:[^"\\]|\\.)*"'
_SELECTOR = re.compile(rf"([a-zA-Z_:][\w:]*)\s*\{{((?:{_STRING}|[^\"}}])*)\}}")
_MATCHER = re.compile(rf"(\w+)\s*(=~|!~|!=|=)\s*({_STRING})")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_NAME = re.compile(r"(?<![\w.])([a-zA-Z_:][\w:]*)(?![\w:])(?!\s*\()")


@dataclass(frozen=True)
class Matcher:
    """One condition on a label, such as `status="5xx"`."""

    label: str
    operator: str
    value: str

    def holds(self, value: str) -> bool:
        """Whether a series whose label has this value (empty: has none) is asked for."""
        if self.operator in ("=", "!="):
            same = value == self.value
        else:
            same = re.fullmatch(self.value, value) is not None
        return same == (self.operator[0] == "=")

    def alternatives(self) -> list[str]:
        """The parts of a pattern between its outer bars; a plain value is its own part."""
        return re.split(r"\|(?![^(]*\))", self.value)


@dataclass(frozen=True)
class Selector:
    """A metric and the conditions on its labels."""

    metric: str
    matchers: tuple[Matcher, ...] = ()


def selectors(expression: str) -> list[Selector]:
    """Every metric that is named, with its conditions."""
    found = [
        Selector(name, tuple(Matcher(a, b, c[1:-1]) for a, b, c in _MATCHER.findall(inside)))
        for name, inside in _SELECTOR.findall(expression)
    ]
    return found + [
        Selector(name) for name in _NAME.findall(_bare(expression)) if name not in WORDS
    ]


def grouped_by(expression: str) -> set[str]:
    """Every label that series are grouped or matched by."""
    clauses = _GROUPING.findall(_SELECTOR.sub(" ", expression))
    return {label for clause in clauses for label in re.findall(r"\w+", clause)}


def _bare(expression: str) -> str:
    """The expression without selectors, strings, ranges and groupings."""
    for part in (_SELECTOR, re.compile(_STRING), re.compile(r"\[[^\]]*\]"), _GROUPING):
        expression = part.sub(" ", expression)
    return expression
