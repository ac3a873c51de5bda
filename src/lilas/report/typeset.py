"""Tables as data, and as Markdown, LaTeX, CSV and terminal text."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from lilas.display import aligned

# A number that its table's digits change by more than this part is written with digits of its own.
ROUNDING = 0.05


@dataclass(frozen=True)
class Cell:
    """A number of a table.

    Attributes:
        value: The number.
        low: Lower end of its interval; None where there is none.
        high: Upper end.
        name: The name it is traced by; empty where it is made of several.
        beside: Further numbers that belong to it, by what they are called, such as "paper".
        best: Whether it is the best of its column.
    """

    value: float
    low: float | None = None
    high: float | None = None
    name: str = ""
    beside: Mapping[str, float] = field(default_factory=dict)
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A row of a table: what it is (a text per head), and a cell per column or None."""

    heads: Sequence[str]
    cells: Sequence[Cell | None]


@dataclass(frozen=True)
class Table:
    """A table of one dataset.

    Attributes:
        dataset: Its name.
        heads: What the texts of each row are, such as method and compression.
        columns: What the cells of each row are, such as horizons.
        rows: The rows.
        note: What data and models it was, as a footnote; may be empty.
        apart: Whether each column has a unit, and so digits, of its own.
    """

    dataset: str
    heads: Sequence[str]
    columns: Sequence[str]
    rows: Sequence[Row]
    note: str = ""
    apart: bool = False

    def grid(self, bold: str) -> list[list[str]]:
        """Returns the table as text, its heading first, the best cells as `bold`.format(cell)."""
        columns = [[row.cells[i] for row in self.rows] for i in range(len(self.columns))]
        if self.apart:
            numbers = [_digits([cell.value for cell in cells if cell]) for cells in columns]
        else:
            numbers = [_number([c.value for cells in columns for c in cells if c])] * len(columns)
        texts = [[self.dataset, *self.heads[1:], *self.columns]]
        for row in self.rows:
            cells = [_text(*pair) for pair in zip(row.cells, numbers, strict=True)]
            best = [cell is not None and cell.best for cell in row.cells]
            marked = [bold.format(t) if b else t for t, b in zip(cells, best, strict=True)]
            texts.append([*row.heads, *marked])
        return texts


def _number(values: Sequence[float]) -> Callable[[float], str]:
    """Returns how numbers of one table are written: to at least three digits of a typical one."""
    sizes = sorted(abs(value) for value in values if value)
    size = math.floor(math.log10(sizes[len(sizes) // 2])) if sizes else 0
    if not -5 <= size <= 5:
        return "{:.2e}".format
    decimals = max(0, 3 - size) if size >= 0 else max(3, 2 - size)
    return f"{{:.{decimals}f}}".format


def _digits(values: Sequence[float]) -> Callable[[float], str]:
    """Returns how numbers of one column are written: counts whole, else to three digits."""
    if all(float(value).is_integer() for value in values):
        return "{:.0f}".format
    sizes = sorted(abs(value) for value in values if value)
    return f"{{:.{max(0, 2 - math.floor(math.log10(sizes[len(sizes) // 2])))}f}}".format


def _text(cell: Cell | None, number: Callable[[float], str]) -> str:
    if cell is None:
        return "-"
    ends = [] if cell.low is None or cell.high is None else [cell.low, cell.high]
    largest = max([cell.value, *ends], key=abs)
    # Beside a temperature, a density would be rounded to nothing.
    if abs(float(number(largest)) - largest) > ROUNDING * abs(largest):
        number = _number([cell.value, *ends])
    text = number(cell.value)
    if ends:
        text += f" [{', '.join(map(number, ends))}]"
    return text + "".join(
        f", {name.replace('_', ' ')} {value:.3g}" for name, value in cell.beside.items()
    )


def markdown(title: str, tables: Sequence[Table]) -> str:
    """Returns tables under one heading, the best cells in bold, notes below."""
    parts = [f"### {title}"]
    for table in tables:
        head, *rows = table.grid("**{}**")
        lines = ["| " + " | ".join(line) + " |" for line in [head, *rows]]
        parts.append("\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]]))
        parts += [table.note] * bool(table.note)
    return "\n\n".join(parts) + "\n"


def of_dataset(text: str, dataset: str) -> str:
    """Returns what a text of `markdown`s says of one dataset, its notes and those on all with it.

    It is empty where no table is of the dataset.
    """
    before, *sections = re.split(r"^(?=### )", text, flags=re.MULTILINE)
    parts = [part for section in sections if (part := _section_of(section, dataset))]
    return "".join([before, *parts]) if parts else ""


def _section_of(section: str, dataset: str) -> str:
    title, *blocks = section.strip().split("\n\n")
    kept, its, found = [title], True, False
    for block in blocks:
        # A note belongs to the table that it follows.
        if block.startswith("| "):
            its = block.split("|")[1].strip() == dataset
            found |= its
        kept += [block] * its
    return "\n\n".join(kept) + "\n\n" if found else ""


def latex(title: str, tables: Sequence[Table]) -> str:
    """Returns tables in LaTeX, which needs the package booktabs, the best cells in bold."""
    parts = ["% Needs \\usepackage{booktabs}."]
    for table in tables:
        grid = [[_escape(text) for text in row] for row in table.grid("\0{}\0")]
        # Marks survive escaping, braces would not.
        head, *rows = [[re.sub("\0(.*)\0", r"\\textbf{\1}", text) for text in row] for row in grid]
        body = [" & ".join(row) + r" \\" for row in rows]
        parts += [
            r"\begin{table}",
            r"\centering\footnotesize",
            rf"\caption{{{_escape(title)}}}",
            rf"\begin{{tabular}}{{{'l' * len(table.heads)}{'r' * len(table.columns)}}}",
            r"\toprule",
            " & ".join(head) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            *([rf"\par\smallskip\raggedright {_escape(table.note)}"] if table.note else []),
            r"\end{table}",
        ]
    return "\n".join(parts) + "\n"


def csv(tables: Sequence[Table], column: str) -> pd.DataFrame:
    """Returns tables as a tidy one, a row per cell.

    Args:
        tables: The tables.
        column: What the tables' columns are, such as "horizon".

    Returns:
        dataset, the heads, `column`, value, low, high, what stands beside, cell (the name it is
        traced by).
    """
    beside = dict.fromkeys(
        name for t in tables for row in t.rows for cell in row.cells if cell for name in cell.beside
    )
    return pd.DataFrame(
        [
            {
                "dataset": table.dataset,
                **dict(zip(table.heads, row.heads, strict=True)),
                column: name,
                "value": cell.value,
                "low": cell.low,
                "high": cell.high,
                **{key: cell.beside.get(key) for key in beside},
                "cell": cell.name,
            }
            for table in tables
            for row in table.rows
            for name, cell in zip(table.columns, row.cells, strict=True)
            if cell
        ]
    )


def terminal(text: str) -> str:
    """Returns a section of `markdown` for the terminal: columns aligned, the best with a star."""
    blocks = text.strip().removeprefix("### ").split("\n\n")
    return "\n\n".join(_columns(b) if b.startswith("| ") else b for b in blocks) + "\n"


def _columns(block: str) -> str:
    rows = [
        [cell.strip().removeprefix("**").replace("**", "*") for cell in line.strip("|").split("|")]
        for line in block.splitlines()
        if not line.startswith("|---")
    ]
    # A star hangs over, so that digits stand below digits.
    rows = [[row[0], *(c if c.endswith("*") else f"{c} " for c in row[1:])] for row in rows]
    return "\n".join(aligned(rows))


_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    **{c: f"\\{c}" for c in "&%$#_{}"},
}


def _escape(text: str) -> str:
    text = re.sub(r"(?<=\d)-(?=\d)|^-$", "--", text)
    return re.sub(r"[\\~^<>&%$#_{}]", lambda found: _SPECIAL[found[0]], text)
