import io
import json
import re
from pathlib import Path

from rich.console import Console

from ctscan.doctor.finding import Outcome, Remark, failed, found, note
from ctscan.doctor.report import Lines, as_json
from ctscan.doctor.walk import STEPS, Verdict

LONG = "a sentence that goes on " * 8
FINDINGS = [
    ("API server", found("Kubernetes v1")),
    ("pods", found("0 of 1", [failed(f"[red]no image[/red] {LONG}", "check the tag"), note("x")])),
    ("REST", found("no address yet", [Remark(Outcome.NOT_TRIED, "")])),
]
END = Verdict(1, f"not well: pods: {LONG}")


def shown(**console: object) -> str:
    text = io.StringIO()
    lines = Lines(Console(file=text, **console))  # type: ignore[arg-type]
    for name, finding in FINDINGS:
        lines.show(name, finding)
    lines.end(END)
    return text.getvalue()


def test_a_pipe_gets_one_line_for_each_thing_said() -> None:
    assert shown(width=60).splitlines() == [
        "ok         API server        Kubernetes v1",
        "FAILED     pods              0 of 1",
        f"{' ' * 29}- [red]no image[/red] {LONG}",
        f"{' ' * 29}  → check the tag",
        f"{' ' * 29}- x",
        "not tried  REST              no address yet",
        END.line,
    ]


def test_a_terminal_wraps_below_the_text_and_colours_it() -> None:
    text = shown(width=80, force_terminal=True, color_system="standard")
    assert "\x1b[1;31mFAILED" in text
    plain = shown(width=80, force_terminal=True, color_system=None).splitlines()
    assert max(len(line) for line in plain) <= 80
    start = next(index for index, line in enumerate(plain) if "- [red]no image" in line)
    assert plain[start + 1].startswith(" " * 31 + "sentence")


def test_json_has_every_step_and_the_verdict() -> None:
    whole = json.loads(as_json(FINDINGS, END))
    assert (whole["status"], whole["verdict"]) == (1, END.line)
    assert [it["outcome"] for it in whole["steps"]] == ["ok", "FAILED", "not tried"]
    assert whole["steps"][1]["remarks"][0]["todo"] == "check the tag"
    assert whole["steps"][2]["remarks"] == []


def test_the_page_names_every_step_and_every_outcome() -> None:
    page = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text(encoding="utf-8")
    table = page[page.index("## What it looks at") : page.index("## Rights")]
    rows = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)[2:]
    assert [name for row in rows for name in row.split(", ")] == list(STEPS)
    assert [it for it in Outcome if f"`{it}`" not in page] == []
