from benchmarks.report import goals, peers, readme_rows, table
from benchmarks.run import with_rows
from benchmarks.spread import Spread


def figures(**values: float) -> dict[str, Spread]:
    return {name.replace("__", "."): Spread(value, value, value) for name, value in values.items()}


def test_a_table_is_markdown() -> None:
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_goals_say_whether_they_are_met() -> None:
    text = goals(figures(one__added_ms=2.0, rss__transformer_mb=300.0))
    assert "| ≤ 3.0 ms | 2.0 ms | yes |" in text
    assert "| ≤ 250 MB | 300 MB | **no** |" in text


def test_of_the_peers_those_that_were_measured_are_shown() -> None:
    measured = {"per_second": 12.5, "p50_ms": 80.0, "p99_ms": 99.0, "failures": 0.0}
    found = {f"litserve.32.{name}": Spread(it, it, it) for name, it in measured.items()}
    text = peers({**found, **figures(ready__litserve_s=9.0)})
    assert "| LitServe | 32 | 12.5 | 80 | 99 | 0 | 9.0 | - |" in text
    assert "BentoML" not in text


def test_the_readme_keeps_all_but_its_rows() -> None:
    text = "before\n<!-- numbers -->\nold\n<!-- end -->\nafter"
    rows = readme_rows(figures(one__added_ms=2.0))
    written = with_rows(text, rows)
    assert written.startswith("before\n<!-- numbers -->\n| | |\n")
    assert "| 2.0 ms |\n<!-- end -->\nafter" in written
    assert "old" not in written
