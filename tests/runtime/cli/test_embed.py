"""hamsa-embed: what it prints, its one document, and its exit codes."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hamsa_runtime.cli.embed import main
from hamsa_runtime.embed.parts import Counted, PartWriter

from ..embed.conftest import photos
from ..embed.inputs import COUNT, list_of, png, table_of_bytes
from ..tiny_bundles import MakeBundle

__all__ = ["photos"]

Captured = pytest.CaptureFixture[str]


def test_a_job_again_with_failures_and_checked(
    make_bundle: MakeBundle, photos: Path, tmp_path: Path, capsys: Captured
) -> None:
    (photos / "2.png").write_bytes(b"no image")
    command = [str(make_bundle()), str(photos), "-o", str(tmp_path / "vectors")]
    assert main([*command, "--json"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert (document["verdict"], document["parts"]) == ("complete", {"all": 1, "done": 1, "elsewhere": 0})
    assert document["rows"] == {"done": COUNT, "failed": 1, "now": COUNT}
    assert sum(document["shares"].values()) == pytest.approx(1)
    assert "1 rows failed, the first now: " in captured.err
    assert "2.png: not an image in a known format" in captured.err
    assert main(command) == 0
    assert "7 rows in 1 of 1 parts; 0 now, in 0.0 s\n" in capsys.readouterr().out
    (photos / "2.png").write_bytes(png(2))
    assert main([*command, "--retry-failed", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
    assert main([*command, "--verify"]) == 0
    out = capsys.readouterr().out
    assert "7 rows, each once; 0 of them failed" in out
    assert "7 embedded again: relative error 0.0e+00, cosine 1.0000000 (limits: the bundle has no limits)" in out
    next((tmp_path / "vectors").glob("*.parquet")).unlink()
    assert main([*command, "--verify", "--json"]) == 3
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert (document["verdict"], document["exit_code"], len(document["wrong"])) == ("wrong", 3, 2)
    assert "parquet is missing" in captured.err


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], "arguments are required"),
        (["{bundle}", "{photos}"], "-o/--output"),
        (["{bundle}", "{photos}", "-o", "{out}", "--dtype", "int8"], "unknown dtype 'int8'"),
        (["{bundle}", "{photos}", "-o", "{out}", "--rows", "0"], "rows is 0"),
        (["{bundle}", "{photos}", "-o", "{out}", "--worker", "3"], "'3' is not K/N"),
        (["{bundle}", "{photos}", "-o", "{out}", "--worker", "3/3"], "worker 3 of 3"),
        (["{bundle}", "{photos}", "-o", "{photos}/vectors"], "the output in the input"),
        (["{bundle}", "{photos}/none", "-o", "{out}"], "no such file or folder"),
        (["{bundle}", "{bundle}", "-o", "{out}"], "no rows in it"),
        (["{photos}", "{photos}", "-o", "{out}"], "no manifest.json"),
        (["{bundle}", "{photos}", "-o", "{bundle}/model.onnx"], "cannot be written"),
    ],
)
def test_bad_usage_exits_2(
    arguments: list[str], found: str, make_bundle: MakeBundle, photos: Path, tmp_path: Path, capsys: Captured
) -> None:
    names = {"bundle": make_bundle(), "photos": photos, "out": tmp_path / "vectors"}
    assert main([argument.format(**names) for argument in arguments]) == 2
    assert found in capsys.readouterr().err


def test_ids_that_are_there_twice_are_named(
    make_bundle: MakeBundle, photos: Path, tmp_path: Path, capsys: Captured
) -> None:
    path = list_of(photos)
    path.write_text(path.read_text() + "photos/4.png\n")
    assert main([str(make_bundle()), str(path), "-o", str(tmp_path / "vectors"), "--json"]) == 2
    captured = capsys.readouterr()
    assert "ids that are there more than once: 1, such as 'photos/4.png'" in captured.err
    assert json.loads(captured.out)["error"]["fix"].startswith("sort -u")


def test_a_file_that_cannot_be_read_does_not_stop_the_others(
    make_bundle: MakeBundle, photos: Path, tmp_path: Path, capsys: Captured
) -> None:
    tables = table_of_bytes(photos)
    data = bytearray((tables / "0.parquet").read_bytes())
    data[4:600] = bytes(596)
    bundle, output = make_bundle(), tmp_path / "vectors"
    command = [str(bundle), str(tables), "-o", str(output), "--json"]
    assert main([*command, "--worker", "1/2"]) == 0
    capsys.readouterr()
    (tables / "0.parquet").write_bytes(data)
    assert main(command) == 2
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert (document["verdict"], document["rows"]["done"]) == ("incomplete", 3)
    assert list(document["unreadable"]) == ["0.parquet"]
    assert "error  " in captured.err
    assert not [path for path in output.iterdir() if path.name.startswith(".")]


def test_every_row_failed(make_bundle: MakeBundle, photos: Path, tmp_path: Path, capsys: Captured) -> None:
    for path in photos.rglob("*.png"):
        path.write_bytes(b"no image")
    assert main([str(make_bundle()), str(photos), "-o", str(tmp_path / "vectors")]) == 2
    assert "error  every row failed" in capsys.readouterr().err


def test_a_full_disk_says_how_to_go_on(
    make_bundle: MakeBundle, photos: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [str(make_bundle()), str(photos), "-o", str(tmp_path / "vectors"), "--rows", "3"]
    assert main([*command, "--worker", "0/3", "--quiet"]) == 0

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert main(command) == 2
    err = capsys.readouterr().err
    assert "cannot be written (No space left on device)" in err
    assert "the same command then goes on where it was" in err
    assert len(list((tmp_path / "vectors").glob("*.parquet"))) == 1
    assert main(command) == 0
    assert len(list((tmp_path / "vectors").glob("*.parquet"))) == 3


def test_ctrl_c_leaves_whole_parts_only(
    make_bundle: MakeBundle, photos: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "vectors"
    command = [str(make_bundle()), str(photos), "-o", str(output), "--rows", "1"]

    close, closed = PartWriter.close, []

    def pressed(writer: PartWriter, facts: Mapping[str, Any]) -> Counted:
        closed.append(facts)
        if len(closed) == 4:
            raise KeyboardInterrupt
        return close(writer, facts)

    with monkeypatch.context() as patch:
        patch.setattr(PartWriter, "close", pressed)
        assert main(command) == 130
    assert "the same command goes on" in capsys.readouterr().err
    names = sorted(path.name for path in output.iterdir())
    assert len(names) == 4, names
    assert names[0] == "_hamsa"
    assert [path.name for path in (output / "_hamsa").glob("*.lock")] == ["job.lock"]
    assert main(command) == 0
    assert "7 rows in 7 of 7 parts; 4 now" in capsys.readouterr().out
