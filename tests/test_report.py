"""The page and the tables: what they hold, and that they load nothing."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from offline_actrep import report
from offline_actrep.report import FigureFile, Section, Table

# The smallest picture: one white dot.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEANl9ngAAAAABJRU5ErkJggg=="
)
TABLE = Table(
    columns=("method", "return", "near|share", "note"),
    rows=(
        ("cql_alpha", "6.6 [5.9, 7.3]", "97 %", "a|b *c*"),
        ("td7", "-1,101.5", "-", "_x_ <b>"),
    ),
    caption="Returns & shares",
)


class Page(HTMLParser):
    """Every start tag with its attributes, and all text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return "\n".join(self.words)


def write(folder: Path, name: str = "report.html") -> Path:
    picture = folder / "curve.png"
    picture.write_bytes(PNG)
    sections = [
        Section("Data & log", "1 < 2 <script>alert('x')</script>\n\n\nSecond {{ paragraph }}."),
        Section("Results", "", tables=[TABLE], figures=[FigureFile(picture, 'The "curve"')]),
    ]
    return report.write_report(
        folder / "out" / name,
        title="Maze <1>",
        subtitle="4,096 actions",
        sections=sections,
        provenance={"seed": "0", "log sha-256": "ab" * 32},
    )


def test_the_page_shows_all_text_as_it_is_written(tmp_path: Path) -> None:
    source = write(tmp_path).read_text("utf-8")
    page = Page(source)
    assert "<script" not in source
    for text in (
        "Maze <1>",
        "4,096 actions",
        "1 < 2 <script>alert('x')</script>",
        "Second {{ paragraph }}.",
        *(cell for row in (TABLE.columns, *TABLE.rows) for cell in row),
        "Returns & shares",
        'The "curve"',
        "log sha-256",
        "ab" * 32,
    ):
        assert text in page.words, text
    assert len(page.all("p")) == 3, "the subtitle and two paragraphs"


def test_the_page_loads_nothing(tmp_path: Path) -> None:
    source = write(tmp_path).read_text("utf-8")
    page = Page(source)
    assert "http:" not in source
    assert "https:" not in source
    assert not re.search(r"url\(|@import", source)
    for tag in ("script", "link", "iframe", "object", "embed", "base"):
        assert not page.all(tag)
    loaded = [a[key] for _, a in page.tags for key in ("src", "srcset", "data") if key in a]
    assert loaded
    assert all(str(address).startswith("data:image/png;base64,") for address in loaded)


def test_pictures_are_carried_inside_and_described(tmp_path: Path) -> None:
    (image,) = Page(write(tmp_path).read_text("utf-8")).all("img")
    assert base64.b64decode(str(image["src"]).partition(",")[2]) == PNG
    assert image["alt"] == 'The "curve"'


def test_the_table_of_contents_leads_to_every_section(tmp_path: Path) -> None:
    page = Page(write(tmp_path).read_text("utf-8"))
    links = [str(a["href"]) for a in page.all("a")]
    assert links == ["#section-1", "#section-2", "#provenance"]
    assert [f"#{s['id']}" for s in page.all("section")] == links
    assert [t for t in page.words if t == "Data & log"] == ["Data & log"] * 2


def test_the_page_is_made_for_phones(tmp_path: Path) -> None:
    page = Page(write(tmp_path).read_text("utf-8"))
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all(
        "meta"
    )
    assert {"class": "wide"} in page.all("div"), "a wide table scrolls by itself"
    assert "@media print" in page.text
    (table, _) = page.all("table")
    captions = [a["id"] for a in page.all("div") if a.get("class") == "caption"]
    assert captions == [table["aria-labelledby"]], "the caption stays while its table scrolls"


def test_numbers_are_flush_right(tmp_path: Path) -> None:
    assert TABLE.numeric == (False, True, True, False)
    page = Page(write(tmp_path).read_text("utf-8"))
    assert [a.get("class") for a in page.all("td")][:4] == [None, "number", "number", None]


@pytest.mark.parametrize(
    ("cells", "numeric"),
    [
        (["1", "2.5", "-3e-4", "1,024", ".5"], True),
        (["12 %", "0.5 ± 0.1", "inf", "\u22121"], True),
        (["6.6 [5.9, 7.3]", "nan", "-", ""], True),
        (["-", ""], False),
        ([], False),
        (["2 seeds"], False),
        (["1", "v2"], False),
    ],
)
def test_what_counts_as_a_column_of_numbers(cells: list[str], numeric: bool) -> None:
    assert Table(("x",), [[cell] for cell in cells]).numeric == (numeric,)


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    assert write(tmp_path, "a.html").read_bytes() == write(tmp_path, "b.html").read_bytes()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.html", "b.html"]


def test_a_picture_that_is_missing_or_no_png_is_refused_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    page = tmp_path / "report.html"
    text = tmp_path / "a.png"
    for content, message in ((None, "does not exist"), (b"GIF89a", "is not a PNG")):
        if content is not None:
            text.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            report.write_report(
                page,
                title="t",
                subtitle="s",
                sections=[Section("a", "b", figures=[FigureFile(text, "c")])],
                provenance={},
            )
    assert not page.exists()


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"row 1 of the table 'costs' has 1 cells, its 2 columns"):
        Table(("a", "b"), [("1", "2"), ("3",)], "costs")


def test_markdown_golden() -> None:
    assert report.markdown_table(TABLE) == (
        "Returns & shares\n"
        "\n"
        "| method    |         return | near\\|share | note       |\n"
        "| --------- | -------------: | ----------: | ---------- |\n"
        "| cql_alpha | 6.6 [5.9, 7.3] |        97 % | a\\|b \\*c\\* |\n"
        "| td7       |       -1,101.5 |           - | \\_x\\_ \\<b> |\n"
    )


def test_markdown_without_caption_or_rows() -> None:
    assert report.markdown_table(Table(("a", "b"), [])) == "| a   | b   |\n| --- | --- |\n"


@given(st.lists(st.tuples(st.text(), st.text()), max_size=4))
def test_markdown_has_a_line_a_row_and_as_many_bars(rows: list[tuple[str, str]]) -> None:
    lines = report.markdown_table(Table(("a", "b"), rows)).split("\n")
    assert len(lines) == len(rows) + 3
    for line in lines[:-1]:
        bars = re.findall(r"(\\*)\|", line)
        assert sum(len(slashes) % 2 == 0 for slashes in bars) == 3


def test_the_terminal_shows_cells_as_they_are_written() -> None:
    table = Table(("name", "return"), [("[bold]x", "6.6 [5.9, 7.3]")], "All [red]runs")
    console = Console(width=60, record=True, file=io.StringIO())
    drawn = report.render_table(table)
    console.print(drawn)
    shown = console.export_text()
    for text in ("[bold]x", "6.6 [5.9, 7.3]", "All [red]runs", "name", "return"):
        assert text in shown
    assert [column.justify for column in drawn.columns] == ["left", "right"]
