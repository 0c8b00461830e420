"""int8 through NNCF: what it would do by itself, and what it is told."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import openvino
import pytest
import torch
from torch import nn

from hamsa_deploy.form.from_request import real_model_of_request
from hamsa_deploy.form.request import Request
from hamsa_deploy.models.hamsa import HAMSA
from hamsa_deploy.precision.int8.int8_sites import Site, sites_of
from hamsa_deploy.targets.openvino_int8 import int8_ir_from_onnx, partly_float_ir
from hamsa_runtime.backends.quiet import no_usage_reports
from hamsa_runtime.errors import MissingError

WIDTH, IMAGE = 16, 128


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrow HAMSA whose first transform, of length 1024, has two factors: a batched product with a constant."""
    torch.manual_seed(0)
    model = HAMSA([WIDTH] * 4, [1] * 4, [1] * 4, image_size=IMAGE, num_classes=3).eval()
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    real_model_of_request(Request(model, (torch.zeros(1, 3, IMAGE, IMAGE),), to="openvino", batch=1)).write(path)
    return path


@pytest.fixture(scope="module")
def sites(onnx_file: Path) -> list[Site]:
    return sites_of(ir.load(onnx_file).graph, "openvino")


@pytest.fixture(scope="module")
def feeds() -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(0)
    return [{"images": generator.normal(size=(1, 3, IMAGE, IMAGE)).astype(np.float32)} for _ in range(2)]


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, onnx_file: Path, sites: list[Site], feeds: list[dict[str, np.ndarray]]
) -> Path:
    path = tmp_path_factory.mktemp("ir")
    thresholds = {name: 2.0 + i for i, name in enumerate(sorted({site.activation for site in sites}))}
    int8_ir_from_onnx(onnx_file, path, {site.node for site in sites}, thresholds, feeds)
    return path


def compiled(model: openvino.Model) -> openvino.CompiledModel:
    return openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


@pytest.mark.slow
def test_nncf_by_itself_builds_a_model_that_the_plugin_refuses(
    onnx_file: Path, feeds: list[dict[str, np.ndarray]]
) -> None:
    with no_usage_reports():
        import nncf

    quantised = nncf.quantize(openvino.Core().read_model(onnx_file), nncf.Dataset(feeds))
    # If this does not raise any more, OpenVINO has learned, and `_all_but` may be needed for accuracy only.
    with pytest.raises(RuntimeError, match=r"any_of\(scale.size\(\), OC, 1U\)"):
        compiled(quantised)


def test_ours_is_compiled_with_exactly_the_sites_in_int8(folder: Path, sites: list[Site]) -> None:
    model = compiled(openvino.Core().read_model(folder / "model.xml"))
    rows = [node.get_rt_info() for node in model.get_runtime_model().get_ops()]
    products = [row for row in rows if row["layerType"].astype(str) in ("FullyConnected", "Convolution", "MatMul")]
    narrow = [row["originalLayersNames"].astype(str) for row in products if "8" in row["runtimePrecision"].astype(str)]
    assert len(narrow) == len(sites)
    for site in sites:
        assert any(site.node in names for names in narrow), site.layer


def test_ranges_of_activations_are_those_of_the_calibration(folder: Path, sites: list[Site]) -> None:
    model = openvino.Core().read_model(folder / "model.xml")
    ranges = {}
    for node in model.get_ops():
        if node.get_type_name() == "FakeQuantize":
            low, high = (node.input(port).get_source_output().get_node().data.item() for port in (1, 2))
            ranges[high] = low
    thresholds = {2.0 + i for i in range(len({site.activation for site in sites}))}
    assert set(ranges) == thresholds
    # |U| is never negative, and gets all levels above zero; all others are symmetric with 127 for the threshold
    assert {round(low / high, 4) for high, low in ranges.items()} == {0.0, round(-128 / 127, 4)}


def test_weights_are_int8(folder: Path, sites: list[Site]) -> None:
    model = openvino.Core().read_model(folder / "model.xml")
    stored = [node.data for node in model.get_ops() if node.get_type_name() == "Constant"]
    assert sum(array.dtype == np.int8 for array in stored) == len(sites)


def test_without_nncf_the_extra_is_named(onnx_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(MissingError, match="nncf") as raised:
        int8_ir_from_onnx(onnx_file, tmp_path, (), {}, [])
    assert "hamsa-deploy[int8]" in raised.value.fix
    assert not list(tmp_path.iterdir())


def test_an_nncf_that_does_not_go_with_openvino_is_named_as_that(
    onnx_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nncf.py").write_text("import openvino\nopenvino.Type.a_type_of_next_year")
    monkeypatch.delitem(sys.modules, "nncf", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingError, match="'a_type_of_next_year'") as raised:
        int8_ir_from_onnx(onnx_file, tmp_path, (), {}, [])
    assert f"cannot be imported beside OpenVINO {openvino.__version__}" in raised.value.found
    assert "--upgrade openvino" in raised.value.fix


def test_a_handler_that_nncf_shares_keeps_its_level(
    onnx_file: Path, sites: list[Site], feeds: list[dict[str, np.ndarray]], tmp_path: Path
) -> None:
    """As pytest's own, which would then be deaf to warnings in all tests that follow."""
    shared, loggers = logging.NullHandler(), [logging.root, logging.getLogger("nncf")]
    for logger in loggers:
        logger.addHandler(shared)
    try:
        int8_ir_from_onnx(onnx_file, tmp_path, {sites[0].node}, {sites[0].activation: 1.0}, feeds)
        assert shared.level == logging.NOTSET
    finally:
        for logger in loggers:
            logger.removeHandler(shared)


class Scaled(nn.Module):
    """A product, and behind it a factor of some shape, in one of several places; and a product of that."""

    def __init__(self, place: str, shape: tuple[int, ...]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(8, 8, bias=place == "behind a bias"), nn.Linear(8, 4)
        self.place, self.factor = place, nn.Parameter(torch.randint(-4, 4, shape).float().exp2())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x)
        if self.place == "as a divisor":
            y = y / self.factor
        elif self.place == "turned":
            y = (y.transpose(1, 2) * self.factor.T).transpose(1, 2)
        else:
            y = y * self.factor
        z: torch.Tensor = self.b(torch.sigmoid(y))
        return z


@pytest.mark.parametrize(
    ("place", "shape", "clamps"),
    [
        ("alone", (6, 1), 1),
        ("behind a bias", (6, 1), 1),
        ("as a divisor", (6, 1), 1),
        ("turned", (6, 1), 1),
        ("alone", (6, 8), 1),
        ("alone", (8,), 0),
        ("alone", (1,), 0),
    ],
)
def test_any_batch_computes_what_one_of_a_known_size_does(
    place: str, shape: tuple[int, ...], clamps: int, tmp_path: Path
) -> None:
    """The plugin takes any constant factor behind an int8 product for its channels' scales, where a size varies."""
    path, x = tmp_path / "model.onnx", torch.randn(3, 6, 8, generator=torch.Generator().manual_seed(1))
    real_model_of_request(Request(Scaled(place, shape).eval(), (x[:2],), to="openvino")).write(path)
    sites = sites_of(ir.load(path).graph, "openvino")
    assert len(sites) == 2
    thresholds = {site.activation: 3.0 for site in sites}
    int8_ir_from_onnx(path, tmp_path, {site.node for site in sites}, thresholds, [{"x": x[:2].numpy()}])
    results = []
    for size in (-1, 3):
        model = openvino.Core().read_model(tmp_path / "model.xml")
        assert sum(node.get_type_name() == "Clamp" for node in model.get_ops()) == clamps
        model.reshape([size, 6, 8])
        results.append(compiled(model)([x.numpy()])[0])
    np.testing.assert_allclose(results[0], results[1], rtol=0, atol=1e-5 * np.abs(results[1]).max())


def test_bfloat16_around_the_products_leaves_them_in_int8(
    onnx_file: Path, sites: list[Site], feeds: list[dict[str, np.ndarray]], folder: Path, tmp_path: Path
) -> None:
    thresholds = {name: 2.0 + i for i, name in enumerate(sorted({site.activation for site in sites}))}
    int8_ir_from_onnx(onnx_file, tmp_path, {site.node for site in sites}, thresholds, feeds, "bf16")
    core = openvino.Core()
    model, other = (core.read_model(each / "model.xml") for each in (tmp_path, folder))
    for site in sites:
        [node] = [each for each in model.get_ops() if each.get_friendly_name().startswith(site.node)
                  and each.get_type_name() in ("MatMul", "Convolution")]  # fmt: skip
        assert node.get_output_element_type(0) == openvino.Type.f32
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return
    found = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})
    rows = [node.get_rt_info() for node in found.get_runtime_model().get_ops()]
    products = [row for row in rows if row["layerType"].astype(str) in ("FullyConnected", "Convolution", "MatMul")]
    narrow = [row for row in products if "8" in row["runtimePrecision"].astype(str)]
    assert len(narrow) == len(sites)
    assert {row["runtimePrecision"].astype(str) for row in products} - {"i8", "u8"} == {"bf16"}
    results = [compiled(other)(feeds[0])["logits"], found(feeds[0])["logits"]]
    # Inputs that move by bfloat16's 2^-9 are rounded to other levels, and these ranges, which are made up, are coarse.
    np.testing.assert_allclose(results[1], results[0], atol=0.1 * np.abs(results[0]).max())


@pytest.mark.parametrize("around", ["fp32", "bf16"])
def test_products_that_are_float_again_are_those_that_were_named(
    folder: Path, sites: list[Site], tmp_path: Path, around: str
) -> None:
    core = openvino.Core()
    if around == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU cannot run bf16")
    gone = {site.node for site in sites[::2]}
    partly_float_ir(folder, tmp_path, gone, (), around)
    hint = {"fp32": "f32", "bf16": "bf16"}[around]
    model = core.compile_model(tmp_path / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": hint})
    rows = [node.get_rt_info() for node in model.get_runtime_model().get_ops()]
    products = [row for row in rows if row["layerType"].astype(str) in ("FullyConnected", "Convolution", "MatMul")]
    narrow = [row["originalLayersNames"].astype(str) for row in products if "8" in row["runtimePrecision"].astype(str)]
    assert len(narrow) == len(sites) - len(gone)
    for site in sites:
        assert any(site.node in names for names in narrow) == (site.node not in gone), site.layer
