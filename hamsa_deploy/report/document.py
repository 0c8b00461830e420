"""A report as plain values, which is what an HTML report carries in it, so that another command can add to it.

format, version   what this is
bundle            folder, manifest, and the SHA-256 of manifest.json: which bundle the report is of
sections          "parity" (hamsa-parity) and "bench" (hamsa-bench), as far as the commands have run
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import MANIFEST

FORMAT, VERSION = "hamsa-deploy report", 1
PARITY, BENCH = "parity", "bench"
COMMANDS = {PARITY: "hamsa-parity", BENCH: "hamsa-bench"}

Document = dict[str, Any]
Section = Mapping[str, Any]


def bundle_facts(folder: Path) -> dict[str, Any]:
    """Which bundle this is.

    Raises:
        InputError: it has no manifest that can be read.
    """
    try:
        data = (folder / MANIFEST).read_bytes()
        manifest = json.loads(data)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: its manifest cannot be read ({error})", expected="a bundle") from error
    return {"folder": str(folder), "manifest_sha256": hashlib.sha256(data).hexdigest(), "manifest": manifest}


def document_of(bundle: Mapping[str, Any] | None, sections: Mapping[str, Section]) -> Document:
    """A report of a bundle, or of a comparison whose bundle is gone."""
    return {"format": FORMAT, "version": VERSION, "bundle": bundle, "sections": dict(sections)}


def title_of(document: Document) -> str:
    """ "hamsa_nano for openvino, int8"."""
    if document["bundle"] is None:
        return f"A bundle in {document['sections'][PARITY]['precision'] or 'no known precision'}"
    manifest = document["bundle"]["manifest"]
    return f"{manifest['name']} for {manifest['target']}, {manifest['precision']}"


def verdict_of(document: Document) -> tuple[str, list[str]]:
    """ "passed", "failed" or "not compared", and why: one sentence or several."""
    parity = document["sections"].get(PARITY)
    if parity is None:
        return "not compared", [
            "hamsa-parity BUNDLE --report FILE.html, with this file, compares it with its reference"
        ]
    return parity["verdict"], parity["sentences"]
