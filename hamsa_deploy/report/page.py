"""The HTML file: one page with everything in it, also the document that it was made from.

A content security policy forbids whatever could come from a bundle's names to do harm: no script runs, nothing is
fetched; pictures are data URIs, and the one style sheet is known by its hash. The document is in a script element of a
type that browsers do not run.
"""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
from importlib.resources import files
from typing import Any

from hamsa_deploy.report.bench_html import bench_part
from hamsa_deploy.report.document import FORMAT, VERSION, Document, title_of, verdict_of
from hamsa_deploy.report.markup import Markup, joined, tag
from hamsa_deploy.report.parity_html import parity_parts
from hamsa_deploy.report.precision_html import precision_part
from hamsa_deploy.report.provenance_html import head_facts, provenance_part
from hamsa_deploy.report.svg import style as colours

DATA = "hamsa-report"  # id of the element that holds the document
SYMBOLS = {"passed": ("\N{CHECK MARK} PASSED", "passed"), "failed": ("\N{BALLOT X} FAILED", "failed")}
NOT_COMPARED = ("? NOT COMPARED", "open")


def html_from_document(document: Document) -> str:
    """The whole file.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: the document is not what this version of the package makes.
    """
    style = colours() + files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(style)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{verdict_of(document)[0]}: {title_of(document)}"),
        tag("style", Markup(style)),
    )
    body = tag("body", _header(document), tag("main", *_parts(document)), _footer(), _data(document))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def document_in(text: str) -> Document | None:
    """The document of a report; None where the text is no report of this format and version."""
    finder = _Finder()
    finder.feed(text)
    try:
        document: Any = json.loads("".join(finder.found))
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or (document.get("format"), document.get("version")) != (FORMAT, VERSION):
        return None
    return document


class _Finder(html.parser.HTMLParser):
    """Collects the content of the element with the document."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "script" and dict(attrs).get("id") == DATA

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found.append(data)


def _policy(style: str) -> str:
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"


def _data(document: Document) -> Markup:
    """`<` as an escape of JSON's own: no text in it can end the element."""
    text = json.dumps(document, allow_nan=False).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return tag("script", Markup(text), type="application/json", id=DATA)


def _header(document: Document) -> Markup:
    word, sentences = verdict_of(document)
    text, kind = SYMBOLS.get(word, NOT_COMPARED)
    why = tag("ul", *(tag("li", sentence) for sentence in sentences))
    way_out = document["sections"].get("parity", {}).get("way_out")
    fix = [tag("p", tag("strong", "Try "), way_out, class_="quiet")] if way_out else []
    return tag(
        "header",
        tag("h1", title_of(document)),
        tag("div", tag("b", text), tag("div", why, *fix), class_=f"verdict {kind}"),
        head_facts(document),
    )


def _parts(document: Document) -> list[Markup]:
    return [
        *parity_parts(document),
        precision_part(document),
        bench_part(document),
        provenance_part(document),
    ]


def _footer() -> Markup:
    text = "One file, with everything in it: no network, no script. The data are in it as JSON, in the element "
    return tag("footer", joined(text, tag("code", DATA), "."))
