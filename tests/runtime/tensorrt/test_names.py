"""Every name of TensorRT and CUDA that the runtime uses exists in the real modules, with the arguments it is given.

The names were compared by hand with the bindings of tensorrt 10.3.0, 10.13.0 and 11.4.0, which cannot be imported
without the library that they bind; here they are with tensorrt_rtx and cuda.bindings.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from types import ModuleType

import pytest

from hamsa_runtime import tensorrt as package

SOURCES = Path(inspect.getfile(package)).parent
# class -> its members that are used
USED = {
    "Runtime": ["deserialize_cuda_engine"],
    "ICudaEngine": [
        "num_io_tensors",
        "get_tensor_name",
        "get_tensor_mode",
        "get_tensor_dtype",
        "get_tensor_shape",
        "get_tensor_profile_shape",
        "create_execution_context",
        "create_engine_inspector",
    ],
    "IExecutionContext": ["get_tensor_shape", "set_input_shape", "set_tensor_address", "execute_async_v3"],
    "EngineInspector": ["execution_context", "get_engine_information"],
    "LayerInformationFormat": ["JSON"],
    "TensorIOMode": ["INPUT"],
    "ILogger": ["ERROR", "WARNING"],
    "Refitter": ["refit_cuda_engine"],
    "OnnxParserRefitter": ["refit_from_file"],
}
RTX_ONLY = {
    "ICudaEngine": ["create_runtime_config"],
    "IRuntimeConfig": ["create_runtime_cache", "set_runtime_cache", "cuda_graph_strategy"],
    "IRuntimeCache": ["serialize", "deserialize"],
    "CudaGraphStrategy": ["WHOLE_GRAPH_CAPTURE"],
}
# the first line of each docstring says which arguments the binding takes
ARGUMENTS = {
    "cudaGetDeviceCount": 0,
    "cudaGetDeviceProperties": 1,
    "cudaGetDevice": 0,
    "cudaSetDevice": 1,
    "cudaMemGetInfo": 0,
    "cudaDriverGetVersion": 0,
    "cudaRuntimeGetVersion": 0,
    "cudaGetErrorName": 1,
    "cudaGetErrorString": 1,
    "cudaMalloc": 1,
    "cudaFree": 1,
    "cudaMallocHost": 1,
    "cudaFreeHost": 1,
    "cudaMemcpyAsync": 5,
    "cudaStreamCreateWithFlags": 1,
    "cudaStreamDestroy": 1,
    "cudaStreamSynchronize": 1,
    "cudaStreamBeginCapture": 2,
    "cudaStreamEndCapture": 1,
    "cudaGraphInstantiate": 2,
    "cudaGraphLaunch": 2,
    "cudaGraphDestroy": 1,
    "cudaGraphExecDestroy": 1,
}
CONSTANTS = [
    "cudaStreamNonBlocking",
    "cudaMemcpyKind.cudaMemcpyHostToDevice",
    "cudaMemcpyKind.cudaMemcpyDeviceToHost",
    "cudaMemcpyKind.cudaMemcpyDeviceToDevice",
    "cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal",
]


def module_or_skip(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        pytest.skip(f"{name} cannot be imported: {error}")


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt_rtx"])
def test_tensorrt_has_what_is_used(name: str) -> None:
    trt = module_or_skip(name)
    used = [*USED.items(), *(RTX_ONLY.items() if name == "tensorrt_rtx" else ())]
    missing = [
        f"{each}.{member}" for each, members in used for member in members if not hasattr(getattr(trt, each), member)
    ]
    assert missing == []


def test_tensorrt_knows_the_types_by_the_names_that_are_used() -> None:
    from hamsa_runtime.tensorrt.ports import DTYPES

    trt = module_or_skip("tensorrt_rtx")
    assert set(DTYPES) <= {getattr(trt.DataType, name).name for name in dir(trt.DataType) if name.isupper()}


def test_cuda_has_what_is_used_with_these_arguments() -> None:
    runtime = module_or_skip("cuda.bindings.runtime")
    for name, count in ARGUMENTS.items():
        signature = (getattr(runtime, name).__doc__ or "").splitlines()[0]
        arguments = signature.partition("(")[2].rpartition(")")[0]
        assert (len(arguments.split(",")) if arguments else 0) == count, signature
    for path in CONSTANTS:
        found: object = runtime
        for part in path.split("."):
            found = getattr(found, part)


def test_error_names_are_those_of_cuda() -> None:
    from hamsa_runtime.tensorrt.cuda import ADVICE

    runtime = module_or_skip("cuda.bindings.runtime")
    assert [name for name in ADVICE if not hasattr(runtime.cudaError_t, name)] == []


def test_no_function_of_cuda_is_called_that_is_not_listed_here() -> None:
    """And none in another file than cuda.py."""
    words: dict[str, set[str]] = {}
    for path in sorted(SOURCES.glob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        found = {each for each in texts | attributes if each.startswith("cuda") and each.isalnum()}
        words[path.name] = {each for each in found if not each.startswith("cudaError")}
    listed = {part for path in (*ARGUMENTS, *CONSTANTS) for part in path.split(".")}
    assert words.pop("cuda.py") <= listed | {"cudaMemcpy"}  # the kind of a copy is put together
    assert {name: found for name, found in words.items() if found} == {}
