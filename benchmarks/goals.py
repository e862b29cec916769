"""What is to be reached, and whether it was."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.bare import BATCHES
from benchmarks.spread import Spread

# Against those that only run eager fp32 the goals are those of a machine that could do nine times
# what the script does; on one that cannot, they shrink in proportion.
FULL_HEADROOM = 9.0

Figures = Mapping[str, Spread]


@dataclass(frozen=True)
class Goal:
    """A figure by its name, and the limit it has to keep: at least it, or at most."""

    measure: str
    figure: str
    limit: float
    at_least: bool
    form: str
    by_headroom: bool = False

    def bound_here(self, figures: Figures) -> float:
        """The limit on this machine."""
        if not self.by_headroom:
            return self.limit
        return self.limit * min(1.0, figures["ratio.headroom"].median / FULL_HEADROOM)

    def met(self, figures: Figures) -> bool:
        found, limit = figures[self.figure].median, self.bound_here(figures)
        return found >= limit if self.at_least else found <= limit

    def row(self, figures: Figures) -> tuple[str, str, str, str]:
        """Measure, goal, what was measured and whether it is met, as texts."""
        limit = self.bound_here(figures)
        goal = f"{'≥' if self.at_least else '≤'} {self.form.format(limit)}"
        if self.by_headroom and limit != self.limit:
            goal += f" ({self.form.format(self.limit)} where bound ÷ script ≥ {FULL_HEADROOM:.0f})"
        found = figures[self.figure].text(self.form)
        return self.measure, goal, found, "yes" if self.met(figures) else "**no**"


def least(measure: str, figure: str, limit: float, form: str, *, by_headroom: bool = False) -> Goal:
    return Goal(measure, figure, limit, True, form, by_headroom)


def most(measure: str, figure: str, limit: float, form: str) -> Goal:
    return Goal(measure, figure, limit, False, form)


GOALS = (
    least("`/predict` at 32 connections ÷ bound", "ratio.bound", 0.7, "{:.2f}"),
    least(
        "`/predict` ÷ FastAPI script, 32 connections",
        "ratio.script_32",
        6.0,
        "{:.1f}x",
        by_headroom=True,
    ),
    least(
        "`/predict` ÷ FastAPI script, 1 connection",
        "ratio.script_1",
        3.0,
        "{:.1f}x",
        by_headroom=True,
    ),
    most("p99 at 8 connections ÷ FastAPI script's", "ratio.p99_8", 0.2, "{:.2f}"),
    least(
        "`/predict` ÷ best of the other peers, 32 connections",
        "ratio.best_peer_32",
        4.0,
        "{:.1f}x",
        by_headroom=True,
    ),
    *(
        least(
            f"predictor over gRPC ÷ bare engine, batches of {rows}",
            f"ratio.predictor_{rows}",
            0.9,
            "{:.2f}",
        )
        for rows in BATCHES
    ),
    least("decode path ÷ bare decode and resize", "ratio.decode_path", 0.85, "{:.2f}"),
    most("one client: p50 beyond decode and forward pass", "one.added_ms", 3.0, "{:.1f} ms"),
    most("70 % of capacity, evenly: p99 ÷ p50", "open.even.p99_to_p50", 3.0, "{:.1f}"),
    least("twice the capacity: answered ÷ capacity", "overload.goodput", 0.9, "{:.2f}"),
    most("twice the capacity: p99 of the refusals", "overload.refused_p99_ms", 50.0, "{:.0f} ms"),
    most(
        "20 files beside a slice: its p99 wait, in batches", "bulk.batch_20.buckets", 1.0, "{:.2f}"
    ),
    most("64 rows beside a slice: its p99 wait, in batches", "bulk.v2_64.buckets", 1.0, "{:.2f}"),
    most("predictor ready after", "ready.predictor_s", 6.0, "{:.1f} s"),
    most("transformer ready beyond `import kserve`", "ready.beyond_kserve_s", 2.0, "{:.1f} s"),
    most("resident memory at rest: transformer", "rss.transformer_mb", 250.0, "{:.0f} MB"),
    most("resident memory at rest: predictor", "rss.predictor_mb", 900.0, "{:.0f} MB"),
)


def measured_goals(figures: Figures) -> list[Goal]:
    """Those whose figure was measured: a quick run leaves some out."""
    return [goal for goal in GOALS if goal.figure in figures]
