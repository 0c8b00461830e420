"""A repaired file beside its original: both run on ONNX Runtime, on the same seeded inputs.

ONNX Runtime's own DFT may be the less accurate one, and what follows may magnify that. Where the two differ by more
than it is usually off, the original in float64 on onnx.reference says which of them is right.

All of that is done in a process of limited time and memory (hamsa_runtime/trial.py): the file is a stranger's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx

from hamsa_runtime.batches import Arrays
from hamsa_runtime.errors import HamsaError, InputError, ParityError
from hamsa_runtime.fix.loading import check_number_of_steps, load_onnx
from hamsa_runtime.fix.operators import Dft, Stft
from hamsa_runtime.fix.reference_session import ReferenceSession
from hamsa_runtime.fix.verification import SEED, relative_error
from hamsa_runtime.trial import NO_MEMORY, limited, seconds_for, try_in_a_process
from hamsa_runtime.vocabulary import TRIAL_SECONDS
from hamsa_runtime.whole_files import scratch_folder

# ONNX Runtime's DFT is off by 5e-5 at the usual lengths, and by more beyond 1,500 points; float16 rounds to 5e-4.
USUAL, USUAL_FLOAT16 = 1e-4, 2e-3
DATA_FOLDER = "session.model_external_initializers_file_folder_path"
# Sizes that may be any: batches, and everything else.
BATCHES, SIZE = (2, 1), 8
REPAIRED, OUTCOME = "repaired.onnx", "outcome.json"


@dataclass(frozen=True)
class Whole:
    """What running both files has shown.

    Attributes:
        apart: how far the worst outputs are apart, relative to the largest value; None where not both ran.
        original, repaired: how far each is from the original in float64, where that had to be asked.
        not_run: why not both were run, in words; empty where they were.
    """

    apart: float | None = None
    original: float | None = None
    repaired: float | None = None
    not_run: str = ""


def compare(path: Path, repaired: bytes, operators: Sequence[Dft | Stft], data: Iterable[Path] = ()) -> Whole:
    """Run a file and what it is to become.

    Args:
        path: the original.
        repaired: the other one, whose external data are the original's.
        operators: that were replaced: a signal of any length is made long enough for them.
        data: the files of external data.

    Raises:
        ParityError: they differ, and it is not the original's transforms that are off; or the repaired file does not
            run where the original does.
    """
    try:
        import onnxruntime  # noqa: F401  # before a process is started for it
    except ImportError:
        return Whole(not_run="onnxruntime is not installed")
    size = len(repaired) + sum(file.stat().st_size for file in (path, *data))
    with scratch_folder() as folder:
        (folder / REPAIRED).write_bytes(repaired)
        words = json.dumps([str(path), str(folder), _long_enough(operators), size])
        try:
            check_number_of_steps(path)
            try_in_a_process(str(path), __name__, _run_both.__name__, [words], seconds_for(TRIAL_SECONDS, size))
            outcome = json.loads((folder / OUTCOME).read_text("utf-8"))
        except InputError as error:
            return Whole(not_run=error.found.removeprefix(str(path)).lstrip(": "))
        except FileNotFoundError:
            return Whole(not_run="the comparison did not end")
    return _judged(path, outcome)


def _judged(path: Path, outcome: dict[str, Any]) -> Whole:
    if "broken" in outcome:
        raise ParityError(
            f"ONNX Runtime runs {path}, and not what it became: {outcome['broken']}",
            expected="both to run",
            cause="a bug of hamsa-fix; nothing was written",
        )
    if "no_reference" in outcome:
        raise _differ(path, outcome, f"and no reference says which is right: {outcome['no_reference']}")
    if "not_run" in outcome:
        return Whole(not_run=outcome["not_run"])
    whole = Whole(outcome["apart"], outcome.get("original"), outcome.get("repaired"))
    if whole.original is None or whole.repaired is None or whole.repaired <= max(outcome["allowed"], whole.original):
        return whole
    more = f"off by {whole.repaired:.1e} from the original in float64, which is off by {whole.original:.1e} itself"
    raise _differ(path, outcome, more)


def _run_both(words: Sequence[str]) -> None:
    """In the child: leave the outcome in the folder."""
    path, folder, some, size = json.loads(words[0])

    def run() -> None:
        outcome = _outcome(Path(path), Path(folder, REPAIRED).read_bytes(), some)
        Path(folder, OUTCOME).write_text(json.dumps(outcome), "utf-8")

    limited([run], size)


def _outcome(path: Path, repaired: bytes, some: int) -> dict[str, Any]:
    import onnxruntime

    proto = onnx.load(path, load_external_data=False)
    not_run = "it has inputs that are no numbers"
    for batch in BATCHES:
        feeds = _feeds(proto, batch, some)
        if feeds is None:
            break
        before, after = (_run(onnxruntime, data, path.parent, feeds) for data in (path.read_bytes(), repaired))
        if isinstance(before, str):
            not_run = f"ONNX Runtime does not run the original: {before}"
            continue
        if isinstance(after, str):
            return {"broken": after}
        return _compared(path, feeds, before, after)
    return {"not_run": not_run}


def _compared(path: Path, feeds: Arrays, original: Arrays, repaired: Arrays) -> dict[str, Any]:
    apart = _apart(repaired, original)
    allowed = USUAL_FLOAT16 if any(array.dtype.itemsize == 2 for array in original.values()) else USUAL
    outcome = {"apart": apart, "allowed": allowed}
    if apart <= allowed:
        return outcome
    try:
        expected = ReferenceSession(load_onnx(path))(feeds)
    except HamsaError as error:
        return {**outcome, "no_reference": error.found}
    return {**outcome, "original": _apart(original, expected), "repaired": _apart(repaired, expected)}


def _differ(path: Path, outcome: dict[str, Any], more: str) -> ParityError:
    return ParityError(
        f"{path} and what it became differ by {outcome['apart']:.1e} on ONNX Runtime, {more}",
        expected=f"at most {outcome['allowed']:g} of the largest value",
        cause="a model that magnifies rounding, or a bug of hamsa-fix; nothing was written",
    )


def _apart(found: Arrays, expected: Arrays) -> float:
    return max((relative_error(found[name], array) for name, array in expected.items()), default=0.0)


def _run(onnxruntime: ModuleType, data: bytes, folder: Path, feeds: Arrays) -> Arrays | str:
    """The outputs by name, or what ONNX Runtime says instead."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry(DATA_FOLDER, str(folder))
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        results = session.run(None, feeds)
    except Exception as error:  # it has many classes for it
        if any(words in str(error) for words in NO_MEMORY):  # which is nobody's fault, and for the parent to say
            raise MemoryError from error
        return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    arrays = {output.name: result for output, result in zip(session.get_outputs(), results, strict=True)}
    return {name: array for name, array in arrays.items() if isinstance(array, np.ndarray) and array.dtype != object}


def _feeds(proto: onnx.ModelProto, batch: int, some: int) -> Arrays | None:
    """Seeded inputs; None where some are no tensors of numbers. A size that has a name is the same everywhere."""
    rng = np.random.default_rng(SEED)
    sizes: dict[str, int] = {}
    held = {tensor.name for tensor in proto.graph.initializer}
    feeds = {}
    for value in proto.graph.input:
        if value.name in held:
            continue
        kind = value.type.tensor_type
        if not value.type.HasField("tensor_type") or kind.elem_type == onnx.TensorProto.STRING:
            return None
        shape = []
        for axis, dim in enumerate(kind.shape.dim):
            free = batch if axis == 0 else some
            shape.append(
                dim.dim_value
                if dim.HasField("dim_value")
                else sizes.setdefault(dim.dim_param or f"{value.name} {axis}", free)
            )
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        feeds[value.name] = _drawn(rng, shape, dtype)
    return feeds


def _long_enough(operators: Sequence[Dft | Stft]) -> int:
    """A size for a dynamic dimension: some frames of every STFT of any length, with something for a reflection."""
    return max([SIZE, *(2 * each.length + 3 * each.step + 1 for each in operators if isinstance(each, Stft))])


def _drawn(rng: np.random.Generator, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """Noise; of integers 0 and 1, which are indices of anything."""
    if np.issubdtype(dtype, np.integer) or dtype == np.bool_:
        return rng.integers(0, 2, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)
