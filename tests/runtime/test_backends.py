"""What cannot be had is an error that says so; nothing else is put in its place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from hamsa_runtime import Engine
from hamsa_runtime.backends import BACKENDS, Operator
from hamsa_runtime.backends.providers import PROVIDERS, Provider
from hamsa_runtime.backends.quiet import no_usage_reports
from hamsa_runtime.devices import Name
from hamsa_runtime.errors import BuildError, InputError, MissingError

from .tiny_bundles import MakeBundle, image_model, manifest_for, onnx_model, reference, save_model, write_files

with no_usage_reports():
    import openvino

CPU_TARGETS = ("onnx", "openvino")  # the others need a GPU: tensorrt/test_on_a_gpu.py
CAPABILITIES = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
LAYERS = {"fp32": ("f32", "FP32"), "fp16": ("f16", "FP16"), "bf16": ("bf16", "BF16")}
# half a unit in the last place of each format, times the handful of roundings on the way to a logit
ROUNDING = {"fp32": 1e-6, "fp16": 2e-3, "bf16": 2e-2}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_openvino_runs_in_the_bundles_precision_or_not_at_all(
    make_bundle: MakeBundle, pixels: np.ndarray, precision: str
) -> None:
    folder = make_bundle("openvino", precision=precision)
    layers, capability = LAYERS[precision]
    if capability not in CAPABILITIES:
        with pytest.raises(MissingError, match=f"cannot run {precision}"):
            Engine(folder)
        return
    with Engine(folder) as engine:
        description = engine.describe()
        logits = engine(pixels)["logits"]
    assert description["precision"] == layers
    # the convolution and the linear head at least; data movement may keep its precision
    assert layers in description["layers"]
    expected = reference(pixels)["logits"]
    assert np.abs(logits - expected).max() / np.abs(expected).max() < ROUNDING[precision]


def calibration(around: str | None) -> dict[str, Any]:
    inputs = {"source": "images", "found": 9, "used": 9, "skipped": {}, "sha256": "ab" * 32}
    said = {"inputs": inputs, "method": "mse", "signal_to_noise_db": {}, "passes": {}, "int8_layers": 0}
    return {**said, "kept_layers": [], **({} if around is None else {"around": around})}


@pytest.mark.parametrize("around", [None, "fp32", "bf16"])
def test_an_int8_bundle_says_in_which_precision_all_else_runs(make_bundle: MakeBundle, around: str | None) -> None:
    folder = make_bundle("openvino", precision="int8", calibration=calibration(around))
    layers, capability = LAYERS[around or "fp32"]
    if capability not in CAPABILITIES:
        with pytest.raises(MissingError, match=f"cannot run {around}"):
            Engine(folder)
        return
    with Engine(folder) as engine:
        assert engine.describe()["precision"] == layers
        assert [each.precision for each in products_of(engine)] == [layers, layers]


def products_of(engine: Engine) -> list[Operator]:
    """The convolution and the linear head: the only products of the image model."""
    return [each for each in engine.operators() if each.kind in ("Conv", "Convolution", "FullyConnected", "Gemm")]


@pytest.mark.parametrize("target", CPU_TARGETS)
def test_operators_are_what_the_engine_compiled(make_bundle: MakeBundle, target: str) -> None:
    with Engine(make_bundle(target)) as engine:
        products = products_of(engine)
        everything = engine.operators()
    assert [each.precision for each in products] == ["f32", "f32"]
    assert len(everything) > 2  # at least the pooling besides
    assert all(each.kind and each.names for each in everything)
    assert not {"Input", "Output", "Const"} & {each.kind for each in everything}


def test_operators_of_float16_are_what_the_plugin_says_of_each(make_bundle: MakeBundle) -> None:
    if "FP16" not in CAPABILITIES:
        pytest.skip("this CPU cannot run fp16: the engine refuses it, see above")
    with Engine(make_bundle("openvino", precision="fp16")) as engine:
        assert [each.precision for each in products_of(engine)] == ["f16", "f16"]


def test_onnxruntime_widens_float16_and_says_so(tmp_path: Path) -> None:
    """What the file asks for is float16; the kernels of the CPU are in float32, between conversions."""
    half = TensorProto.FLOAT16
    nodes = [
        helper.make_node("Cast", ["x"], ["narrow"], "to_half", to=half),
        helper.make_node("MatMul", ["narrow", "w"], ["product"], "product"),
        helper.make_node("Cast", ["product"], ["y"], "to_float", to=TensorProto.FLOAT),
    ]
    sides = [("x", TensorProto.FLOAT, ["batch", 3])], [("y", TensorProto.FLOAT, ["batch", 4])]
    onnx.save(onnx_model(nodes, *sides, {"w": np.ones((3, 4), np.float16)}), tmp_path / "model.onnx")
    specs = [{"name": name, "dtype": "float32", "shape": ["batch", size]} for name, size in (("x", 3), ("y", 4))]
    inputs = [{**specs[0], "layout": None}]
    write_files(tmp_path, manifest_for(inputs=inputs, outputs=specs[1:], preprocessing=None, precision="fp16"))
    with Engine(tmp_path) as engine:
        found = {each.names: each.precision for each in engine.operators() if "product" in each.names}
    assert found == {("product",): "f32"}


def test_asking_for_the_operators_leaves_no_file(make_bundle: MakeBundle, tmp_path: Path) -> None:
    with Engine(make_bundle("onnx")) as engine, pytest.MonkeyPatch.context() as patch:
        work = tmp_path / "work"
        work.mkdir()
        patch.chdir(work)
        patch.setattr("tempfile.tempdir", str(work))
        engine.operators()
        assert list(work.iterdir()) == []


def test_float32_bundles_are_not_run_in_bfloat16(make_bundle: MakeBundle) -> None:
    with Engine(make_bundle("openvino")) as engine:
        layers = engine.describe()["layers"]
    assert "f32" in layers
    assert "f16" not in layers  # nor bf16


def test_a_precision_that_the_device_lacks_is_an_error(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hamsa_runtime.backends import openvino as backend

    monkeypatch.setitem(backend.PRECISIONS, "bf16", ("bf16", "bf16", "FP8"))
    with pytest.raises(MissingError, match="cannot run bf16") as caught:
        Engine(make_bundle("openvino", precision="bf16"))
    assert caught.value.exit_code == 4
    assert "FP32" in caught.value.expected


def test_a_precision_that_the_plugin_changes_is_an_error(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hamsa_runtime.backends import openvino as backend

    class Deaf(openvino.Core):
        """A plugin that ignores the hint: it then takes float32 or bfloat16, whatever is fastest."""

        def compile_model(self, model: Any, device: str, options: dict[str, Any]) -> Any:
            return super().compile_model(model, device, {"PERFORMANCE_HINT": options["PERFORMANCE_HINT"]})

    monkeypatch.setattr(backend, "shared_core", Deaf)
    monkeypatch.setitem(backend.PRECISIONS, "fp16", ("dynamic", "f16", "FP32"))
    with pytest.raises(MissingError, match="OpenVINO would run in") as caught:
        Engine(make_bundle("openvino", precision="fp16"))
    assert caught.value.expected == "f16 on CPU"


def test_a_float16_bundle_without_float16_layers_is_an_error(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hamsa_runtime.backends import openvino as backend

    monkeypatch.setitem(backend.PRECISIONS, "bf16", ("dynamic", "f16", "FP32"))
    with pytest.raises(MissingError, match=r"OpenVINO would run in .*f32 on CPU") as caught:
        Engine(make_bundle("openvino", precision="bf16"))  # its layers are float32, and its hint leaves them so
    assert caught.value.expected == "f16 on CPU"


@pytest.mark.skipif("FP16" not in CAPABILITIES, reason="this CPU cannot run fp16: another test says so")
def test_what_a_float16_model_keeps_in_float32_stays_there(tmp_path: Path) -> None:
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Cast", ["x"], ["x_half"], to=half),
        helper.make_node("MatMul", ["x_half", "identity"], ["y_half"]),
        helper.make_node("Cast", ["y_half"], ["y_single"], to=single),
        helper.make_node("Mul", ["y_single", "y_single"], ["square"]),
        helper.make_node("Add", ["square", "square"], ["sum"]),
        helper.make_node("Sqrt", ["sum"], ["magnitude"]),
    ]
    spec = [("x", single, ["batch", 2])], [("magnitude", single, ["batch", 2])]
    save_model(onnx_model(nodes, *spec, {"identity": np.eye(2, dtype=np.float16)}), tmp_path / "b", "openvino")
    specs = [{"name": name, "dtype": "float32", "shape": ["batch", 2]} for name in ("x", "magnitude")]
    manifest = manifest_for(target="openvino", precision="fp16", preprocessing=None, labels=None)
    manifest |= {"inputs": [{**specs[0], "layout": None}], "outputs": [specs[1]]}
    x = np.array([[300, 60000], [1e-4, 0]], np.float32)
    with Engine(write_files(tmp_path / "b", manifest)) as engine:
        found = engine(x)["magnitude"]
    # 60000 squared is beyond float16, 1e-4 squared below it; x itself is rounded to 11 bits
    np.testing.assert_allclose(found, np.sqrt(2) * x, rtol=5e-4)


@pytest.mark.parametrize(
    ("target", "device", "cause", "fix"),
    [
        ("openvino", "CPU.7", "calls none so", "CPU"),
        ("openvino", "CPUU", "calls none so", "CPU"),
        ("openvino", "NPU", "finds no NPU, or no driver", ""),
        ("openvino", "HETERO:GPU.1,CPU", "finds no GPU, or no driver", ""),
        ("openvino", "MULTI:CPU", "calls none so", ""),
        ("onnx", "TPU", "", "CPU"),
        ("onnx", "GPU", "", "CUDA or TENSORRT on a GPU of NVIDIA"),
        ("onnx", "Azure", "", ""),
        ("onnx", "cuda:1", "", "pip install onnxruntime-gpu"),
        ("onnx", "HETERO:TENSORRT,CPU", "", "pip install onnxruntime-gpu"),
        ("onnx", "XNNPACK", "", ""),
    ],
)
def test_a_device_that_is_not_here_is_an_error_that_says_how_to_get_it(
    make_bundle: MakeBundle, target: str, device: str, cause: str, fix: str
) -> None:
    with pytest.raises(MissingError, match="has no device") as caught:
        Engine(make_bundle(target), device=device)
    assert cause in caught.value.cause
    assert fix in caught.value.fix


@pytest.mark.parametrize("device", ["CPU.1", "CUDA.X", "WEBGPU.0", "OPENVINO.TPU", "AUTO", "AUTO:CUDA,CPU"])
def test_parts_that_a_provider_does_not_have_are_bad_usage(make_bundle: MakeBundle, device: str) -> None:
    with pytest.raises(InputError, match=f"device is '{device}'") as caught:
        Engine(make_bundle("onnx"), device=device)
    assert device.partition(".")[0] in caught.value.expected or "HETERO: and several of them" in caught.value.expected


@pytest.mark.parametrize("device", ["AUTO", "auto:cpu", "HETERO:CPU"])
def test_what_chooses_or_splits_computes_what_the_device_does_and_says_which_it_was(
    make_bundle: MakeBundle, pixels: np.ndarray, device: str
) -> None:
    folder = make_bundle("openvino")
    with Engine(folder) as engine, Engine(folder, device=device, threads=1) as other:
        for name, array in engine(pixels).items():
            np.testing.assert_allclose(other(pixels)[name], array, rtol=1e-5, atol=1e-5)
        facts, layers = other.describe(), engine.describe()["layers"]
        assert len(other.profile(runs=1).operators) == len(engine.profile(runs=1).operators) > 0
    is_split = device == "HETERO:CPU"
    assert facts["device"] == ("HETERO:CPU" if is_split else "CPU")
    assert facts.get("chosen_by") == (None if is_split else "AUTO:CPU")
    assert facts["layers"] == layers  # float32, handed on: left alone it would be bfloat16 where the CPU has that
    assert ("nodes" in facts) == is_split
    assert facts.get("nodes", "16 CPU").endswith(" CPU")


def test_threads_for_a_device_that_has_none_are_an_error(make_bundle: MakeBundle) -> None:
    from hamsa_runtime.backends.openvino import threads_option

    with pytest.raises(InputError, match="threads is 2") as caught:
        threads_option(2, (Name("GPU", "1"), Name("NPU")))
    assert "GPU.1, NPU does the work" in caught.value.expected
    assert threads_option(2, (Name("GPU"), Name("CPU"))) == {"INFERENCE_NUM_THREADS": 2}


class TestNodesElsewhere:
    """A provider that takes no node: ONNX Runtime's package has one, Azure's, for calls of a service."""

    @pytest.fixture(autouse=True)
    def azure(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from hamsa_runtime.backends import onnxruntime as backend

        if "AzureExecutionProvider" not in onnxruntime.get_available_providers():
            pytest.skip("this build of onnxruntime has no AzureExecutionProvider")
        if not hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info"):
            pytest.skip("this onnxruntime does not tell which node runs where: 1.24 and later do")
        monkeypatch.setitem(PROVIDERS, "AZURE", Provider("AzureExecutionProvider", "onnxruntime"))
        monkeypatch.setitem(backend.KINDS, "AzureExecutionProvider", "AZURE")

    def test_they_are_named(self, make_bundle: MakeBundle) -> None:
        with pytest.raises(MissingError) as caught:
            Engine(make_bundle("onnx"), device="azure")
        error = caught.value
        assert error.found.startswith("9 of 9 nodes would run on CPU, not on AZURE: Cast")
        assert error.found.endswith("and 5 more")
        assert error.fix == "HETERO:AZURE,CPU as the device, which lets them"

    def test_unless_they_may_be(self, make_bundle: MakeBundle, pixels: np.ndarray) -> None:
        folder = make_bundle("onnx")
        with Engine(folder) as engine, Engine(folder, device="HETERO:AZURE,CPU") as other:
            facts = other.describe()
            np.testing.assert_array_equal(other(pixels)["logits"], engine(pixels)["logits"])
            assert len(other.profile(runs=1).operators) == len(engine.profile(runs=1).operators)
        assert (facts["device"], facts["nodes"]) == ("HETERO:AZURE,CPU", "9 CPU")

    def test_an_onnxruntime_that_does_not_tell_is_not_trusted(
        self, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = "get_provider_graph_assignment_info"
        monkeypatch.delattr(next(each for each in onnxruntime.InferenceSession.__mro__ if name in vars(each)), name)
        with pytest.raises(MissingError, match="does not tell which node runs on HETERO:AZURE,CPU"):
            Engine(make_bundle("onnx"), device="HETERO:AZURE,CPU")

    def test_a_provider_that_does_not_start_is_an_error_even_where_others_may_run(
        self, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(onnxruntime.InferenceSession, "get_providers", lambda session: ["CPUExecutionProvider"])
        with pytest.raises(MissingError, match="no device 'AZURE' here: the provider does not start"):
            Engine(make_bundle("onnx"), device="HETERO:AZURE,CPU")


def test_a_provider_that_has_devices_is_given_one_of_them_with_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plug-in's, in a package of its own or in a build of onnxruntime; ONNX Runtime takes no other way to it."""
    from hamsa_runtime.backends import providers

    def device(provider: str, hardware: str) -> Any:
        return SimpleNamespace(ep_name=provider, device=SimpleNamespace(type=SimpleNamespace(name=hardware)))

    class Options:
        def add_provider_for_devices(self, devices: list[Any], options: dict[str, str]) -> None:
            self.given = devices, options

    cuda = [device("CUDAExecutionProvider", "GPU") for _ in range(2)]
    openvino = [device("OpenVINOExecutionProvider", kind) for kind in ("GPU", "CPU")]
    monkeypatch.setattr(onnxruntime, "get_ep_devices", lambda: [*cuda, *openvino])
    monkeypatch.setattr(providers, "problem_of", lambda kind: ("", ""))
    for name, found, extra in [
        (Name("CUDA", "1"), cuda[1], {"use_tf32": "0"}),
        (Name("OPENVINO"), openvino[1], {"precision": "ACCURACY"}),
        (Name("OPENVINO", "GPU"), openvino[0], {"precision": "ACCURACY"}),
    ]:
        options = Options()
        providers.add_provider(options, name, "fp32")
        assert options.given == ([found], extra)
    for name in (Name("CUDA", "2"), Name("OPENVINO", "NPU")):
        with pytest.raises(MissingError, match="has no device"):
            providers.add_provider(Options(), name, "fp32")


def test_float32_where_a_provider_cannot_be_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from hamsa_runtime.backends import providers

    monkeypatch.setattr(providers, "problem_of", lambda kind: ("", ""))
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    options = onnxruntime.SessionOptions()
    with pytest.raises(MissingError, match="TENSORRT would not compute in float32") as caught:
        providers.add_provider(options, Name("TENSORRT"), "fp32")
    assert "TF32" in caught.value.cause
    assert caught.value.fix == "start with NVIDIA_TF32_OVERRIDE=0"


@pytest.mark.parametrize("margin", [0, 1])
def test_onnxruntime_sets_memory_aside_for_small_files_only(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch, margin: int
) -> None:
    from hamsa_runtime.backends import onnxruntime as backend

    session, given = onnxruntime.InferenceSession, []

    def kept(path: Path, options: onnxruntime.SessionOptions, **more: Any) -> onnxruntime.InferenceSession:
        given.append(options.enable_mem_pattern)
        return session(path, options, **more)

    bundle = make_bundle("onnx")
    monkeypatch.setattr(backend, "LARGE_FILE_BYTES", (bundle / "model.onnx").stat().st_size + margin)
    monkeypatch.setattr(onnxruntime, "InferenceSession", kept)
    Engine(bundle).close()
    assert given == [margin == 1]


def test_onnxruntime_has_no_bfloat16(make_bundle: MakeBundle) -> None:
    with pytest.raises(MissingError, match="cannot run bf16"):
        Engine(make_bundle("onnx", precision="bf16"))


NATIVE = {"plan": [{"module": "blocks.0", "length": 96, "factors": [96], "kind": "native"}]}


@pytest.mark.parametrize("version", ["1.23.2", "1.26.0"])
def test_native_transforms_need_an_onnxruntime_that_has_all_of_them(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    folder = make_bundle("onnx", **NATIVE)
    monkeypatch.setattr(onnxruntime, "__version__", version)
    with pytest.raises(MissingError, match=f"ONNX Runtime {version} has no inverse DFT") as caught:
        Engine(folder)
    assert "1.27" in caught.value.expected
    Engine(make_bundle("onnx", folder=folder.parent / "products")).close()
    monkeypatch.setattr(onnxruntime, "__version__", "1.27.0")
    Engine(folder).close()


def test_openvino_does_not_run_native_transforms(make_bundle: MakeBundle) -> None:
    with pytest.raises(MissingError, match="reads the operator DFT wrongly"):
        Engine(make_bundle("onnx", **NATIVE), backend="openvino")


def test_a_misspelt_backend_names_the_nearest(make_bundle: MakeBundle) -> None:
    with pytest.raises(InputError, match="unknown backend 'opnvino'") as caught:
        Engine(make_bundle(), backend="opnvino")
    assert "'openvino'" in caught.value.fix


def test_a_backend_that_cannot_run_the_target_is_an_error(make_bundle: MakeBundle) -> None:
    with pytest.raises(InputError, match="does not run bundles for 'openvino'"):
        Engine(make_bundle("openvino"), backend="onnxruntime")


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_setting_of_another_backend_is_an_error(make_bundle: MakeBundle, backend: str) -> None:
    with pytest.raises(InputError, match=f"the {backend} backend has no CUDA graphs"):
        Engine(make_bundle(), backend=backend, cuda_graph=True)


def test_results_on_the_gpu_need_a_backend_that_has_one(make_bundle: MakeBundle, pixels: np.ndarray) -> None:
    with Engine(make_bundle()) as engine, pytest.raises(MissingError, match="are on the CPU"):
        engine.on_device(pixels)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_file_that_the_engine_cannot_load_is_a_build_error(tmp_path: Path, backend: str) -> None:
    model = image_model("graph", "batch")
    model.graph.node[0].op_type = "NoSuchOperator"
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    write_files(tmp_path, manifest_for())
    with pytest.raises(BuildError, match=r"model\.onnx") as caught:
        Engine(tmp_path, backend=backend)
    assert caught.value.exit_code == 5
    assert len(str(caught.value).splitlines()) > 1  # with what the engine said


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        ({"shape": [7, 8, 12, 3]}, r"uint8 \(any, 8, 12, 3\)"),
        ({"shape": [2**53, 8, 12, 3]}, r"uint8 \(any, 8, 12, 3\)"),
        ({"shape": ["batch", 8, 12]}, r"uint8 \(any, 8, 12, 3\)"),
        ({"shape": ["batch", "batch", 12, 3]}, r"uint8 \(any, 8, 12, 3\)"),
        ({"dtype": "float32"}, r"uint8 \(any, 8, 12, 3\)"),
    ],
)
def test_sizes_that_are_not_the_graphs_are_refused_when_the_engine_is_loaded(
    make_bundle: MakeBundle, inputs: dict[str, Any], found: str, backend: str
) -> None:
    image = {"name": "image", "dtype": "uint8", "shape": ["batch", 8, 12, 3], "layout": None}
    folder = make_bundle("onnx")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {"preprocessing": None, "inputs": [{**image, **inputs}]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BuildError, match=f"the model's input 'image' is {found}"):
        Engine(folder, backend=backend)


def test_an_output_that_the_model_lacks_is_a_build_error(make_bundle: MakeBundle, tmp_path: Path) -> None:
    outputs: list[Any] = [{"name": "boxes", "dtype": "float32", "shape": ["batch", 4]}]
    for target in CPU_TARGETS:
        with pytest.raises(BuildError, match="boxes"):
            Engine(make_bundle(target, folder=tmp_path / target, outputs=outputs))


def test_a_missing_package_names_its_extra(make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    backends = {name: entry for name, entry in BACKENDS.items() if "onnx" in entry.runs}
    for name, entry in backends.items():
        monkeypatch.delitem(sys.modules, entry.module, raising=False)
        monkeypatch.setitem(sys.modules, name, None)  # makes `import` fail
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("something was started"))
    folder = make_bundle()
    for name, entry in backends.items():
        with pytest.raises(MissingError, match=name) as caught:
            Engine(folder, backend=name)
        assert caught.value.fix == f"pip install 'hamsa-runtime[{entry.extra}]'"
        assert caught.value.exit_code == 4


def test_every_backend_is_an_extra_of_the_distribution() -> None:
    text = (Path(__file__).parents[2] / "runtimes" / "python" / "pyproject.toml").read_text()
    for entry in BACKENDS.values():
        assert f"\n{entry.extra} = [" in text


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import hamsa_runtime; "
        "took = time.perf_counter() - start; hamsa_runtime.InputError; hamsa_runtime.MissingError; "
        "heavy = {'numpy', 'PIL', 'torch', 'openvino', 'onnxruntime', 'onnx'} & set(sys.modules); "
        "print(sorted(heavy), took < 0.3)"
    )
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert result.stdout.strip() == "[] True", result.stderr


def test_one_engine_imports_only_its_own_backend(make_bundle: MakeBundle) -> None:
    code = (
        "import sys; from hamsa_runtime import Engine; Engine(sys.argv[1]).close(); "
        "print(sorted({'torch', 'openvino', 'onnxruntime', 'hamsa_deploy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code, make_bundle()], capture_output=True, text=True)
    assert result.stdout.strip() == "['onnxruntime']", result.stderr


def test_loading_openvino_starts_and_reports_nothing(make_bundle: MakeBundle, tmp_path: Path) -> None:
    code = (
        "import os, sys; os.fork = lambda: print('forked'); from hamsa_runtime import Engine; "
        "Engine(sys.argv[1]).close(); print('openvino' in sys.modules, 'openvino_telemetry' in sys.modules); "
        "import openvino_telemetry"
    )
    home = tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "CI": ""}
    command: list[str | Path] = [sys.executable, "-c", code, make_bundle("openvino")]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.stdout.split("\n") == ["True False", ""], result.stderr
    assert list(home.iterdir()) == []
