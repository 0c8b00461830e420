"""Checkpoints that are hostile, damaged, or something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from hamsa_deploy import load_model
from hamsa_deploy.models import load_weights
from hamsa_runtime.errors import InputError

from .conftest import Did, Refused

NANO = ("--model", "hamsa_nano", "--to", "onnx", "-o", "older", "--weights")


class Gadget:
    """Unpickled, it writes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.mark, "it ran"))


def nano_state() -> dict[str, Tensor]:
    return {name: value.clone() for name, value in load_model("hamsa_nano").state_dict().items()}


def test_row_01_a_gadget_in_a_checkpoint_is_refused_and_does_not_run(
    refused: Refused, older: Path, workplace: Path, did: Did
) -> None:
    mark = workplace / "mark"
    torch.save({"model": Gadget(mark)}, "evil.pt")
    torch.load("evil.pt", weights_only=False)
    assert mark.exists(), "the gadget of this test is harmless"
    mark.unlink()
    refused("export", *NANO, "evil.pt", says=("evil.pt is refused", "safetensors"))
    assert not mark.exists()
    did("hamsa-export --weights with a gadget that runs under plain torch.load: exit 2, it did not run")


def test_row_02_a_pt2_archive_is_refused_and_safetensors_named(refused: Refused, older: Path, did: Did) -> None:
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)), "program.pt2")
    Path("program.pt2").rename("renamed.pt")
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)), "program.pt2")
    for name in ("program.pt2", "renamed.pt"):
        refused("export", *NANO, name, says=(name, "exported program", "safetensors.torch.save_file"))
    did("a .pt2, and one renamed to .pt: exit 2, safetensors named")


def test_row_03_a_failed_weights_only_loading_is_not_retried_unsafely(
    refused: Refused, older: Path, monkeypatch: pytest.MonkeyPatch, did: Did
) -> None:
    load, calls = torch.load, []

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(options["weights_only"])
        return load(*arguments, **options)

    torch.save({"model": nn.Linear(2, 2)}, "module.pt")
    monkeypatch.setattr(torch, "load", counted)
    refused("export", *NANO, "module.pt", says=("module.pt is refused",))
    assert calls == [True]
    did("a pickled module, which weights_only refuses: torch.load was called once, exit 2")


def test_row_04_safetensors_with_a_lying_header_are_rejected_before_allocating(
    refused: Refused, older: Path, monkeypatch: pytest.MonkeyPatch, did: Did
) -> None:
    save_file({"a": torch.zeros(1000)}, "good.safetensors")
    good = Path("good.safetensors").read_bytes()
    lies = {
        "cut": good[:-1],
        "length": (2**40).to_bytes(8, "little") + good[8:],
        "offsets": good.replace(b"[0,4000]", b"[0,9999]"),
        "shape": good.replace(b"[1000]", b"[4000]"),
    }
    monkeypatch.setattr("safetensors.torch.load_file", lambda *_, **__: pytest.fail("read before it was checked"))
    for name, data in lies.items():
        assert data != good
        Path(f"{name}.safetensors").write_bytes(data)
        refused("export", *NANO, f"{name}.safetensors", says=(f"{name}.safetensors", "expected"))
    did(f"{len(lies)} lies (cut by a byte; length, offsets, shape): exit 2 before the reader was called")


def test_row_05_missing_extra_and_misshaped_keys_are_all_listed_and_nothing_is_loaded(
    refused: Refused, older: Path, did: Did
) -> None:
    state = nano_state()
    del state["norm.weight"], state["norm.bias"]
    state |= {"extra.one": torch.zeros(1), "extra.two": torch.zeros(1), "head.weight": torch.zeros(7, 64)}
    save_file(state, "w.safetensors")
    said = ("2 missing: norm.weight, norm.bias", "2 extra: extra.one, extra.two", "head.weight is float32 (7, 64)")
    refused("export", *NANO, "w.safetensors", says=said)
    model = load_model("hamsa_nano")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InputError):
        load_weights(model, "w.safetensors")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    did("2 missing, 2 extra and 1 mis-shaped: all 5 listed, the model as it was")


def test_row_06_nan_or_inf_in_weights_is_refused_and_the_tensor_named(refused: Refused, older: Path, did: Did) -> None:
    for value in (float("nan"), float("inf")):
        state = nano_state()
        state["norm.bias"][3] = value
        save_file(state, "w.safetensors")
        refused("export", *NANO, "w.safetensors", says=("NaN or Inf in norm.bias", "nothing was loaded"))
    did("one NaN, one Inf in norm.bias: exit 2, the tensor named")


def test_row_07_a_checkpoint_that_is_an_lfs_pointer_html_or_empty_is_called_that(
    refused: Refused, older: Path, did: Did
) -> None:
    files = {
        b"": "is empty",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 9\n": "Git LFS pointer",
        b"<!DOCTYPE html><html>": "HTML page",
    }
    for suffix in ("safetensors", "pt"):
        for content, said in files.items():
            Path(f"w.{suffix}").write_bytes(content)
            refused("export", *NANO, f"w.{suffix}", says=(f"w.{suffix}", said))
    did("empty file, LFS pointer and web page, as .pt and .safetensors: each called what it is")
