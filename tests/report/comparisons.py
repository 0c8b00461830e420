"""Comparisons of a few made-up outputs, as sections of a report, and a bundle's facts."""

from __future__ import annotations

from typing import Any

import numpy as np

from hamsa_deploy.parity.comparison import compare
from hamsa_deploy.parity.layers import Divergence, LayerReport, LayerRow
from hamsa_deploy.parity.metrics import Thresholds
from hamsa_deploy.parity.verdict import ParityReport
from hamsa_deploy.report.document import Document, document_of
from hamsa_deploy.report.parity_section import section_from_report

# What would end an element, an attribute or a script, start one, or is no character of XML.
HOSTILE = "</script><img src=x onerror=alert(1)>\"'&<!--\x00\x1b\udcff]]>|`"
EXPECTED = np.array([[4.0, 0, 1], [0, 4, 1], [0, 2, 1], [4, 0, 1]])
FOUND = EXPECTED + np.array([[0.2, 0, 0], [0, 0.1, 0], [0, 0, 3], [0.01, 0, 0]])
STRICT = Thresholds(max_relative_error=0.06, cosine=0.99, top1=0.7)
GENEROUS = Thresholds(max_relative_error=2, cosine=0.0, top1=0.5)
PROVENANCE = {"command": "", "written": "2026-01-02 03:04:05 UTC", "machine": "a processor", "versions": {"torch": "2"}}


def report(thresholds: Thresholds = GENEROUS) -> ParityReport:
    """Four images; the class of the third has changed, with an error of 1 of how far values are apart, 3."""
    return compare({"logits": FOUND}, {"logits": EXPECTED}, thresholds, "a model", [0, 1, 1, 0])


def layers(passed: bool = True) -> LayerReport:
    """Two layers, of which the second may be infinitely wrong."""
    own = 1e-7 if passed else float("inf")
    rows = (
        LayerRow("stages.0", "a", "node_a", "MatMul", "model.py:1", 1e-7, 1e-7, 1e-5, 0),
        LayerRow("head", "b", "node_b", "Gemm", "model.py:2", own, own, 1e-5, 1),
    )
    found = (
        None if passed else Divergence("head", "node_b", "Gemm", "model.py:2", own, own, 1e-5, 1e-7, 1, "file", "no")
    )
    return LayerReport("a model in float64", "int8", 2, rows, {"stages.1": "folded"}, found, ("by hand",))


def section(thresholds: Thresholds = GENEROUS, **options: Any) -> dict[str, Any]:
    return {**PROVENANCE, **section_from_report(report(thresholds), **options)}


def facts(name: str = "nano", digest: str = "0" * 64) -> dict[str, Any]:
    """Of a bundle, with what a report reads from its manifest."""
    manifest: dict[str, Any] = {
        "name": name,
        "target": "onnx",
        "precision": "int8",
        "model": {"reference": name, "config": {}, "weights": None, "parameters": 12},
        "files": {"model.onnx": {"sha256": "a" * 64, "bytes": 7}},
        "versions": {"torch": "2"},
        "options": {},
        "calibration": None,
        "parity": None,
        "execution": None,
        "engine": None,
        "islands": {},
    }
    return {"folder": f"out/{name}", "manifest_sha256": digest, "manifest": manifest}


def document(**options: Any) -> Document:
    return document_of(facts(), {"parity": section(**options)})
