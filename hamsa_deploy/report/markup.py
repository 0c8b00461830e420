"""HTML from Python, in which text is text: whatever is not `Markup` already is escaped, wherever it stands."""

from __future__ import annotations

import html
import re
from typing import TypeAlias

# What XML 1.0 has no way to write, and what no encoding does: control characters and halves of surrogate pairs. And
# what turns the direction of a line, so that it reads otherwise than it is.
_NOT_TEXT = re.compile(
    "[^\t\n\r\u0020-\u007e\u00a0-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
EMPTY = frozenset({"meta", "img", "link", "br"})


class Markup(str):
    """HTML that was made here, of escaped parts."""


Child: TypeAlias = "str | Markup | None"


def printable(text: str) -> str:
    """The text, with a replacement character for each one that HTML and XML cannot hold."""
    return _NOT_TEXT.sub(REPLACEMENT, text)


def escaped(text: str) -> Markup:
    """For an element's content or an attribute's value; Markup stays as it is."""
    return text if isinstance(text, Markup) else Markup(html.escape(printable(text)))


def tag(name: str, /, *children: Child, **attributes: str | None) -> Markup:
    """An element. `class_` stands for class, an underline within a name for a hyphen; None is left out."""
    values = [
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    ]
    start = f"<{name}{''.join(values)}>"
    return Markup(start if name in EMPTY else f"{start}{joined(*children)}</{name}>")


def joined(*children: Child) -> Markup:
    """Several after one another."""
    return Markup("".join(escaped(child) for child in children if child is not None))


def table(head: list[Child], rows: list[list[Child]], *, stacks: bool = False, kind: str = "") -> Markup:
    """The first cell of each row is its heading.

    Args:
        stacks: on a narrow screen there is a line for each cell, with the name of its column; other tables scroll, in
            a box of their own.
        kind: what the style sheet knows it by.
    """
    top = tag("tr", *(tag("th", cell, scope="col") for cell in head))
    columns = [column if stacks else None for column in head[1:]]
    body = [tag("tr", tag("th", row[0], scope="row"), *map(_cell, row[1:], columns)) for row in rows]
    classes = " ".join(filter(None, [kind, "stacks" if stacks else ""]))
    inner = tag("table", tag("thead", top), tag("tbody", *body), class_=classes or None)
    return tag("div", inner, class_="scroll")


def _cell(content: Child, column: Child) -> Markup:
    return tag("td", content, data_column=column or None)


def facts(rows: list[tuple[str, Child]]) -> Markup:
    """Labels and values; those without a value are left out."""
    parts = [part for label, value in rows if value for part in (tag("dt", label), tag("dd", value))]
    return tag("dl", *parts)


def figure(drawing: Markup, caption: str) -> Markup:
    """A drawing with what it shows below it; on a narrow screen it scrolls instead of becoming too small to read."""
    return tag("figure", tag("div", drawing, class_="scroll figure"), tag("figcaption", caption))


def side_by_side(*figures: Markup) -> Markup:
    """In columns, as many as there is room for."""
    return tag("div", *figures, class_="columns")
