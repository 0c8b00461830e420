"""What a model keeps between calls: carried by the engine, from the first value that the bundle says."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from hamsa_runtime import Engine
from hamsa_runtime.errors import BuildError, InputError

from .tiny_bundles import manifest_for, onnx_model, write_files

FIRST = np.array([[1.0, 2.0, 3.0]], np.float32)
FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64


def sums(batch: int | str = 1) -> Any:
    """y = total + x, total' = y, calls' = calls + 1."""
    nodes = [
        helper.make_node("Add", ["state.total", "x"], ["y"]),
        helper.make_node("ReduceSum", ["y", "rows"], ["next.total"], keepdims=1),
        helper.make_node("Add", ["state.calls", "one"], ["next.calls"]),
        helper.make_node("Identity", ["next.calls"], ["calls"]),
    ]
    inputs = [("x", FLOAT, [batch, 3]), ("state.calls", INT, []), ("state.total", FLOAT, [1, 3])]
    outputs = [("y", FLOAT, [batch, 3]), ("calls", INT, []), ("next.calls", INT, []), ("next.total", FLOAT, [1, 3])]
    return onnx_model(nodes, inputs, outputs, {"one": np.array(1), "rows": np.array([0])})


def kept(name: str, dtype: str, shape: list[int], *, stored: bool) -> dict[str, Any]:
    ports = {"input": f"state.{name}", "output": f"next.{name}"}
    return {"name": name, "dtype": dtype, "shape": shape, **ports, "stored": stored}


@pytest.fixture(params=["onnxruntime", "openvino"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    with Engine(bundle(tmp_path), backend=request.param) as opened:
        yield opened


def bundle(folder: Path, batch: int | str = 1) -> Path:
    manifest = manifest_for(
        inputs=[{"name": "x", "dtype": "float32", "shape": [batch, 3], "layout": None}],
        outputs=[
            {"name": "y", "dtype": "float32", "shape": [batch, 3], "batch_axis": None},
            {"name": "calls", "dtype": "int64", "shape": [], "batch_axis": None},
        ],
        states=[kept("calls", "int64", [], stored=False), kept("total", "float32", [1, 3], stored=True)],
        preprocessing=None,
        labels=None,
        target="onnx",
    )
    (folder / "model.onnx").write_bytes(sums(batch).SerializeToString())
    (folder / "state_1.bin").write_bytes(FIRST.tobytes())
    return write_files(folder, manifest)


def totals(engine: Engine, calls: int) -> list[float]:
    return [float(engine(np.ones((1, 3), np.float32))["y"][0, 0]) for _ in range(calls)]


def test_each_call_goes_on_where_the_last_one_ended_and_reset_starts_anew(engine: Engine) -> None:
    assert totals(engine, 3) == [2, 3, 4]
    assert int(engine(np.ones((1, 3), np.float32))["calls"]) == 4
    engine.reset()
    found = engine({"x": np.zeros((1, 3), np.float32)})
    assert list(found) == ["y", "calls"]
    assert np.array_equal(found["y"], FIRST)


def test_warming_up_and_measuring_leave_it_as_it_was(engine: Engine) -> None:
    assert totals(engine, 1) == [2]
    engine.warm_up()
    engine.profile(runs=2)
    engine.operators()
    assert totals(engine, 1) == [3]


def test_a_call_that_fails_leaves_it_as_it_was(engine: Engine) -> None:
    assert totals(engine, 1) == [2]
    with pytest.raises(InputError):
        engine(np.ones((1, 4), np.float32))
    assert totals(engine, 1) == [3]


def test_streams_and_threads_take_their_turns(engine: Engine) -> None:
    x = np.ones((1, 3), np.float32)
    assert [float(each["y"][0, 0]) for each in engine.stream([x] * 5)] == [2, 3, 4, 5, 6]
    threads = [threading.Thread(target=totals, args=(engine, 20)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert totals(engine, 1) == [87]


def test_with_throughput_calls_take_their_turns_too(tmp_path: Path) -> None:
    with Engine(bundle(tmp_path), backend="openvino", hint="throughput") as engine:
        x = np.ones((1, 3), np.float32)
        assert [float(each["y"][0, 0]) for each in engine.stream([x] * 20)] == list(range(2, 22))


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"shape": [1, 4]}, r"state_1\.bin: bytes is 12"),
        ({"input": "x"}, "inputs: names"),
        ({"output": "next.calls"}, "outputs: names"),
        ({"name": "calls"}, "states: names"),
    ],
    ids=["another size", "an input", "another state's output", "twice"],
)
def test_a_state_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], found: str) -> None:
    folder = bundle(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["states"][1].update(changes)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=found):
        Engine(folder)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("shape", [[2**40], [2**53, 2**53], [1]])
def test_a_state_of_another_size_than_the_graphs_is_refused_before_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: list[int], backend: str
) -> None:
    folder = bundle(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["states"][0]["shape"] = shape
    (folder / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setattr("hamsa_runtime.engine.CarriedStates", lambda *_: pytest.fail("a state was made"))
    with pytest.raises(BuildError, match=r"the model's input 'state\.calls' is int64 \(\)"):
        Engine(folder, backend=backend)


def test_a_graph_without_the_states_is_no_graph_of_the_bundle(tmp_path: Path) -> None:
    folder = bundle(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["states"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BuildError, match=r"state\.calls"):
        Engine(folder)
