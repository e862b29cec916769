"""How the doctor's findings are shown: lines for people, or one JSON object."""

import json
from collections.abc import Iterable

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ctscan.doctor.finding import Finding, Outcome, Remark
from ctscan.doctor.walk import CANNOT_TELL, NOT_WELL, STEPS, WELL, Verdict

COLOURS = {
    Outcome.WELL: "green",
    Outcome.NOTE: "yellow",
    Outcome.NOT_TRIED: "dim",
    Outcome.UNKNOWN: "magenta",
    Outcome.FAILED: "bold red",
}
VERDICT_COLOURS = {WELL: "bold green", NOT_WELL: "bold red", CANNOT_TELL: "bold magenta"}
OUTCOME_WIDTH = max(len(it) for it in Outcome)
NAME_WIDTH = max(len(it) for it in STEPS)
INDENT = OUTCOME_WIDTH + NAME_WIDTH + 4


class Lines:
    """One step after the other, as they end; coloured and wrapped on a terminal alone."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, name: str, finding: Finding) -> None:
        """A step's line, and what is to be said of it below."""
        style = COLOURS[finding.outcome]
        self._row(
            Text(finding.outcome.ljust(OUTCOME_WIDTH), style),
            Text(name.ljust(NAME_WIDTH), "bold"),
            Text(finding.said),
        )
        for remark in finding.remarks:
            self._remark(remark)

    def end(self, verdict: Verdict) -> None:
        """The verdict, which is one line in a file and a pipe."""
        self._print(Text(verdict.line, VERDICT_COLOURS[verdict.status]))

    def _remark(self, remark: Remark) -> None:
        if remark.what:
            self._below("- ", Text(remark.what, COLOURS[remark.outcome]))
        if remark.todo:
            self._below("  → ", Text(remark.todo))

    def _row(self, *cells: Text) -> None:
        if not self._console.is_terminal:
            self._print(Text("  ").join(cells))
            return
        table = Table.grid(padding=(0, 2, 0, 0))
        for cell in cells[:-1]:
            table.add_column(no_wrap=True, width=cell.cell_len)
        table.add_column(overflow="fold")
        table.add_row(*cells)
        self._print(table)

    def _below(self, mark: str, text: Text) -> None:
        if not self._console.is_terminal:
            self._print(Text(" " * INDENT + mark).append_text(text))
            return
        table = Table.grid()
        table.add_column(no_wrap=True, width=len(mark))
        table.add_column(overflow="fold")
        table.add_row(Text(mark), text)
        self._print(Padding(table, (0, 0, 0, INDENT)))

    def _print(self, shown: Text | Table | Padding) -> None:
        self._console.print(shown, soft_wrap=not self._console.is_terminal, highlight=False)


def as_json(findings: Iterable[tuple[str, Finding]], verdict: Verdict) -> str:
    """Everything as one JSON object."""
    steps = [
        {
            "step": name,
            "outcome": finding.outcome.value,
            "said": finding.said,
            "remarks": [
                {"outcome": remark.outcome.value, "what": remark.what, "todo": remark.todo}
                for remark in finding.remarks
                if remark.what
            ],
        }
        for name, finding in findings
    ]
    whole = {"verdict": verdict.line, "status": verdict.status, "steps": steps}
    return json.dumps(whole, indent=2, ensure_ascii=False)
