"""hamsa-parity --report: what is written, when, and over what."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hamsa_deploy.cli.bench import main as bench
from hamsa_deploy.cli.parity import main
from hamsa_deploy.parity.agreement import Agreement
from hamsa_deploy.report.page import document_in
from hamsa_deploy.samples import FOLDER
from hamsa_runtime.errors import ParityError

from ..bench.conftest import tiny_bundle
from ..report.browser import opened
from ..runtime.tiny_bundles import MakeBundle
from .conftest import Export

__all__ = ["tiny_bundle"]

Captured = pytest.CaptureFixture[str]
PHOTOS = FOLDER / "photos"


def test_the_browser_shows_what_the_terminal_says(exported: Export, tmp_path: Path, capsys: Captured) -> None:
    page = tmp_path / "report.html"
    assert main([str(exported.bundle), "--report", str(page)]) == 0
    terminal = " ".join(capsys.readouterr().out.split())
    sentence = re.findall("PASSED (.*)", terminal)[0]
    shown = opened(page, tmp_path / "profile")
    assert "PASSED</b>" in shown
    assert f"<li>{sentence}</li>" in shown
    assert "hamsa_nano for openvino, fp32" in shown
    assert shown.count("<img") == shown.count('src="data:image/png;base64,') == 12  # six for each output
    assert f"--report {page}" in shown
    assert "hamsa_nano.safetensors" in shown


def test_a_bundle_that_fails_has_a_report_too(exported: Export, tmp_path: Path, capsys: Captured) -> None:
    page, summary, junit = (tmp_path / name for name in ("report.html", "report.md", "report.xml"))
    reports = [option for path in (page, summary, junit) for option in ("--report", str(path))]
    options = [*reports, "--data", str(PHOTOS), "--quiet"]
    assert main([str(exported.bundle), "--min-snr", "200", *options]) == 3
    text = page.read_text()
    assert "FAILED</b>" in text
    assert re.search(r"<li>logits: signal to noise [\d.]+ &lt; 200 dB</li>", text)
    assert "photos/flower_0" in text
    assert text.count("data:image/png") > 2
    assert "**❌ FAILED** logits: signal to noise" in summary.read_text()
    assert '<failure message="logits: signal to noise' in junit.read_text()


def test_outputs_that_are_nan_have_a_report_too(
    exported: Export, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hamsa_deploy.parity import comparison

    def broken(*arguments: object) -> Agreement:
        raise ParityError("output 'logits': 3 of 9 values are NaN", expected="finite values", cause="overflow")

    monkeypatch.setattr(comparison, "agreement_of", broken)
    page = tmp_path / "report.html"
    assert main([str(exported.bundle), "--report", str(page), "--quiet", "--data", str(PHOTOS)]) == 3
    text = page.read_text()
    assert "FAILED</b>" in text
    assert "3 of 9 values are NaN" in text
    assert "Likely cause: overflow" in text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("report.pdf", "does not end in one of .html (people), .md"),
        ("report.htm", "did you mean '.html'?"),
        ("nowhere/report.html", "cannot be written"),
        ("mine.html", "not a report of this version of hamsa-deploy; it is not replaced"),
    ],
)
def test_places_that_are_refused_before_the_work(
    exported: Export, tmp_path: Path, name: str, message: str, capsys: Captured
) -> None:
    (tmp_path / "mine.html").write_text("mine")
    assert main([str(exported.bundle), "--report", str(tmp_path / name)]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert "load PyTorch" not in shown
    assert (tmp_path / "mine.html").read_text() == "mine"


def test_a_second_run_replaces_its_own_section(exported: Export, tmp_path: Path, capsys: Captured) -> None:
    page = tmp_path / "report.html"
    options = ["--data", str(PHOTOS), "--report", str(page), "--quiet"]
    assert main([str(exported.bundle), *options]) == 0
    assert main([str(exported.bundle), *options, "--max-error", "1e-9"]) == 3
    document = document_in(page.read_text())
    assert document is not None
    assert document["sections"]["parity"]["verdict"] == "failed"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_both_commands_fill_one_report(tiny_bundle: MakeBundle, tmp_path: Path, capsys: Captured) -> None:
    bundle, page = str(tiny_bundle("tiny")), tmp_path / "report.html"
    other = str(tiny_bundle("other", "openvino"))
    measuring = [bundle, other, "--seconds", "0.1", "--threads", "1", "--quiet", "--report", str(page)]
    comparing = [bundle, "--against", other, "--data", str(PHOTOS), "--quiet", "--report", str(page)]
    assert bench(measuring) == 0
    assert "NOT COMPARED" in page.read_text()
    assert main(comparing) == 0
    text = page.read_text()
    assert "PASSED</b>" in text
    assert "against itself took" in text
    assert bench(measuring) == 0
    assert "PASSED</b>" in page.read_text()
    # Of another bundle: neither command replaces it.
    assert bench([other, "--report", str(page)]) == 2
    assert "a report of another bundle: tiny for onnx, fp32; it is not replaced" in capsys.readouterr().err


def test_a_report_of_an_earlier_export_is_replaced_as_a_whole(
    tiny_bundle: MakeBundle, tmp_path: Path, capsys: Captured
) -> None:
    bundle, page = tiny_bundle("tiny"), tmp_path / "report.html"
    assert main([str(bundle), "--against", str(bundle), "--data", str(PHOTOS), "--report", str(page), "--quiet"]) == 0
    (bundle / "manifest.json").write_text((bundle / "manifest.json").read_text() + "\n")
    assert bench([str(bundle), "--seconds", "0.1", "--threads", "1", "--report", str(page)]) == 0
    assert "about an earlier export of this bundle; nothing of it is kept" in " ".join(capsys.readouterr().err.split())
    assert "NOT COMPARED" in page.read_text()
