"""Where in the user's model a node comes from: module path and source line."""

from __future__ import annotations

import re
import sysconfig
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch

# Of a node's annotations: why it stays in float32 in bundles of any precision.
FLOAT32 = "float32"

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in [^\n]+\n\s*(?P<code>[^\n]*)')
_TORCH = str(Path(torch.__file__).parent)
_OURS = str(Path(__file__).parents[1])
_PYTHON, _PACKAGES = (sysconfig.get_paths()[kind] for kind in ("stdlib", "purelib"))


def module_path(node: torch.fx.Node) -> str:
    """`stages.0.blocks.1.mixer` for a node of the captured graph; empty for the outermost module."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [entry[0] for entry in stack.values()]
    return str(paths[-1]) if paths else ""


def function_called(node: torch.fx.Node) -> str:
    """`linalg_inv` for an operator that PyTorch made of the user's torch.linalg.inv; empty where it is not known."""
    _, kind_and_name = node.meta.get("torch_fn") or ("", "")
    return str(kind_and_name).rpartition(".")[2]


def innermost_frame(stack_trace: str) -> tuple[str, int, str] | None:
    """(file, line, code) of the innermost frame of a stack trace that is not PyTorch's own."""
    frames = [match.group("file", "line", "code") for match in _FRAME.finditer(stack_trace)]
    frames = [frame for frame in frames if not frame[0].startswith((_TORCH, "<"))]
    if not frames:
        return None
    file, line, code = frames[-1]
    return file, int(line), code.strip()


def place_of(node: torch.fx.Node) -> str:
    """` in module 'mixer', model.py:12: y = torch.linalg.inv(z)`, for error messages."""
    path, frame = module_path(node), innermost_frame(node.meta.get("stack_trace") or "")
    text = f" in module '{path}'" if path else ""
    return text + (f", {frame[0]}:{frame[1]}: {frame[2]}" if frame else "")


def line_of_error(error: BaseException) -> str:
    """`, model.py:12: y = x.view(2, -1)`: the innermost line of the user's that an error came through; or empty."""
    return _shown(_innermost_of_users(traceback.extract_tb(error.__traceback__)) or innermost_frame(str(error)))


def line_that_runs(within: str) -> str:
    """The same of the line that is running, in what a function of ours called, `within`."""
    stack = traceback.extract_stack()
    calls = [i for i, frame in enumerate(stack) if frame.name == within and frame.filename.startswith(_OURS)]
    return _shown(_innermost_of_users(stack[calls[-1] :])) if calls else ""


def users_line() -> str:
    """The same of the line that is running, whoever called it."""
    return _shown(_innermost_of_users(traceback.extract_stack()))


def _shown(frame: tuple[str, int, str] | None) -> str:
    return "" if frame is None else f", {frame[0]}:{frame[1]}: {frame[2]}"


def _innermost_of_users(frames: Sequence[traceback.FrameSummary]) -> tuple[str, int, str] | None:
    for frame in reversed(frames):
        if frame.line and not frame.filename.startswith((_TORCH, _OURS, "<")) and not _is_pythons(frame.filename):
            return frame.filename, frame.lineno or 0, frame.line
    return None


def _is_pythons(file: str) -> bool:
    return file.startswith(_PYTHON) and not file.startswith(_PACKAGES)
