"""What hamsa-bench measured, as HTML."""

from __future__ import annotations

from hamsa_deploy.report.document import Document
from hamsa_deploy.report.markup import Markup, tag

TITLE = "Speed"


def bench_part(document: Document) -> Markup:
    """Not measured yet."""
    command = tag("code", "hamsa-bench BUNDLE --peer deit_s --report FILE.html")
    line = tag("p", "Not in this report yet: latency, and the peers beside it. ", command, " adds it.", class_="empty")
    return tag("section", tag("h2", TITLE), line)
