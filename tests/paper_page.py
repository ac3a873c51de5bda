"""What docs/paper.md says of the paper's tables, figures and claims: rules, files, sections."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "paper.md"
# The files of a `tables/NAME.*` and of a `figures/NAME.*`.
ENDINGS = {"tables": ("csv", "md", "tex"), "figures": ("png", "pdf")}


def rows() -> dict[str, list[str]]:
    """The other cells of each table, figure and claim of the paper, by its name."""
    text = PAGE.read_text(encoding="utf-8").split("## The study")[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    return {row[0]: row[1:] for row in cells if row and re.match(r"Table|Figure|\d ", row[0])}


def files(row: list[str]) -> list[str]:
    """Patterns of the files of a study's results that a row names, one for each ending."""
    found = []
    for name in re.findall(r"`((?:tables|figures|DATASET)/[^`]+)`", " ".join(row)):
        stem, *several = re.split(r"\.[*{]", name)
        pattern = re.sub("[A-Z]{4,}", "*", stem)
        endings = ENDINGS[name.split("/")[0]] if several else []
        found += [f"{pattern}.{ending}" for ending in endings] or [pattern]
    return found
