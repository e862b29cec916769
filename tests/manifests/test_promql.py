import pytest

from tests.manifests.promql import Matcher, Selector, grouped_by, selectors


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("up", ["up"]),
        ('sum by (a) (rate(x_total{b="c"}[5m]))', ["x_total"]),
        ("0.5 * sum(abs(a:b:c - d offset 1d))", ["a:b:c", "d"]),
        ("x / on (n) group_left () (y > 0)", ["x", "y"]),
        ("a and on (n) b or 0 * c unless on (n) d", ["a", "b", "c", "d"]),
        (
            'histogram_quantile(0.99, sum by (le) (rate(h_bucket{p=~"/a|/b.*:(c|d)"}[1m])))',
            ["h_bucket"],
        ),
    ],
)
def test_every_metric_is_found_and_nothing_else(expression: str, names: list[str]) -> None:
    assert sorted(item.metric for item in selectors(expression)) == sorted(names)


def test_conditions_are_read() -> None:
    (found,) = selectors('rate(x{a="b", c=~"d|e.*:(f|g)", h!="i"}[5m])')
    assert found == Selector(
        "x", (Matcher("a", "=", "b"), Matcher("c", "=~", "d|e.*:(f|g)"), Matcher("h", "!=", "i"))
    )
    assert found.matchers[1].alternatives() == ["d", "e.*:(f|g)"]


@pytest.mark.parametrize(
    ("matcher", "value", "holds"),
    [
        (Matcher("a", "=", "b"), "b", True),
        (Matcher("a", "!=", "b"), "b", False),
        (Matcher("a", "=~", "b|c"), "c", True),
        (Matcher("a", "=~", "b|c"), "cc", False),
        (Matcher("a", "!~", "b|c"), "", True),
    ],
)
def test_a_condition_holds_as_in_prometheus(matcher: Matcher, value: str, holds: bool) -> None:
    assert matcher.holds(value) == holds


def test_labels_of_groupings_are_found() -> None:
    assert grouped_by('sum by (a, b) (x{c="by (d)"}) / on (e) group_left (f) y') == set("abef")
