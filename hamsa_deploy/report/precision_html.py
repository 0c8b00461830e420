"""What each layer computes in, as HTML."""

from __future__ import annotations

from hamsa_deploy.report.document import Document
from hamsa_deploy.report.markup import Markup, tag


def precision_part(document: Document) -> Markup:
    """Not known yet."""
    return tag("section", tag("h2", "Precision of the layers"))
