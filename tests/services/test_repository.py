"""Where a version goes in a server's repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from hamsa_deploy.services import configure, next_version
from hamsa_runtime.bundle import open_bundle
from hamsa_runtime.errors import InputError

from ..runtime.tiny_bundles import MakeBundle

SERVICE = "openvino-model-server"


def test_the_first_version_is_one(tmp_path: Path) -> None:
    assert next_version(SERVICE, tmp_path / "models", "net") == tmp_path / "models/net/1"
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("there", "expected"),
    [(["1"], "2"), (["1", "2", "10"], "11"), (["3", "config.pbtxt", ".4.tmp-1-ab", "05", "v6"], "4")],
)
def test_the_next_version_follows_the_highest_number(tmp_path: Path, there: list[str], expected: str) -> None:
    for name in there:
        (tmp_path / "net" / name).mkdir(parents=True)
    (tmp_path / "other/7").mkdir(parents=True)
    assert next_version(SERVICE, tmp_path, "net") == tmp_path / "net" / expected


@pytest.mark.parametrize("what", ["bundle", "file"])
def test_what_is_no_repository_is_refused(tmp_path: Path, what: str) -> None:
    place = tmp_path / "out"
    if what == "bundle":
        place.mkdir()
        (place / "manifest.json").write_text("{}")
    else:
        place.write_text("something")
    with pytest.raises(InputError, match="not a model repository"):
        next_version(SERVICE, place, "net")


def test_a_file_that_the_server_cannot_read_is_found_before_the_export(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="not a configuration of OpenVINO Model Server"):
        next_version(SERVICE, tmp_path, "net")
    assert next_version("triton", tmp_path, "net") == tmp_path / "net" / "1"


def test_what_cannot_be_written_is_an_error_that_says_what_is_left(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = open_bundle(make_bundle("tensorrt", folder=tmp_path / "models" / "net" / "1"))
    (bundle.folder.parent / "config.pbtxt").mkdir()
    with pytest.raises(InputError, match="the server's files cannot be written") as caught:
        configure("triton", tmp_path / "models", bundle)
    assert str(bundle.folder) in caught.value.fix
