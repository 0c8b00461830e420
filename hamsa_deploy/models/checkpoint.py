"""Safe checkpoint loading: file -> state dict -> model. No code of a checkpoint ever runs.

.safetensors    header checked by safetensors_header.py, then read by the safetensors library
other files     torch.load(weights_only=True), once; there is no other try
other types     refused; .pt2 (an exported program carries code) also by its content
"""

from __future__ import annotations

import logging
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from hamsa_deploy.models.catalogue import SAFE_ROUTE, check_weights
from hamsa_deploy.models.pickled import Made, Outline, outline_of, paths_to_weights
from hamsa_deploy.models.resample import fit_kernels
from hamsa_deploy.models.safetensors_header import check_safetensors
from hamsa_runtime.errors import InputError, nearest

logger = logging.getLogger("hamsa_deploy")

# Where training scripts put the state dict, best first. One under any other name is found where it is the only one.
WRAPPERS = ("model", "state_dict", "model_ema")
MAX_NESTING = 4
MOST_NAMED = 6
# What a pickle has that is made to run something.
RUNS_CODE = (
    *(f"{module}." for module in ("os", "posix", "nt", "sys", "subprocess", "shutil", "socket", "runpy", "importlib")),
    *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in ("eval", "exec", "compile", "getattr")),
)
KEY_OPTION = "--weights-key"  # and weights_key= of load_model
# Left by DistributedDataParallel and torch.compile.
PREFIXES = ("module.", "_orig_mod.")
# BatchNorm's counter of training steps; inference never reads it, so checkpoints may lack or carry it.
COUNTER = "num_batches_tracked"


def load_checkpoint(path: str | PathLike[str], key: str | None = None) -> dict[str, Tensor]:
    """Read the state dict of a .safetensors, .pt, .pth, .ckpt or .bin file onto the CPU.

    Args:
        path: of the file.
        key: where the state dict is: a key of the file, or several with dots between them, such as "ema.generator"; and
            then perhaps what all names begin with, such as "state_dict.net" for net.head.weight. By default it is
            looked for at the top and under `model`, `state_dict` or `model_ema`, and anywhere else if there is only
            one; and prefixes that wrappers leave on all names (`module.`) are taken off.

    Raises:
        InputError: no such file; a Git LFS pointer, a web page, an empty file; an exported program or any
            other type; a header that does not describe the file; objects other than tensors; no state dict, several, or
            none under the key.
    """
    path = Path(path)
    _check_is_weights(path)
    if path.suffix == ".safetensors":
        check_safetensors(path)
        content: Any = _read_safetensors(path)
    else:
        content = _read_pickle(path)
    if key is not None:
        return _without_prefixes(_checked_tensors(_under(key, content, path), path))
    return _without_prefixes(content if path.suffix == ".safetensors" else _state_dict_in(content, path))


def load_weights(model: nn.Module, path: str | PathLike[str], key: str | None = None) -> None:
    """Load a checkpoint into a model: all of it or nothing.

    Kernels psi of HAMSA that were trained at another image size are resampled (see resample.py), and the log
    says so.

    Args:
        model: that takes the weights.
        path, key: as for `load_checkpoint`.

    Raises:
        InputError: as `load_checkpoint`; missing, extra and mis-shaped names, all listed; NaN or Inf, naming
            the tensors.
    """
    path = Path(path)
    state = fit_kernels(model, load_checkpoint(path, key))
    expected = model.state_dict()
    _check_keys(path, state, expected)
    state = {name: value.to(expected[name].dtype) for name, value in state.items() if name in expected}
    _check_finite(path, state)
    model.load_state_dict(state, strict=False)  # strictness is _check_keys, which says more and comes before


def _check_is_weights(path: Path) -> None:
    """Refuse by name and first bytes whatever is not a file of weights."""
    check_weights(path)
    if path.suffix == ".pt2" or _is_exported_program(path):
        raise InputError(
            f"{path} is an exported program",
            expected="weights; a program from elsewhere can run code",
            fix=SAFE_ROUTE,
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
        raise _refused(path, error) from error


def _refused(path: Path, error: Exception) -> InputError:
    """What is in the way, by its names, and one line that saves the weights alone."""
    outline = outline_of(path)
    if outline is None or not outline.names:
        return InputError(
            f"{path} is refused: {_first_line(error)}",
            expected="tensors, and containers of them, written by torch.save",
            cause="a damaged file, or one that holds other objects, whose loading could run code",
            fix=SAFE_ROUTE,
        )
    names = _listed(outline.names[:MOST_NAMED]) + (" ..." if outline.names[MOST_NAMED:] else "")
    is_model = isinstance(outline.top, Made) and outline.top.is_module
    what = f"a whole pickled model, {outline.top.name}" if is_model else f"not tensors alone, but also {names}"
    return InputError(
        f"{path} is refused: it holds {what}",
        expected="tensors, and containers of them, written by torch.save(model.state_dict(), path)",
        cause="to load such objects runs code, of this file's choice",
        fix=_conversion(path, outline),
    )


def _conversion(path: Path, outline: Outline) -> str:
    """The line that saves the weights alone, where they are known to be."""
    worst = next((name for name in outline.names if name.startswith(RUNS_CODE)), "")
    if worst:
        return f"do not load it: no weights need {worst}; take weights as safetensors from where you trust them"
    found = dict(paths_to_weights(outline.top))
    if not found:
        return SAFE_ROUTE
    usual = [keys for wrapper in WRAPPERS for keys in found if keys and keys[-1] == wrapper]
    keys = [*usual, *found][0]
    where = "".join(f"[{key!r}]" for key in keys)
    loaded = f"torch.load({path.name!r}, map_location='cpu', weights_only=False){where}"
    if isinstance(found[keys], Made):
        weights = f"{loaded}.state_dict()"
    else:
        weights = f"{{k: v for k, v in {loaded}.items() if torch.is_tensor(v)}}"
    line = f'python -c "import torch; torch.save({weights}, {path.stem + "-weights.pt"!r})"'
    others = [".".join(each) for each in found if each and each != keys]
    more = f"; other weights are under {_listed(others)}" if others else ""
    return f"where you trust the file, and where its code is: {line}{more}"


def _first_line(error: Exception) -> str:
    """Without what torch.load advises after it, and the colours of that."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    return text.splitlines()[0].partition(" In PyTorch 2.6")[0] if text else type(error).__name__


def _state_dict_in(content: Any, path: Path) -> dict[str, Tensor]:
    """Follow WRAPPERS down to a mapping of tensors; or the only other key that leads to one."""
    for _ in range(MAX_NESTING):
        if not isinstance(content, Mapping):
            break
        found = [key for key in WRAPPERS if isinstance(content.get(key), Mapping)]
        others = [key for key, value in content.items() if key not in found and _has_tensors(value)]
        if not found and any(isinstance(value, Tensor) for value in content.values()):
            return _checked_tensors(content, path)
        if not found and len(others) > 1:
            raise _several(path, others)
        if not found and not others:
            return _checked_tensors(content, path)
        key = [*found, *others][0]
        if len(found) + len(others) > 1 or key not in WRAPPERS[:2]:
            named = " and ".join(map(repr, [*found, *others]))
            logger.info("%s holds weights under %s: taking %r; %s takes others", path, named, key, KEY_OPTION)
        content = content[key]
    raise InputError(
        f"{path} holds a {type(content).__name__} where the state dict should be",
        expected=f"a dict of tensors, at the top or under {', '.join(WRAPPERS)}",
        fix="torch.save(model.state_dict(), path)",
    )


def _has_tensors(value: Any) -> bool:
    """Whether it can be a state dict, by itself or in one of WRAPPERS. Optimizers keep theirs by numbers."""
    if not isinstance(value, Mapping) or not value:
        return False
    inner = [value[key] for key in WRAPPERS if isinstance(value.get(key), Mapping)]
    names = [isinstance(name, str) and isinstance(each, Tensor) for name, each in value.items()]
    return all(names) or any(_has_tensors(each) for each in inner if each is not value)


def _several(path: Path, keys: Sequence[object]) -> InputError:
    names = [str(key) for key in keys]
    return InputError(
        f"{path} holds weights under {' and '.join(names)}",
        expected="to be told which of them",
        fix=" or ".join(f"{KEY_OPTION} {name}" for name in names),
    )


def _under(key: str, content: Any, path: Path) -> Mapping[Any, Any]:
    """What is under a key, at the top or in one of WRAPPERS; or the tensors whose names begin with it."""
    starts = [content, *_wrapped(content)]
    for start in starts:
        found = _followed(key.split("."), start)
        if found:
            return [*_wrapped(found), found][0]
    keys = [str(name) for start in starts for name, each in _items(start) if not isinstance(each, Tensor)]
    raise InputError(
        f"{path} has nothing under {key!r}",
        expected=f"one of {', '.join(keys)}" if keys else "a key of the file, or what names in it begin with",
        fix=nearest(key.partition(".")[0], keys),
    )


def _wrapped(content: Any) -> list[Mapping[Any, Any]]:
    return [each for name, each in _items(content) if name in WRAPPERS and isinstance(each, Mapping)]


def _items(content: Any) -> Iterable[tuple[Any, Any]]:
    return content.items() if isinstance(content, Mapping) else ()


def _followed(parts: Sequence[str], content: Any) -> Mapping[Any, Any]:
    """From key to key, as far as there are dicts; then by what the names of tensors begin with. Empty: nothing."""
    if not isinstance(content, Mapping) or not parts:
        return content if isinstance(content, Mapping) else {}
    for held in range(len(parts), 0, -1):  # a key may have dots in it
        inner = content.get(".".join(parts[:held]))
        if isinstance(inner, Mapping):
            return _followed(parts[held:], inner)
    prefix = ".".join(parts) + "."
    return {name.removeprefix(prefix): each for name, each in content.items() if str(name).startswith(prefix)}


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
    for prefix in {name.removesuffix(first) for first in list(expected)[:1] for name in state if name.endswith(first)}:
        if prefix and all(prefix + name in state for name in expected if not name.endswith(COUNTER)):
            return f"the names of these weights begin with {prefix}: {KEY_OPTION} {prefix.rstrip('.')}"
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


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
