"""Safe checkpoint loading: file -> state dict -> model. No code of a checkpoint ever runs.

.safetensors    header checked by safetensors_header.py, then read by the safetensors library
.pt, .pth       torch.load(weights_only=True), once; there is no other try
anything else   refused; .pt2 (an exported program carries code) also by its content
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from hamsa_deploy.models.resample import fit_kernels
from hamsa_deploy.models.safetensors_header import check_safetensors
from hamsa_runtime.errors import InputError
from hamsa_runtime.file_checks import check_received

logger = logging.getLogger("hamsa_deploy")

SAFE_ROUTE = (
    "where you trust the file, save its weights as safetensors: "
    "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
)
# Where training scripts put the state dict, best first.
WRAPPERS = ("model", "state_dict", "model_ema")
MAX_NESTING = 4
# Left by DistributedDataParallel and torch.compile.
PREFIXES = ("module.", "_orig_mod.")
# BatchNorm's counter of training steps; inference never reads it, so checkpoints may lack or carry it.
COUNTER = "num_batches_tracked"


def load_checkpoint(path: str | PathLike[str]) -> dict[str, Tensor]:
    """Read the state dict of a .safetensors, .pt or .pth file onto the CPU.

    The state dict is found at the top or under `model`, `state_dict` or `model_ema`; prefixes that wrappers
    leave on all names (`module.`) are taken off.

    Raises:
        InputError: no such file; a Git LFS pointer, a web page, an empty file; an exported program or any
            other type; a header that does not describe the file; objects other than tensors; no state dict.
    """
    path = Path(path)
    _check_is_weights(path)
    if path.suffix == ".safetensors":
        check_safetensors(path)
        return _without_prefixes(_read_safetensors(path))
    return _without_prefixes(_state_dict_in(_read_pickle(path), path))


def load_weights(model: nn.Module, path: str | PathLike[str]) -> None:
    """Load a checkpoint into a model: all of it or nothing.

    Kernels psi of HAMSA that were trained at another image size are resampled (see resample.py), and the log
    says so.

    Raises:
        InputError: as `load_checkpoint`; missing, extra and mis-shaped names, all listed; NaN or Inf, naming
            the tensors.
    """
    path = Path(path)
    state = fit_kernels(model, load_checkpoint(path))
    expected = model.state_dict()
    _check_keys(path, state, expected)
    state = {name: value.to(expected[name].dtype) for name, value in state.items() if name in expected}
    _check_finite(path, state)
    model.load_state_dict(state, strict=False)  # strictness is _check_keys, which says more and comes before


def _check_is_weights(path: Path) -> None:
    """Refuse by name and first bytes whatever is not a file of weights."""
    check_received(path, "weights", "a .safetensors, .pt or .pth checkpoint")
    if path.suffix == ".pt2" or _is_exported_program(path):
        raise InputError(
            f"{path} is an exported program",
            expected="weights; a program from elsewhere can run code",
            fix=SAFE_ROUTE,
        )
    if path.suffix not in (".safetensors", ".pt", ".pth"):
        raise InputError(
            f"{path}: {path.suffix or 'no'} file type", expected=".safetensors, .pt or .pth", fix=SAFE_ROUTE
        )


def _is_exported_program(path: Path) -> bool:
    """True for an archive of torch.export.save, past and present, and for TorchScript: all carry programs."""
    try:
        if not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as archive:
            _check_stored(path, archive.infolist())
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError):
        return False  # damaged: torch.load refuses it and says so
    members = [name.rpartition("/")[2] for name in names]
    in_code_folder = any("/code/" in f"/{name}" for name in names)
    return in_code_folder or "archive_format" in members or "serialized_exported_program.json" in members


def _check_stored(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """torch.save compresses nothing, and torch.load takes what grows a thousand times."""
    claimed, held = sum(member.file_size for member in members), path.stat().st_size
    if claimed > held:
        raise InputError(
            f"{path} grows from {held} to {claimed} bytes",
            expected="an archive that is not compressed, as torch.save writes it",
            cause="a file that was packed again, or made to mislead",
            fix="torch.save(model.state_dict(), path)",
        )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path, device="cpu")
    except (safetensors.SafetensorError, ValueError, KeyError, OSError) as error:
        raise InputError(f"{path} cannot be read: {error}", expected="a safetensors file") from error


def _read_pickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged archives raise from many layers, without a common class
        raise InputError(
            f"{path} is refused: {_first_line(error)}",
            expected="tensors, and containers of them, written by torch.save",
            cause="the file holds other objects, whose loading could run code, or it is damaged",
            fix=SAFE_ROUTE,
        ) from error


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _state_dict_in(content: Any, path: Path) -> dict[str, Tensor]:
    """Follow WRAPPERS down to a mapping of tensors."""
    for _ in range(MAX_NESTING):
        if not isinstance(content, Mapping):
            break
        found = [key for key in WRAPPERS if isinstance(content.get(key), Mapping)]
        if not found:
            return _checked_tensors(content, path)
        if len(found) > 1 or found[0] == "model_ema":
            logger.info("%s holds %s: taking %r", path, " and ".join(map(repr, found)), found[0])
        content = content[found[0]]
    raise InputError(
        f"{path} holds a {type(content).__name__} where the state dict should be",
        expected=f"a dict of tensors, at the top or under {', '.join(WRAPPERS)}",
        fix="torch.save(model.state_dict(), path)",
    )


def _checked_tensors(content: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    odd = [str(name)[:80] for name, value in content.items() if not (isinstance(name, str) and _is_dense(value))]
    if odd or not content:
        raise InputError(
            f"{path} holds entries that are no dense tensors: {_listed(odd)}" if odd else f"{path} holds no tensors",
            expected=f"a dict of tensors, at the top or under {', '.join(WRAPPERS)}",
            fix="torch.save(model.state_dict(), path)",
        )
    return dict(content)


def _is_dense(value: Any) -> bool:
    """Whether it is a tensor with a value of its own for each element: not on the device meta, not nested, and not a
    value in the file that stands for many, which would grow when it is converted."""
    if not isinstance(value, Tensor) or value.is_nested or value.is_meta:
        return False
    if value.layout is not torch.strided or value.is_quantized:
        return False
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def _without_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take off a wrapper's prefix while every name has it."""
    while prefix := next((p for p in PREFIXES if state and all(name.startswith(p) for name in state)), None):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _check_keys(path: Path, state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Names, shapes and kinds of value must agree; everything that does not is listed at once."""
    missing = [name for name in expected if name not in state and not name.endswith(COUNTER)]
    extra = [name for name in state if name not in expected and not name.endswith(COUNTER)]
    common = [name for name in expected if name in state]
    differing = [
        f"{name} is {_kind(state[name])}, not {_kind(expected[name])}"
        for name in common
        if state[name].shape != expected[name].shape or _kind_class(state[name]) != _kind_class(expected[name])
    ]
    if not (missing or extra or differing):
        return
    parts = {"missing": missing, "extra": extra, "of another shape": differing}
    lines = [f"    {len(names)} {what}: {_listed(names)}" for what, names in parts.items() if names]
    raise InputError(
        "\n".join([f"{path} does not fit the model; nothing was loaded", *lines]),
        expected="the names and shapes of the model's state_dict()",
        fix=_way_out(differing, state, expected),
    )


def _way_out(differing: list[str], state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    head = "head.weight"
    if head in state and head in expected and any(line.startswith("head.") for line in differing):
        return f"the checkpoint has {state[head].shape[0]} classes: pass num_classes={state[head].shape[0]}"
    return "choose the model that was trained (another size?), or pass the options that it was trained with"


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _kind_class(tensor: Tensor) -> tuple[bool, bool]:
    """float16 may load into float32; complex into real, or quantised integers into floats, may not."""
    return tensor.is_complex(), tensor.is_floating_point()


def _check_finite(path: Path, state: Mapping[str, Tensor]) -> None:
    bad = [name for name, value in state.items() if not torch.isfinite(value).all()]
    if bad:
        raise InputError(
            f"{path} holds NaN or Inf in {_listed(bad)}; nothing was loaded",
            cause="training diverged, the file is damaged, or values overflow the model's dtype",
            fix="take an earlier checkpoint",
        )


def _listed(names: list[str]) -> str:
    return ", ".join(names)
