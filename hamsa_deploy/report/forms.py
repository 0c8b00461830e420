"""The forms of a report, each with the suffix of its files: one line each."""

from __future__ import annotations

from collections.abc import Callable

from hamsa_deploy.report.document import Document
from hamsa_deploy.report.page import html_from_document

FORMS: dict[str, Callable[[Document], str]] = {
    ".html": html_from_document,
}
