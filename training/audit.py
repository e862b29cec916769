"""Tell what is wrong with a folder of labelled images: `python -m training.audit --help`."""

import argparse
import csv
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.progress import track

from training.audit_figures import write_figures
from training.audit_page import page
from training.findings import Findings, examine
from training.giveaways import STATISTICS
from training.samples import LayoutError, find_files, read_samples


def main(arguments: Sequence[str]) -> None:
    """Read all files below `--data` and write the page, its figures and a list to `--out`."""
    given = parse(arguments)
    began = time.monotonic()
    try:
        places = find_files(given.data)
    except LayoutError as error:
        sys.exit(f"audit: {error}")
    samples, unreadable = read_samples(track(places, "reading"))
    if not samples:
        reason = unreadable[0].reason
        sys.exit(f"audit: none of {len(places)} files can be read; of the first: {reason}")
    findings = examine(samples)
    given.out.mkdir(parents=True, exist_ok=True)
    name = given.data.resolve().name
    (given.out / "audit.md").write_text(page(name, findings, unreadable), encoding="utf-8")
    write_figures(findings, given.out)
    write_files(findings, given.out / "files.csv")
    print(f"wrote {given.out / 'audit.md'} in {time.monotonic() - began:.1f} s")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m training.audit")
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with <split>/<class>/ or <class>/"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/audit"), help="default: %(default)s")
    return parser.parse_args(arguments)


def write_files(findings: Findings, target: Path) -> None:
    """One row for each readable file; a group is named by the index of its first file."""
    groups = findings.groups
    head = ("index", "split", "class", "file", "equal", "copies", "alike", "kind", *STATISTICS)
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        for at, sample in enumerate(findings.samples):
            place = sample.place
            first = [
                findings.samples[group[at]].place.index
                for group in (groups.equal, groups.copies, groups.alike)
            ]
            numbers = [f"{getattr(sample.statistics, name):.6g}" for name in STATISTICS]
            row = (place.index, place.split, place.label, place.path.name, *first, sample.kind)
            writer.writerow((*row, *numbers))


if __name__ == "__main__":
    main(sys.argv[1:])
