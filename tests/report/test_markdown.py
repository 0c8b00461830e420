"""Markdown: the verdict and the limits first, and text that stays text."""

from __future__ import annotations

from hamsa_deploy.report.document import document_of
from hamsa_deploy.report.markdown import markdown_from_document, plain

from .comparisons import HOSTILE, STRICT, document, facts, layers, report, section


def test_the_verdict_and_the_limits() -> None:
    text = markdown_from_document(document(thresholds=STRICT, layers=layers(passed=False)))
    lines = text.splitlines()
    assert lines[0] == "<!-- hamsa-deploy report -->"
    assert lines[2] == "## nano for onnx, int8"
    assert lines[4].startswith("**❌ FAILED** logits: max relative error 1 ")
    assert "| logits: max relative error | 1.0e+00 | at most 0.06 | 1667% | ❌ outside |" in lines
    assert "| logits: top-1 agreement | 75.00 % | at least 0.7 | 83% | ✅ kept |" in lines
    assert "**First divergence** head: node&#95;b (Gemm), model.py:2. no" in lines
    assert f"| 2 | 1.0e+00 | {report().agreements['logits'].cosine[2]:.6f} | 1 | 2 |" in lines
    assert "**✅ PASSED** the bundle agrees with its reference" in markdown_from_document(document())


def test_names_are_text_whatever_they_hold() -> None:
    found = section(labels=[HOSTILE] * 3) | {"command": HOSTILE}
    for row in found["worst"]["logits"]:
        row["name"] = HOSTILE + "\n| a | b |"
    text = markdown_from_document(document_of(facts(name=HOSTILE), {"parity": found}))
    text.encode()
    assert "<img" not in text
    assert "\x00" not in text
    rows = [line for line in text.splitlines() if line.startswith("| &#60;/script")]
    assert len(rows) == 4
    assert {row.count("|") for row in rows} == {6}


def test_plain_text_stays_readable() -> None:
    assert plain("a plain name.jpg (2), 50 %") == "a plain name.jpg (2), 50 %"
    assert plain("*x*\n`y`") == "&#42;x&#42; &#96;y&#96;"
