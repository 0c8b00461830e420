"""Repositories as the authors of Mamba models write them, in small, import and run without what they compile."""

from __future__ import annotations

import builtins
import copy
import importlib.util
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import hamsa_deploy
from hamsa_deploy.models import load_model
from hamsa_deploy.scan.compiled import called_stand_ins
from hamsa_deploy.spectral.compiler.capture import capture_model
from hamsa_runtime.errors import InputError, MissingError

# As in VMamba: an extension or another is imported, and called through an autograd.Function, within torch.cuda.device.
SCAN = """
import torch, torch.nn as nn
import selective_scan_cuda_oflex
import triton
import triton.language as tl

@triton.autotune(configs=[triton.Config({"BLOCK": 64}, num_warps=4)], key=["n"])
@triton.jit
def twice(x, BLOCK: tl.constexpr):
    tl.store(x, 2 * tl.load(x))

assert [config.kwargs["BLOCK"] for config in twice.configs] == [64]

class Scan(torch.autograd.Function):
    @staticmethod
    @torch.cuda.amp.custom_fwd
    def forward(ctx, u, delta, A, B, C, D, bias):
        ctx.save_for_backward(u, delta)
        y, states, *rest = selective_scan_cuda_oflex.fwd(u, delta, A, B, C, D, bias, True, 1, True)
        return y

class Mixer(nn.Module):
    def __init__(self, channels=4, states=2):
        super().__init__()
        self.project = nn.Linear(channels, channels + 2 * states)
        self.A_log = nn.Parameter(torch.zeros(channels, states))
        self.D, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.states = states

    def forward(self, x):
        delta, B, C = self.project(x).transpose(1, 2).split([x.shape[2], self.states, self.states], 1)
        u = x.transpose(1, 2).contiguous()
        with torch.cuda.device(x.device):
            A, B, C = -self.A_log.exp(), B[:, None].contiguous(), C[:, None].contiguous()
            y = Scan.apply(u, delta.contiguous(), A, B, C, self.D, self.bias)
        return y.transpose(1, 2)

class Launches(nn.Module):
    def forward(self, x):
        twice[(1,)](x, 64)
        return x

def on_a_gpu():
    model = Mixer().cuda()
    model.register_buffer("offset", torch.zeros(3, device="cuda").to("cuda:0"))
    return model
"""

# As in mamba_ssm: a function around a Triton kernel, which other files import by name.
NORM = """
import torch
import triton

@triton.jit
def kernel(x):
    pass

def rms_norm_fn(x, weight, bias, residual=None, prenorm=False, residual_in_fp32=False, eps=1e-6):
    y = torch.empty_like(x)
    kernel[(1,)](x)
    return y
"""

Repository = Any


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """Writes files into a folder on the import path; what was imported from there is forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(**files: str) -> None:
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()

    yield write
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def is_findable(name: str) -> bool:
    return name in sys.modules or importlib.util.find_spec(name) is not None


def recurrence(model: Any, x: Tensor) -> Tensor:
    """What Mixer computes, in float64."""
    model = copy.deepcopy(model).double()
    x = x.double()
    projected = model.project(x)
    delta, B, C = projected.split([x.shape[2], model.states, model.states], -1)
    dt, A = F.softplus(delta + model.bias), -model.A_log.exp()
    h, ys = torch.zeros(x.shape[0], *A.shape, dtype=torch.float64), []
    for t in range(x.shape[1]):
        h = torch.exp(dt[:, t, :, None] * A) * h + (dt * x)[:, t, :, None] * B[:, t, None]
        ys.append((h * C[:, t, None]).sum(-1) + model.D * x[:, t])
    return torch.stack(ys, 1)


def test_an_unmodified_repository_imports_and_its_scan_is_one_operator(repository: Repository) -> None:
    repository(a_repository=SCAN)
    before = builtins.__import__, torch.cuda.device
    with hamsa_deploy.without_extensions():
        import a_repository  # type: ignore[import-not-found]

        model = a_repository.Mixer().eval()
    assert (builtins.__import__, torch.cuda.device) == before
    x = torch.randn(1, 7, 4, generator=torch.Generator().manual_seed(0))
    captured = capture_model(model, (x,), {}).program
    scans = [node for node in captured.graph.nodes if "selective_scan" in str(node.target)]
    assert [str(node.target) for node in scans] == ["hamsa.selective_scan.default"]
    with hamsa_deploy.without_extensions():  # the whole of a script may be within
        program = hamsa_deploy.to_real(model, (x,), dynamic_shapes={})
    assert program.graph_module.meta["stand_ins"] == ("selective_scan_cuda_oflex.fwd",)
    with torch.no_grad():
        expected = recurrence(model, x)
    found = program.module()(x)
    assert (found - expected).abs().max() < 1e-6 * expected.abs().max()  # float32 sums of seven steps


def test_nobody_finds_a_stand_in_meanwhile_or_afterwards(repository: Repository) -> None:
    """torch, transformers and others look for Triton, and remember what they have found."""
    repository(a_repository=SCAN)
    names = ("triton", "selective_scan_cuda_oflex", "mamba_ssm", "causal_conv1d")
    there = {name: is_findable(name) for name in names}
    from torch.utils._triton import has_triton_package

    seen: list[bool] = []
    with hamsa_deploy.without_extensions():
        import a_repository  # noqa: F401

        assert {name: is_findable(name) for name in names} == there
        seen.append(has_triton_package.__wrapped__())
        thread = threading.Thread(target=lambda: seen.append(imports("selective_scan_cuda_oflex")))
        thread.start()
        thread.join()
    assert seen == [there["triton"], there["selective_scan_cuda_oflex"]]
    assert {name: is_findable(name) for name in names} == there


def imports(name: str) -> bool:
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def test_what_is_installed_wins(repository: Repository) -> None:
    repository(
        selective_scan_cuda="def fwd(): return 'the real one'", wants="import selective_scan_cuda as s\nr = s.fwd()"
    )
    with hamsa_deploy.without_extensions():
        import wants  # type: ignore[import-not-found]
    assert wants.r == "the real one"


def test_an_extension_that_is_installed_and_wants_a_gpu_is_told_from_a_wrong_device(repository: Repository) -> None:
    repository(
        selective_scan_cuda="def fwd(u): raise RuntimeError('Expected u.is_cuda() to be true, but got false.')",
        wants="import selective_scan_cuda as s, torch\nclass M(torch.nn.Module):\n    def forward(self, x): s.fwd(x)",
    )
    said = r"(?s)is_cuda.*compiled for GPUs.*where it is not installed"
    with pytest.raises(InputError, match=said):
        hamsa_deploy.to_real(load_model("wants:M"), (torch.ones(1, 3),))


def test_a_factory_gets_stand_ins_for_what_it_imports_when_it_is_called(repository: Repository) -> None:
    repository(
        a_repository=SCAN, lazy="def make(states=2):\n    import a_repository as r\n    return r.Mixer(states=states)"
    )
    model = load_model("lazy:make", states=3)
    assert model.states == 3
    assert not imports("selective_scan_cuda_oflex")


def test_a_module_that_is_not_there_and_has_no_stand_in_is_named(repository: Repository) -> None:
    repository(broken="import selective_scan_cuda\nimport foo_cuda", whole="import broken\nmake = None")
    before = builtins.__import__
    with pytest.raises(
        MissingError, match=r"(?s)foo_cuda.*broken.py:2: import foo_cuda.*no stand-in.*PYTHONPATH"
    ) as error:
        load_model("whole:make")
    assert isinstance(error.value.__cause__, ModuleNotFoundError)
    assert builtins.__import__ is before
    assert "whole" not in sys.modules
    assert not imports("selective_scan_cuda")


def test_a_misspelt_factory_is_told_from_what_it_imports(repository: Repository) -> None:
    repository(good="def make(): ...")
    with pytest.raises(InputError, match="misspelt"):
        load_model("goood:make")
    with pytest.raises(InputError, match="misspelt"):
        load_model("good:mike")
    repository(outdated="from math import no_such_function")
    with pytest.raises(ImportError, match="no_such_function"), hamsa_deploy.without_extensions():
        import outdated  # type: ignore[import-not-found]  # noqa: F401


def test_a_fallback_for_what_has_no_stand_in_is_taken(repository: Repository) -> None:
    repository(
        careful="try:\n    import foo_cuda\nexcept ImportError:\n    foo_cuda = None\n"
        "try:\n    from mamba_ssm import Mamba3\nexcept ImportError:\n    Mamba3 = None\n"
    )
    with hamsa_deploy.without_extensions():
        import careful  # type: ignore[import-not-found]
    assert (careful.foo_cuda, careful.Mamba3) == (None, None)


@pytest.mark.skipif(is_findable("mamba_ssm"), reason="mamba_ssm is installed")
def test_a_class_of_mamba_ssm_needs_its_python_sources(repository: Repository) -> None:
    repository(a_unet="from mamba_ssm import Mamba")
    with pytest.raises(MissingError, match=r"(?s)Mamba.*a_unet.py:1.*pip download .*mamba_ssm"):
        load_model("a_unet:make")


@pytest.mark.skipif(is_findable("triton"), reason="Triton is installed")
def test_a_kernel_that_is_called_is_named_with_its_line(repository: Repository) -> None:
    repository(a_repository=SCAN)
    with hamsa_deploy.without_extensions():
        import a_repository

        model = a_repository.Launches().eval()
    with pytest.raises(
        MissingError, match=r"(?s)a_repository.twice, .*: twice\[\(1,\)\]\(x, 64\).*Triton kernel.*is_cuda"
    ):
        hamsa_deploy.to_real(model, (torch.zeros(2, 3),))


def test_a_compiled_function_without_a_stand_in_is_named_when_it_is_called(repository: Repository) -> None:
    repository(gradients="import selective_scan_cuda\ndef f():\n    selective_scan_cuda.bwd()")
    with hamsa_deploy.without_extensions():
        import gradients  # type: ignore[import-not-found]
    with pytest.raises(MissingError, match=r"(?s)selective_scan_cuda.bwd, .*gradients.py:3.*compiled function"):
        gradients.f()


@pytest.mark.skipif(is_findable("triton"), reason="Triton is installed")
def test_a_function_around_a_kernel_is_replaced_before_others_import_it(repository: Repository) -> None:
    """In the order of parameters of its own version."""
    repository(norms=NORM, uses="from norms import rms_norm_fn\nimport math", kernels="from norms import kernel")
    with hamsa_deploy.without_extensions():
        import uses  # type: ignore[import-not-found]
    x, residual = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0)).unbind(0)
    weight = torch.linspace(0.5, 2, 8)
    with called_stand_ins() as called:
        y, total = uses.rms_norm_fn(x, weight, None, residual, True, True, eps=1e-5)
    assert called == {"norms.rms_norm_fn"}
    torch.testing.assert_close(total, x + residual)
    torch.testing.assert_close(y, F.rms_norm(x + residual, (8,), weight, 1e-5))


def test_a_view_of_tensors_with_plain_shapes_is_left_away(repository: Repository) -> None:
    """As VSSD hands them to Triton; no tracer makes one of a tensor. One that computes something else stays."""
    repository(
        views="import torch, triton\n"
        "class tTensor(torch.Tensor):\n    @property\n    def shape(self): return tuple(map(int, super().shape))\n"
        "class Other(torch.Tensor):\n    def sum(self): return 3\n"
        "class M(torch.nn.Module):\n    def forward(self, x): return 2 * tTensor(x)\n"
    )
    with hamsa_deploy.without_extensions():
        import views  # type: ignore[import-not-found]
    x = torch.ones(2, 3)
    torch.testing.assert_close(hamsa_deploy.to_real(views.M().eval(), (x,)).module()(x), 2 * x)
    assert views.Other(x).sum() == 3


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_factory_that_takes_a_gpu_for_granted_builds_without_one(repository: Repository) -> None:
    repository(a_repository=SCAN)
    model = load_model("a_repository:on_a_gpu")
    assert {each.device.type for each in (*model.parameters(), *model.buffers())} == {"cpu"}
    with pytest.raises((AssertionError, RuntimeError)):
        torch.zeros(3, device="cuda")


def test_nested_use_and_use_in_threads_leave_everything_as_it_was(repository: Repository) -> None:
    repository(a_repository=SCAN)
    before = builtins.__import__, torch.cuda.device
    models: list[nn.Module] = []

    def build() -> None:
        with hamsa_deploy.without_extensions():
            with hamsa_deploy.without_extensions():
                import selective_scan_cuda  # type: ignore[import-not-found]
            import a_repository

            assert isinstance(selective_scan_cuda, ModuleType)
            models.append(a_repository.Mixer())

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(models) == 4
    assert (builtins.__import__, torch.cuda.device) == before
    with pytest.raises(ZeroDivisionError), hamsa_deploy.without_extensions():
        raise ZeroDivisionError
    assert (builtins.__import__, torch.cuda.device) == before


def test_names_that_transformers_has_dropped_are_seen_by_the_repository_alone(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == "transformers"]:
        monkeypatch.delitem(sys.modules, name)
    repository(
        transformers="class GenerateDecoderOnlyOutput: ...\nclass Streamer: ...",
        old="from transformers import GreedySearchDecoderOnlyOutput, Streamer",
    )
    with hamsa_deploy.without_extensions():
        import old  # type: ignore[import-not-found]

        transformers: Any = importlib.import_module("transformers")
    assert old.GreedySearchDecoderOnlyOutput is transformers.GenerateDecoderOnlyOutput
    assert old.Streamer is transformers.Streamer
    assert not hasattr(transformers, "GreedySearchDecoderOnlyOutput")


def test_the_manifest_names_what_was_stood_in_for(repository: Repository, tmp_path: Path) -> None:
    repository(
        convolves="import causal_conv1d_cuda as c\nimport torch\nclass M(torch.nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.w = torch.nn.Parameter(torch.ones(3, 2))\n"
        "    def forward(self, x):\n        return c.causal_conv1d_fwd(x, self.w, None, True)"
    )
    model = load_model("convolves:M")
    bundle = hamsa_deploy.export(model, (torch.ones(1, 3, 5),), to="onnx", output=tmp_path / "bundle")
    assert bundle.manifest.stand_ins == ("causal_conv1d_cuda.causal_conv1d_fwd",)
    assert bundle.manifest.parity is not None
    plain = hamsa_deploy.export(nn.Conv1d(3, 3, 1).eval(), (torch.ones(1, 3, 5),), to="onnx", output=tmp_path / "plain")
    assert plain.manifest.stand_ins == ()
