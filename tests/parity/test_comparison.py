"""What a comparison does beside comparing."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hamsa_deploy
from hamsa_deploy.parity.comparison import give_memory_back
from hamsa_runtime.errors import InputError


class Table(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Embedding(9, 4)

    def forward(self, ids: Tensor) -> Tensor:
        return self.rows(ids)


def test_data_that_the_model_does_not_take_are_told_from_a_bundle_that_is_wrong(tmp_path: Path) -> None:
    model, example, beyond = Table().eval(), (torch.tensor([[0, 8]]),), {"ids": np.array([[99, 1]])}
    bundle = hamsa_deploy.export(model, example, to="onnx", output=tmp_path / "b")
    for fails in (
        lambda: hamsa_deploy.export(model, example, to="onnx", output=tmp_path / "c", data=beyond),
        lambda: hamsa_deploy.check_parity(bundle, model, beyond),
    ):
        with pytest.raises(
            InputError, match=r"Table fails on the inputs of the comparison .* index out of range"
        ) as raised:
            fails()
        assert "return self.rows(ids)" in raised.value.found
        assert "data= in Python" in raised.value.parts["fix"]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library gives back what it likes")
def test_memory_that_was_freed_goes_back_to_the_system() -> None:
    blocks = [np.ones(12_500) for _ in range(2000)]
    last = blocks[-1]  # what lies behind them keeps malloc from giving them back by itself
    before = _resident()
    del blocks
    give_memory_back()
    assert before - _resident() > 150 << 20
    assert last[0] == 1


def _resident() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) << 10
