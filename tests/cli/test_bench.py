"""hamsa-bench: structure of what it writes, never its times."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

from hamsa_deploy.bench.percentiles import FASTER, SLOWER, UNCLEAR
from hamsa_deploy.bench.report import COLUMNS
from hamsa_deploy.cli.bench import counts, main, seconds
from hamsa_deploy.cli.export import main as export
from hamsa_runtime import energy
from hamsa_runtime.energy import Source
from hamsa_runtime.tensorrt.gpu import has_gpu

from ..bench.conftest import tiny_bundle
from ..runtime.tiny_bundles import MakeBundle
from .conftest import USER_MODULE, Export, UserModel

__all__ = ["tiny_bundle"]

Captured = pytest.CaptureFixture[str]


def test_two_bundles_beside_each_other(tiny_bundle: MakeBundle, tmp_path: Path, capsys: Captured) -> None:
    folders = [str(tiny_bundle("first")), str(tiny_bundle("second", "openvino"))]
    table = tmp_path / "bench.csv"
    options = ["--batch", "1,2", "--threads", "1", "--seconds", "0.1", "--csv", str(table)]
    assert main([*folders, *options, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [(each["batch"], each["threads"]) for each in report["tables"]] == [(1, 1), (2, 1)]
    for each in report["tables"]:
        assert each["rounds"] >= 5
        assert each["control"]["q1"] <= each["control"]["median"] <= each["control"]["q3"]
        first, second = each["rows"]
        assert [first["name"], second["name"]] == ["first", "second"]
        assert (first["ratio"], first["verdict"]) == (None, None)
        assert second["verdict"] in (FASTER, SLOWER, UNCLEAR)
        assert second["ratio"]["q1"] <= second["ratio"]["median"] <= second["ratio"]["q3"]
        for row in each["rows"]:
            assert row["latency"]["p50"] > 0
            assert row["images_per_second"] > 0
            assert 0 < row["load"]["ready"] < row["load"]["first_result"]
            assert row["load"]["memory"] > 0
            assert row["bytes"] > 0
    lines = list(csv.DictReader(table.read_text().splitlines()))
    assert [(line["bundle"], line["batch"]) for line in lines] == [
        ("first", "1"), ("second", "1"), ("first", "2"), ("second", "2"),
    ]  # fmt: skip
    assert list(lines[0]) == COLUMNS
    assert float(lines[1]["ratio"]) == pytest.approx(report["tables"][0]["rows"][1]["ratio"]["median"], rel=1e-5)


@pytest.mark.slow  # the command in docs/bench.md has a peer, and tests/bench/peers all of them
def test_peers_stand_beside_the_bundle(exported: Export, capsys: Captured) -> None:
    peers = [option for name in ("deit_s", "dft", "eager") for option in ("--peer", name)]
    assert main([str(exported.bundle), *peers, "--seconds", "0.1", "--threads", "1", "--json"]) == 0
    (table,) = json.loads(capsys.readouterr().out)["tables"]
    names = [row["name"] for row in table["rows"]]
    assert names == [exported.bundle.name, "peer deit_s", "peer dft", "peer eager"]
    assert [row["engine"] for row in table["rows"]] == ["OpenVINO", "OpenVINO", "OpenVINO", "PyTorch"]
    assert [row["load"] is None for row in table["rows"]] == [False, False, False, True]


def test_a_users_own_model_is_a_peer_once_the_user_names_it(
    workplace: Path, user_model: UserModel, capsys: Captured
) -> None:
    name = user_model("Spectrum")
    assert export(["--model", name, "--input", "2x16x3", "--to", "onnx", "-o", "b", "--quiet"]) == 0
    options = ["b", "--peer", "eager", "--seconds", "0.1", "--threads", "1", "--json"]
    del sys.modules[USER_MODULE]
    assert main(options) == 2
    assert f"--model {name}" in capsys.readouterr().err
    assert USER_MODULE not in sys.modules
    assert main([*options, "--model", name]) == 0
    (table,) = json.loads(capsys.readouterr().out)["tables"]
    assert [row["name"] for row in table["rows"]] == ["b", "peer eager"]


def test_the_terminal_shows_ratios_before_times(tiny_bundle: MakeBundle, capsys: Captured) -> None:
    assert main([str(tiny_bundle("one")), str(tiny_bundle("other")), "--seconds", "0.1", "--threads", "1"]) == 0
    shown = capsys.readouterr().out
    head = next(line for line in shown.splitlines() if "p50" in line)
    assert head.split()[:2] == ["time", "quartiles"]
    assert "batch 1, 1 thread, " in shown
    assert "no preprocessing is timed" in " ".join(shown.split())


def test_energy_is_shown_where_it_is_metered(
    tiny_bundle: MakeBundle, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def ten_watts(processors: set[str]) -> tuple[Source, str]:
        asked.append(processors)
        return Source("a test's meter", lambda: lambda seconds: 10 * seconds), "a test's meter"

    monkeypatch.setattr(energy, "source_or_reason", ten_watts)
    monkeypatch.setattr(energy, "TURN_SECONDS", 0.01)
    assert main([str(tiny_bundle("one")), "--seconds", "0.1", "--threads", "1"]) == 0
    shown = capsys.readouterr().out
    assert asked == [{"CPU"}]
    assert "mJ/image" in shown
    assert "energy: a test's meter" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no bundle given"),
        (["nowhere"], "no such folder"),
        (["nowhere", "--batch", "0"], "whole numbers of at least 1"),
        (["nowhere", "--threads", "two"], "whole numbers of at least 1"),
        (["nowhere", "--seconds", "-1"], "number of seconds"),
        (["nowhere", "--seconds", "nan"], "number of seconds"),
    ],
)
def test_bad_usage_says_what_was_expected(arguments: list[str], message: str, capsys: Captured) -> None:
    assert main(arguments) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_file_that_cannot_be_written_is_noticed_before_anything_is_measured(
    tiny_bundle: MakeBundle, tmp_path: Path, capsys: Captured
) -> None:
    assert main([str(tiny_bundle("one")), "--csv", str(tmp_path / "no" / "bench.csv")]) == 2
    shown = capsys.readouterr()
    assert "bench.csv" in shown.err
    assert "run them in turn" not in shown.err


@pytest.mark.skipif(has_gpu(), reason="has the GPU that is missing elsewhere")
def test_a_tensorrt_bundle_without_a_gpu_is_exit_code_4(tiny_bundle: MakeBundle, capsys: Captured) -> None:
    assert main([str(tiny_bundle("ours")), str(tiny_bundle("theirs", "tensorrt"))]) == 4
    assert "no NVIDIA GPU" in capsys.readouterr().err


def test_values_of_options() -> None:
    assert counts("1, 8,1") == [1, 8]
    assert seconds("0.5") == 0.5
