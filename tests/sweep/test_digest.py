"""The digest of a request changes with everything that a bundle depends on, and with nothing else."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hamsa_deploy.form.request import Request
from hamsa_deploy.sweep import digest
from hamsa_deploy.sweep.digest import cell_digest, shared_digest
from hamsa_runtime.tensorrt.options import BuildOptions

MODEL = nn.Linear(4, 2)


def digest_of(request: Request) -> str:
    return cell_digest(shared_digest(request), request)


def request_for(**changes: Any) -> Request:
    given: dict[str, Any] = {"model": MODEL, "to": "onnx", "example_inputs": (torch.zeros(1, 4),)}
    return Request(**(given | {"data": {"x": np.zeros((2, 4), np.float32)}} | changes))


def other_weights() -> nn.Module:
    model = nn.Linear(4, 2)
    model.load_state_dict(MODEL.state_dict())
    with torch.no_grad():
        model.bias[1] += 1e-6
    return model


def test_the_same_request_has_the_same_digest() -> None:
    same = nn.Linear(4, 2)
    same.load_state_dict(MODEL.state_dict())
    assert digest_of(request_for()) == digest_of(request_for(model=same))


@pytest.mark.parametrize(
    "changes",
    [
        {"model": other_weights()},
        {"model": nn.Sequential(MODEL)},
        {"to": "openvino"},
        {"precision": "fp16"},
        {"data": {"x": np.ones((2, 4), np.float32)}},
        {"data": {"x": np.zeros((2, 4), np.float16)}},
        {"data": {"y": np.zeros((2, 4), np.float32)}},
        {"classes": [0, 1]},
        {"labels": ["a", "b"]},
        {"batch": 2},
        {"max_drop": 0.5},
        {"passes": ["smooth"]},
        {"builder": BuildOptions(refit=True)},
        {"provenance": {"reference": "x"}},
        {"fft": "native"},
    ],
)
def test_another_request_has_another_digest(changes: dict[str, Any]) -> None:
    assert digest_of(request_for()) != digest_of(request_for(**changes))


def test_a_calibration_image_counts_by_its_contents_and_not_by_where_it_is(tmp_path: Path) -> None:
    for name in ("one/photos", "two/photos"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a.jpg").write_bytes(b"pixels")
    one, two = (request_for(calibration=tmp_path / name / "photos") for name in ("one", "two"))
    assert digest_of(one) == digest_of(two)
    (tmp_path / "two" / "photos" / "a.jpg").write_bytes(b"other pixels")
    assert digest_of(one) != digest_of(two)


def test_another_version_of_a_tool_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest_of(request_for())
    monkeypatch.setattr(digest, "tool_versions", lambda: {"openvino": "0"})
    assert digest_of(request_for()) != before


def test_the_source_of_a_users_model_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "net_of_a_digest_user.py"
    source.write_text("from torch import nn\nclass Net(nn.Identity):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    request = request_for(model=importlib.import_module("net_of_a_digest_user").Net())
    before = digest_of(request)
    source.write_text(source.read_text() + "# another line\n")
    assert digest_of(request) != before
    monkeypatch.delitem(sys.modules, "net_of_a_digest_user")


def test_every_field_of_a_request_counts() -> None:
    """Fields that are added later, too: each is either shared or an option."""
    for field in dataclasses.fields(Request):
        if field.name == "model":  # has tests of its own
            continue
        change: dict[str, Any] = {field.name: "something else"}
        changed = dataclasses.replace(request_for(), **change)
        assert digest_of(changed) != digest_of(request_for()), field.name
