"""Builds the tables of the page."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

import msgspec

from bulkpresign.markup import Child, element, percent


class Column(msgspec.Struct, frozen=True):
    """A column: its title, and the class of its cells.

    It is `text`, `range` (a text in one line), `number`, or `bars` for numbers with bars. `wide` is left out on phones.
    """

    title: str
    style: str = "text"


class Line(msgspec.Struct, frozen=True):
    """A line of a table: the children of each cell, and its class. The first cell is its heading."""

    cells: Sequence[Child | Sequence[Child]]
    style: str = ""


def table(title: str, caption: str, columns: Sequence[Column], lines: Sequence[Line]) -> Element:
    """A section with a table."""
    head = element("tr", *(element("th", column.title, scope="col", class_=column.style) for column in columns))
    return element(
        "section",
        element("h3", title),
        element(
            "table",
            element("caption", caption),
            element("thead", head),
            element("tbody", *(_line(columns, line) for line in lines)),
        ),
    )


def with_bar(number: str, share: float) -> list[Child]:
    """A number, and a bar for a share from 0 to 1, which readers of the text alone do not need."""
    return [number, element("svg", element("rect", width=percent(share), height="100%"), aria_hidden="true")]


def note(text: str) -> Element:
    """A smaller second line of a cell."""
    return element("small", text)


def _line(columns: Sequence[Column], line: Line) -> Element:
    heading, *others = (([cell] if cell is None or isinstance(cell, str | Element) else cell) for cell in line.cells)
    cells = (element("td", *cell, class_=column.style) for column, cell in zip(columns[1:], others, strict=True))
    return element("tr", element("th", *heading, scope="row", class_=columns[0].style), *cells, class_=line.style)
