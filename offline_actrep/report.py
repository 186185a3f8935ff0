"""Results into words: one page that needs nothing beside itself, and tables for other places.

The page carries its style and its pictures inside, loads nothing and holds no date, so the same
results give the same bytes.
"""

import base64
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import jinja2
from rich.table import Table as TerminalTable
from rich.text import Text

_PNG = b"\x89PNG\r\n\x1a\n"
_NUMBER = re.compile(r"[-+\u2212]?(\d[\d,]*\.?\d*|\.\d+|inf)(e[-+]?\d+)?( ?%| \[[^\]]*\]| ± .*)?")
_NOTHING = ("", "-", "nan")
# An underscore inside a word is no mark in Markdown, so names like `cql_alpha` stay readable.
_MARKDOWN = re.compile(r"[\\|*`<]|(?<!\w)_|_(?!\w)")


@dataclass(frozen=True)
class Table:
    """Text in rows and columns.

    Raises:
        ValueError: a row that is longer or shorter than the columns.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""

    def __post_init__(self) -> None:
        for place, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"row {place} of the table {self.caption!r} has {len(row)} cells, "
                    f"its {len(self.columns)} columns are {', '.join(self.columns)}"
                )

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers only, and are set flush right."""
        return tuple(
            any(cell not in _NOTHING for cell in cells)
            and all(cell in _NOTHING or _NUMBER.fullmatch(cell) for cell in cells)
            for cells in ([row[i] for row in self.rows] for i in range(len(self.columns)))
        )


@dataclass(frozen=True)
class FigureFile:
    """A PNG on disk and what it shows; the caption is also read out to who cannot see it."""

    path: Path
    caption: str

    @property
    def data_uri(self) -> str:
        """The picture itself, as an address.

        Raises:
            ValueError: the file is missing or is no PNG.
        """
        if not self.path.is_file():
            raise ValueError(f"figure {self.path} does not exist; draw it before the report")
        content = self.path.read_bytes()
        if not content.startswith(_PNG):
            raise ValueError(f"figure {self.path} is not a PNG: it begins with {content[:8]!r}")
        return f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"


@dataclass(frozen=True)
class Section:
    """A chapter of the page: its paragraphs, then its tables, then its figures.

    Attributes:
        text: plain text; an empty line begins a new paragraph.
    """

    title: str
    text: str
    tables: Sequence[Table] = ()
    figures: Sequence[FigureFile] = ()

    @property
    def paragraphs(self) -> tuple[str, ...]:
        """The text's paragraphs, none of them empty."""
        return tuple(part.strip() for part in re.split(r"\n\s*\n", self.text) if part.strip())


def write_report(
    path: Path,
    *,
    title: str,
    subtitle: str,
    sections: Sequence[Section],
    provenance: Mapping[str, str],
) -> Path:
    """Writes one self-contained HTML page, whole or not at all.

    Args:
        provenance: what the results were made from (versions, seeds, hashes): the last part.

    Raises:
        ValueError: a figure that is missing or is no PNG.
    """
    source = resources.files("offline_actrep").joinpath("report.html.jinja").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string(source).render(
        title=title, subtitle=subtitle, sections=sections, provenance=provenance
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(page.encode("utf-8"))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def render_table(table: Table) -> TerminalTable:
    """For the terminal; square brackets in cells are text, not rich's markup."""
    drawn = TerminalTable(title=Text(table.caption) if table.caption else None)
    for column, numeric in zip(table.columns, table.numeric, strict=True):
        drawn.add_column(Text(column), justify="right" if numeric else "left")
    for row in table.rows:
        drawn.add_row(*(Text(cell) for cell in row))
    return drawn


def markdown_table(table: Table) -> str:
    """GitHub's Markdown, the caption in a line above; cells show as they are written."""
    cells = [[_escape(cell) for cell in row] for row in (table.columns, *table.rows)]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(table.columns))]
    rules = [
        "-" * (width - 1) + ":" if numeric else "-" * width
        for width, numeric in zip(widths, table.numeric, strict=True)
    ]
    lines = [
        " | ".join(_pad(*cell) for cell in zip(row, widths, table.numeric, strict=True))
        for row in (cells[0], rules, *cells[1:])
    ]
    caption = [_escape(table.caption), ""] if table.caption else []
    return "\n".join([*caption, *(f"| {line} |" for line in lines)]) + "\n"


def _escape(text: str) -> str:
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(text.split()))


def _pad(cell: str, width: int, numeric: bool) -> str:
    return cell.rjust(width) if numeric else cell.ljust(width)
