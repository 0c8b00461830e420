"""Checkpoints that are good, wrapped, broken or hostile."""

from __future__ import annotations

import argparse
import datetime
import io
import json
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from hamsa_deploy.models import HAMSA, VMINet, load_checkpoint, load_weights
from hamsa_deploy.models.resample import resampled_kernel
from hamsa_runtime.errors import InputError

GOLDEN_VMINET = Path(__file__).parent.parent / "data" / "vminet.npz"


def small_model(**config: Any) -> HAMSA:
    torch.manual_seed(config.pop("seed", 0))
    settings: dict[str, Any] = {"image_size": 32, "num_classes": 3, "stem": (3, 2)} | config
    return HAMSA((4, 6, 8, 10), (1, 1, 1, 1), (2, 2, 2, 2), **settings).eval()


def assert_same(state: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(state[name], value), name


def copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def write_safetensors(path: Path, header: Any, data: bytes, claimed_length: int | None = None) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    length = len(text) if claimed_length is None else claimed_length
    path.write_bytes(length.to_bytes(8, "little") + text + data)


# Good checkpoints


def test_safetensors_round_trip(tmp_path: Path) -> None:
    source, model = small_model(seed=1), small_model(seed=2)
    path = tmp_path / "with space and ünicode.safetensors"
    save_file(source.state_dict(), path, metadata={"format": "pt"})
    load_weights(model, path)
    assert_same(model.state_dict(), source.state_dict())


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
@pytest.mark.parametrize("zipped", [True, False])
def test_torch_round_trip(tmp_path: Path, suffix: str, zipped: bool) -> None:
    source, path = small_model(seed=1), tmp_path / f"weights{suffix}"
    torch.save(source.state_dict(), path, _use_new_zipfile_serialization=zipped)
    assert_same(load_checkpoint(path), source.state_dict())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model": state, "epoch": 3},
        lambda state: {"state_dict": state, "optimizer": {"lr": 0.1}},
        lambda state: {"model_ema": state},
        lambda state: {"model_ema": {"state_dict": state}},
        lambda state: {"generator": state, "step": 3},
        lambda state: {"ema": {"state_dict": state}, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}},
        lambda state: {f"module.{name}": value for name, value in state.items()},
        lambda state: {"state_dict": {f"module._orig_mod.{name}": value for name, value in state.items()}},
    ],
    ids=["model", "state_dict", "model_ema", "nested", "generator", "ema", "module.", "compiled"],
)
def test_finds_the_state_dict(tmp_path: Path, wrap: Callable[[dict[str, Tensor]], Any]) -> None:
    state, path = copied(small_model(seed=1)), tmp_path / "weights.pth"
    torch.save(wrap(state), path)
    assert_same(load_checkpoint(path), state)


def test_prefers_model_to_model_ema_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    raw, averaged = copied(small_model(seed=1)), copied(small_model(seed=2))
    torch.save({"model_ema": averaged, "model": raw}, tmp_path / "weights.pt")
    with caplog.at_level(logging.INFO, logger="hamsa_deploy"):
        assert_same(load_checkpoint(tmp_path / "weights.pt"), raw)
    assert "taking 'model'" in caplog.text


SEVERAL = {"generator": 1, "discriminator": 2}


@pytest.mark.parametrize(
    ("wrap", "key"),
    [
        (lambda one, other: {"generator": one, "discriminator": other}, "generator"),
        (lambda one, other: {"model": other, "ema": {"state_dict": one}}, "ema"),
        (lambda one, other: {"runs": {"a": other, "b.best": one}}, "runs.b.best"),
        (lambda one, other: {"state_dict": {f"net.{name}": value for name, value in one.items()}}, "state_dict.net"),
        (lambda one, other: {"state_dict": {f"net.{name}": value for name, value in one.items()}}, "net"),
    ],
)
def test_a_key_says_where_they_are(
    tmp_path: Path, wrap: Callable[[dict[str, Tensor], dict[str, Tensor]], Any], key: str
) -> None:
    state, path = copied(small_model(seed=1)), tmp_path / "weights.pth"
    torch.save(wrap(state, copied(small_model(seed=2))), path)
    assert_same(load_checkpoint(path, key), state)
    model = small_model(seed=3)
    load_weights(model, path, key)
    assert_same(model.state_dict(), state)


def test_a_key_is_what_names_in_safetensors_begin_with(tmp_path: Path) -> None:
    state, path = copied(small_model(seed=1)), tmp_path / "weights.safetensors"
    both = {f"{who}.{name}": value.clone() for who in SEVERAL for name, value in state.items()}
    save_file(both, path)
    assert_same(load_checkpoint(path, "generator"), state)


def test_several_weights_are_listed_and_none_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "gan.pt"
    torch.save({name: copied(small_model(seed=seed)) for name, seed in SEVERAL.items()}, path)
    with pytest.raises(InputError, match=r"gan\.pt holds weights under generator and discriminator") as caught:
        load_checkpoint(path)
    assert caught.value.fix == "--weights-key generator or --weights-key discriminator"
    with pytest.raises(InputError, match="has nothing under 'genrator'") as caught:
        load_checkpoint(path, "genrator")
    assert "'generator'" in caught.value.fix


def test_other_weights_beside_model_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save({"ema": copied(small_model(seed=2)), "model": copied(small_model(seed=1))}, tmp_path / "weights.pt")
    with caplog.at_level(logging.INFO, logger="hamsa_deploy"):
        load_checkpoint(tmp_path / "weights.pt")
    assert "weights under 'model' and 'ema': taking 'model'; --weights-key takes others" in caplog.text


def test_names_that_begin_alike_name_the_key(tmp_path: Path) -> None:
    state = {f"net.{name}": value for name, value in small_model(seed=1).state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "w.pt")
    with pytest.raises(InputError, match="does not fit the model") as caught:
        load_weights(small_model(seed=2), tmp_path / "w.pt")
    assert caught.value.fix.endswith("--weights-key net")


def test_a_prefix_that_only_some_names_have_is_kept(tmp_path: Path) -> None:
    state = {"module.a": torch.zeros(1), "b": torch.zeros(1)}
    save_file(state, tmp_path / "w.safetensors")
    assert load_checkpoint(tmp_path / "w.safetensors").keys() == state.keys()


def test_float16_weights_load_into_float32(tmp_path: Path) -> None:
    state = {name: value.half() for name, value in small_model(seed=1).state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    model = small_model(seed=2)
    load_weights(model, tmp_path / "w.safetensors")
    assert_same(model.state_dict(), {name: value.float() for name, value in state.items()})


def test_batchnorm_counters_may_be_absent(tmp_path: Path) -> None:
    with np.load(GOLDEN_VMINET) as data:
        state = {n.removeprefix("state/"): torch.from_numpy(data[n]) for n in data.files if n.startswith("state/")}
        x, y = torch.from_numpy(data["x"]), torch.from_numpy(data["y"])
    torch.save({"state_dict": state}, tmp_path / "vminet.pth")
    model = VMINet(8, (1, 1, 2, 1), 2, image_size=32, num_classes=5).double().eval()
    load_weights(model, tmp_path / "vminet.pth")
    assert (model(x)["logits"] - y).abs().max() <= 1e-10


# Nothing in a checkpoint runs


class Gadget:
    """Unpickled, it writes a file: the mark of code that ran."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.mark, "the gadget ran"))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_gadget_does_not_run(tmp_path: Path, zipped: bool) -> None:
    path, mark = tmp_path / "weights.pt", tmp_path / "mark"
    torch.save({"model": Gadget(mark)}, path, _use_new_zipfile_serialization=zipped)
    torch.load(path, weights_only=False)
    assert mark.exists(), "the gadget of this test is harmless: it proves nothing"
    mark.unlink()
    with pytest.raises(InputError, match=r"weights\.pt is refused") as caught:
        load_checkpoint(path)
    assert not mark.exists()
    assert "safetensors" in caught.value.fix


def converted(fix: str) -> dict[str, Tensor]:
    """What the line that an error advises has written."""
    exec(fix[fix.index('python -c "') + len('python -c "') : fix.rindex('"')], {})  # noqa: S102
    return load_checkpoint("x-weights.pt")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("wrap", "names"),
    [
        (lambda model: {"model": model.state_dict(), "args": argparse.Namespace(lr=1e-3)}, "argparse.Namespace"),
        (lambda model: {"net": {"ema": model.state_dict()}, "when": datetime.date(2026, 1, 1)}, "datetime.date"),
        (lambda model: {**model.state_dict(), "args": argparse.Namespace()}, "argparse.Namespace"),
        (lambda model: {"epoch": 1, "model": model, "ema": None}, "hamsa_deploy.models.hamsa.HAMSA"),
        (lambda model: model, "a whole pickled model, hamsa_deploy.models.hamsa.HAMSA"),
    ],
    ids=["arguments", "nested", "top", "a model in it", "a model"],
)
def test_what_is_no_tensor_is_named_and_the_line_that_leaves_it_out_works(
    tmp_path: Path, wrap: Callable[[nn.Module], Any], names: str, zipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model, path = small_model(seed=1), tmp_path / "x.pt"
    content = wrap(model)
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"x\.pt is refused: it holds") as caught:
        load_checkpoint(path)
    text = str(caught.value)
    assert "\x1b" not in text
    assert "PyTorch" not in text
    holds_a_module = isinstance(content, nn.Module) or isinstance(content.get("model"), nn.Module)
    if holds_a_module and not zipped:  # files of PyTorch before 1.6 keep the code of modules beside them
        assert "HAMSA" in text
        return
    assert names in text
    assert_same(converted(caught.value.fix), model.state_dict())


def test_what_runs_code_is_not_to_be_loaded(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple[Any, ...]:
            return (eval, ("1",))

    torch.save({"model": {"a": torch.ones(1)}, "x": Runs()}, tmp_path / "x.pt")
    with pytest.raises(InputError, match="eval") as caught:
        load_checkpoint(tmp_path / "x.pt")
    assert caught.value.fix.startswith("do not load it: no weights need __builtin__.eval")
    assert "weights_only=False" not in str(caught.value)


def test_no_second_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def load(*_: Any, **options: Any) -> None:
        calls.append(options)
        raise RuntimeError("weights_only load failed")

    monkeypatch.setattr(torch, "load", load)
    (tmp_path / "weights.pt").write_bytes(b"whatever")
    with pytest.raises(InputError, match="weights_only load failed"):
        load_checkpoint(tmp_path / "weights.pt")
    assert calls == [{"map_location": "cpu", "weights_only": True}]


@pytest.mark.parametrize("name", ["program.pt2", "program.pt", "program.safetensors"])
def test_refuses_an_exported_program(tmp_path: Path, name: str) -> None:
    program = torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(program, tmp_path / "program.pt2")
    (tmp_path / "program.pt2").rename(tmp_path / name)
    with pytest.raises(InputError, match="exported program") as caught:
        load_checkpoint(tmp_path / name)
    assert "safetensors" in caught.value.fix


@pytest.mark.parametrize("member", ["serialized_exported_program.json", "net/code/__torch__.py"])
def test_refuses_older_archives_with_programs(tmp_path: Path, member: str) -> None:
    with zipfile.ZipFile(tmp_path / "old.pt", "w") as archive:
        archive.writestr(member, "{}")
    with pytest.raises(InputError, match="exported program"):
        load_checkpoint(tmp_path / "old.pt")


# Safetensors headers that lie

GOOD_ENTRY = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
DATA = bytes(16)


def test_the_header_that_the_lies_are_made_from_is_good(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "w.safetensors", {"a": GOOD_ENTRY}, DATA)
    assert_same(load_checkpoint(tmp_path / "w.safetensors"), {"a": torch.zeros(2, 2)})


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"dtype": "F64"}, "has 16 bytes"),
        ({"dtype": "F4096"}, "dtype 'F4096'"),
        ({"dtype": ["F32"]}, "dtype"),
        ({"shape": [2, 3]}, "has 16 bytes"),
        ({"shape": [2**62, 2**62]}, "has 16 bytes"),
        ({"shape": [-2, -2]}, "has shape"),
        ({"shape": [2.0, 2]}, "has shape"),
        ({"shape": "22"}, "has shape"),
        ({"data_offsets": [0, 2**40], "shape": [2**38]}, "lies at bytes"),
        ({"data_offsets": [16, 0]}, "lies at bytes"),
        ({"data_offsets": [-16, 0]}, "lies at bytes"),
        ({"data_offsets": [0]}, "lies at bytes"),
        ({"data_offsets": [0, 8], "shape": [2]}, "end at byte 8"),
        ({"data_offsets": [8, 16], "shape": [2]}, "begins at byte 8"),
        ({"more": 1}, "entry 'a'"),
    ],
)
def test_refuses_an_entry_that_lies(tmp_path: Path, entry: dict[str, Any], said: str) -> None:
    write_safetensors(tmp_path / "w.safetensors", {"a": GOOD_ENTRY | entry}, DATA)
    with pytest.raises(InputError, match=said) as caught:
        load_checkpoint(tmp_path / "w.safetensors")
    assert "w.safetensors" in caught.value.found


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"not json", "not JSON"),
        (b"[" * 50_000, "not JSON"),
        (b"\xff\xff\xff", "not JSON"),
        (b"[1, 2]", "JSON list"),
        (b'{"a": 1, "a": 2}', "occurs twice"),
        ({"a": GOOD_ENTRY, "b": GOOD_ENTRY}, "'b' begins at byte 0"),
        ({"a": [1]}, "entry 'a'"),
    ],
)
def test_refuses_a_header_that_is_no_header(tmp_path: Path, header: Any, said: str) -> None:
    write_safetensors(tmp_path / "w.safetensors", header, DATA)
    with pytest.raises(InputError, match=said):
        load_checkpoint(tmp_path / "w.safetensors")


@pytest.mark.parametrize("length", [0, 1, 10_000, 2**40, 2**64 - 1])
def test_refuses_a_header_length_that_lies(tmp_path: Path, length: int) -> None:
    write_safetensors(tmp_path / "w.safetensors", {"a": GOOD_ENTRY}, DATA, claimed_length=length)
    with pytest.raises(InputError, match=f"claims {length} bytes"):
        load_checkpoint(tmp_path / "w.safetensors")


def test_refuses_every_truncation(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "whole.safetensors", {"a": GOOD_ENTRY}, DATA)
    whole = (tmp_path / "whole.safetensors").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut.safetensors").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.safetensors"):
            load_checkpoint(tmp_path / "cut.safetensors")


def test_a_lying_header_reaches_no_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("safetensors.torch.load_file", lambda *_, **__: pytest.fail("read before it was checked"))
    write_safetensors(tmp_path / "w.safetensors", {"a": GOOD_ENTRY | {"shape": [2, 3]}}, DATA)
    with pytest.raises(InputError):
        load_checkpoint(tmp_path / "w.safetensors")


# Keys


def test_lists_all_that_does_not_fit_and_loads_nothing(tmp_path: Path) -> None:
    state = copied(small_model(seed=1))
    del state["norm.weight"], state["norm.bias"]
    state["stages.0.norm.weight"] = torch.zeros(5)
    state["stages.1.norm.bias"] = torch.zeros(6, dtype=torch.complex64)
    state |= {"extra.one": torch.zeros(1), "extra.two": torch.zeros(1)}
    save_file(state, tmp_path / "w.safetensors")
    model = small_model(seed=2)
    before = copied(model)
    with pytest.raises(InputError) as caught:
        load_weights(model, tmp_path / "w.safetensors")
    message = str(caught.value)
    for said in (
        "2 missing: norm.weight, norm.bias",
        "2 extra: extra.one, extra.two",
        "stages.0.norm.weight is float32 (5,), not float32 (4,)",
        "stages.1.norm.bias is complex64 (6,), not float32 (6,)",
    ):
        assert said in message
    assert_same(model.state_dict(), before)


def test_another_number_of_classes_names_the_option(tmp_path: Path) -> None:
    save_file(small_model(num_classes=7).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"head\.weight") as caught:
        load_weights(small_model(num_classes=3), tmp_path / "w.safetensors")
    assert "num_classes=7" in caught.value.fix


@pytest.mark.parametrize("content", [[1, 2], {"model": "text"}, {}, {"a": 3}, {"a": torch.zeros(2).to_sparse()}])
def test_refuses_content_that_is_no_state_dict(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"w\.pt holds"):
        load_checkpoint(tmp_path / "w.pt")


def test_a_dict_that_holds_itself_ends(tmp_path: Path) -> None:
    content: dict[str, Any] = {}
    content["model"] = content
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"w\.pt holds"):
        load_checkpoint(tmp_path / "w.pt")


# Values


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_refuses_values_that_are_not_finite(tmp_path: Path, value: float) -> None:
    state = {name: tensor.double() for name, tensor in small_model(seed=1).state_dict().items()}
    state["stages.2.blocks.0.hss.sass.psi"][1, 2, 1] = value
    save_file(state, tmp_path / "w.safetensors")
    model = small_model(seed=2)
    before = copied(model)
    with pytest.raises(InputError, match=r"NaN or Inf in stages\.2\.blocks\.0\.hss\.sass\.psi;"):
        load_weights(model, tmp_path / "w.safetensors")
    assert_same(model.state_dict(), before)


# Files that are no checkpoints


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 112\n", "Git LFS pointer"),
        (b"<!DOCTYPE html>\n<html><body>Not found</body></html>", "HTML page"),
        (b"\n  <html lang='en'>", "HTML page"),
    ],
)
def test_says_what_a_file_is_instead(tmp_path: Path, suffix: str, content: bytes, said: str) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        load_checkpoint(path)
    assert path.name in caught.value.found


def test_refuses_other_files(tmp_path: Path) -> None:
    (tmp_path / "weights.jpg").write_bytes(b"abc")
    with pytest.raises(InputError, match="file type"):
        load_checkpoint(tmp_path / "weights.jpg")
    with pytest.raises(InputError, match="no such file"):
        load_checkpoint(tmp_path / "nothing.pt")
    with pytest.raises(InputError, match="a folder"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_refuses_a_truncated_torch_file(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "w.pt"
    torch.save(small_model().state_dict(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(InputError, match=r"w\.pt is refused"):
        load_checkpoint(path)


# Kernels of another image size


def test_resampling_on_the_same_grid_changes_nothing() -> None:
    psi = torch.randn(3 * 5, 4, 2, generator=torch.Generator().manual_seed(0))
    # bicubic weights at distance 0 are 1 and 0, up to float32 rounding
    torch.testing.assert_close(resampled_kernel(psi, (3, 5), (3, 5)), psi, rtol=0, atol=1e-6)


def test_resampling_follows_rows_columns_and_parts() -> None:
    """A plane in (row, column) stays that plane away from the border, in each channel and part by itself."""
    row, column = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    planes = torch.stack([row, column, row + 10 * column, -column], dim=-1)
    psi = planes.reshape(64, 2, 2)
    fine = resampled_kernel(psi, (8, 8), (16, 16)).reshape(16, 16, 4)
    centre = (torch.arange(16.0) + 0.5) / 2 - 0.5
    row, column = torch.meshgrid(centre, centre, indexing="ij")
    expected = torch.stack([row, column, row + 10 * column, -column], dim=-1)
    inner = slice(5, 11)  # two coarse cells, the reach of the bicubic filter, off the border
    torch.testing.assert_close(fine[inner, inner], expected[inner, inner], rtol=0, atol=1e-4)


def test_kernels_of_another_image_size_are_resampled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source, model = small_model(seed=1), small_model(seed=2, image_size=(64, 32))
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    with caplog.at_level(logging.INFO, logger="hamsa_deploy"):
        load_weights(model, tmp_path / "w.safetensors")
    name = "stages.1.blocks.0.hss.sass.psi"
    trained, loaded = source.state_dict()[name], model.state_dict()[name]
    torch.testing.assert_close(loaded, resampled_kernel(trained, (8, 8), (16, 8)), rtol=0, atol=0)
    assert torch.equal(model.head.weight, source.head.weight)
    assert "resampled 1 kernels psi from 8 x 8 to 16 x 8 tokens" in caplog.text
    assert model(torch.randn(1, 3, 64, 32))["logits"].isfinite().all()


def test_the_same_size_resamples_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_file(small_model(seed=1).state_dict(), tmp_path / "w.safetensors")
    with caplog.at_level(logging.INFO, logger="hamsa_deploy"):
        load_weights(small_model(seed=2), tmp_path / "w.safetensors")
    assert "resampled" not in caplog.text


def test_kernels_of_another_width_are_not_resampled(tmp_path: Path) -> None:
    state = copied(small_model(seed=1))
    state["stages.1.blocks.0.hss.sass.psi"] = torch.zeros(16, 5, 2)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"stages\.1\.blocks\.0\.hss\.sass\.psi is float32 \(16, 5, 2\)"):
        load_weights(small_model(seed=2), tmp_path / "w.safetensors")


def packed_again(content: object) -> bytes:
    """A checkpoint whose archive is compressed: it grows when it is read."""
    plain, packed = io.BytesIO(), io.BytesIO()
    torch.save(content, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in source.infolist():
            archive.writestr(member.filename, source.read(member))
    return packed.getvalue()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("kind", ["meta", "nested", "expanded"])
def test_a_tensor_without_a_value_for_each_element_is_named(tmp_path: Path, kind: str) -> None:
    odd = {
        "meta": lambda: torch.empty(2**40, device="meta"),
        "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        "expanded": lambda: torch.ones(1).expand(2**40),
    }[kind]()
    torch.save({"good": torch.ones(2), "odd": odd}, tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"a\.pt (holds entries that are no dense tensors: odd|is refused)"):
        load_checkpoint(tmp_path / "a.pt")


def test_an_archive_that_grows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(packed_again({"a": torch.zeros(100_000)}))
    with pytest.raises(InputError, match=r"a\.pt grows from \d+ to \d+ bytes"):
        load_checkpoint(tmp_path / "a.pt")


def test_containers_without_end_hold_no_state_dict(tmp_path: Path) -> None:
    circle: dict[str, Any] = {"a": torch.ones(1)}
    circle["model"] = circle
    torch.save(circle, tmp_path / "a.pt")
    with pytest.raises(InputError, match="where the state dict should be"):
        load_checkpoint(tmp_path / "a.pt")
