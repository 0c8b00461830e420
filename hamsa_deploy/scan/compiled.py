"""What compiled extensions and Triton kernels of Mamba repositories compute, in PyTorch and the scans' operators.

COMPILED and PYTHON have functions of modules that are not there, by module and name; KERNELS functions of a
repository's own Python that launch Triton kernels, by their name, whichever file of whichever version they are in. All
take and return what the authors' do (state-spaces/mamba 1.0 to 2.3, Dao-AILab/causal-conv1d 1.0 to 1.6,
MzeroMiko/VMamba), and refuse by name what they do not compute. They run forward only.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hamsa_deploy.scan.kernels import no_stand_in
from hamsa_deploy.scan.operators import gated, steps_of, wide

Function = Callable[..., Any]

# The stand-ins that were called, while somebody asks.
_CALLED: ContextVar[set[str] | None] = ContextVar("called", default=None)


@contextlib.contextmanager
def called_stand_ins() -> Iterator[set[str]]:
    """The names of the stand-ins that are called meanwhile, in this thread."""
    names: set[str] = set()
    before = _CALLED.set(names)
    try:
        yield names
    finally:
        _CALLED.reset(before)


def noted(name: str, function: Function) -> Function:
    """The function, whose calls are noted under that name."""

    @functools.wraps(function)
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        if not torch.compiler.is_compiling() and (names := _CALLED.get()) is not None:
            names.add(name)
        return function(*args, **kwargs)

    return stand_in


def _refuse(function: str, **arguments: Any) -> None:
    """Raise MissingError for the first of these arguments that is given: not None, False or zero."""
    for name, value in arguments.items():
        if value is not None and value is not False and not (isinstance(value, int | float) and value == 0):
            raise no_stand_in(
                f"{function} with {name}",
                "an argument of a compiled function",
                f"the model without {name}; or compute that with PyTorch",
            )


def _scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
) -> tuple[Tensor, Tensor]:
    """One operator. B, C: (B, G, N, L); (B, N, L) for one group; (D, N) where they are the same at all times."""
    _refuse("selective_scan", **{"complex numbers": A.is_complex()})
    Bs, Cs = (_in_groups(each, u) for each in (B, C))
    groups = max(Bs.shape[1], Cs.shape[1])  # one of both may be constant
    Bs, Cs = (each.repeat_interleave(groups // each.shape[1], 1) for each in (Bs, Cs))
    y, last = torch.ops.hamsa.selective_scan(u, delta, A, Bs, Cs, D, None, delta_bias, delta_softplus, None)
    return y, last


def _in_groups(x: Tensor, u: Tensor) -> Tensor:
    if x.ndim == 2:
        return x[None, :, :, None].expand(u.shape[0], -1, -1, u.shape[2])
    return x[:, None] if x.ndim == 3 else x


def _states(last: Tensor) -> Tensor:
    """(B, D, 1, 2N): behind each chunk's products of decays, which only gradients need, its last state."""
    return torch.stack([torch.full_like(last, math.nan), last], -1).flatten(-2)[:, :, None]


def scan_of_mamba(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
) -> list[Tensor]:
    """selective_scan_cuda.fwd: y, states, and the gated y where there is a gate."""
    y, last = _scan(u, delta, A, B, C, D, delta_bias, delta_softplus)
    return [y, _states(last), *([] if z is None else [gated(wide(y), z).to(y.dtype)])]


def scan_of_vmamba(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    nrows: int = 1,
    out_float: bool = False,
) -> list[Tensor]:
    """selective_scan_cuda_core, _nrow and, with out_float, _oflex .fwd: y, states."""
    y, last = _scan(wide(u) if out_float else u, delta, A, B, C, D, delta_bias, delta_softplus)
    return [y, _states(last)]


def scan_of_one_state(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, *rest: Any, **options: Any
) -> list[Tensor]:
    """selective_scan_cuda_ndstate.fwd, N = 1. A: (D); B, C: (B, G, L)."""
    return scan_of_vmamba(u, delta, A[:, None], B[:, :, None], C[:, :, None], *rest, **options)


def selective_scan_fn(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
) -> Any:
    """The wrapper of mamba_ssm."""
    y, last = _scan(u, delta, A, B, C, D, delta_bias, delta_softplus)
    y = gated(wide(y), z).to(y.dtype)
    return (y, last) if return_last_state else y


def mamba_inner_fn(
    xz: Tensor,
    conv1d_weight: Tensor,
    conv1d_bias: Tensor | None,
    x_proj_weight: Tensor,
    delta_proj_weight: Tensor,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    A: Tensor,
    B: Tensor | None = None,
    C: Tensor | None = None,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    B_proj_bias: Tensor | None = None,
    C_proj_bias: Tensor | None = None,
    delta_softplus: bool = True,
    **options: Any,
) -> Tensor:
    """A whole block of Mamba-1, behind its first projection. xz: (B, 2D, L); gives (B, L, d_model)."""
    _refuse("mamba_inner_fn", **{name: value for name, value in options.items() if name.endswith("_weight")})
    x, z = xz.chunk(2, dim=1)
    x = convolution(x, conv1d_weight.squeeze(1), conv1d_bias, silu=True)
    rank, states = delta_proj_weight.shape[1], A.shape[1]
    parts = F.linear(x.transpose(1, 2), x_proj_weight).split(
        [rank, *([states] if B is None else []), *([states] if C is None else [])], dim=-1
    )
    delta = (parts[0] @ delta_proj_weight.T).transpose(1, 2)
    if B is None:
        B = (parts[1] if B_proj_bias is None else parts[1] + B_proj_bias).transpose(1, 2)
    if C is None:
        C = (parts[-1] if C_proj_bias is None else parts[-1] + C_proj_bias).transpose(1, 2)
    y = selective_scan_fn(x, delta, A, B, C, D, z, delta_bias, delta_softplus)
    return F.linear(y.transpose(1, 2), out_proj_weight, out_proj_bias)


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None = None, silu: bool = False) -> Tensor:
    """A causal depthwise convolution. x: (B, D, L); weight: (D, width)."""
    y = F.conv1d(x, weight[:, None].to(x.dtype), None if bias is None else bias.to(x.dtype), groups=weight.shape[0],
                 padding=weight.shape[1] - 1)[..., : x.shape[-1]]  # fmt: skip
    return F.silu(y) if silu else y


def causal_conv1d_fwd(x: Tensor, weight: Tensor, bias: Tensor | None = None, *options: Any) -> Tensor:
    """causal_conv1d_cuda's: behind the bias silu (1.0), or seq_idx, initial_states, final_states_out, silu (1.2)."""
    if len(options) <= 1:
        return convolution(x, weight, bias, *options)
    if len(options) == 5:  # 1.5: it writes into the fourth
        seq_idx, initial_states, out, final_states_out, silu = options
        _refuse("causal_conv1d_fwd", seq_idx=seq_idx, initial_states=initial_states, final_states_out=final_states_out)
        return out.copy_(convolution(x, weight, bias, silu))
    return causal_conv1d_fwd_function(x, weight, bias, *options)


def causal_conv1d_fwd_function(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    seq_idx: Tensor | None,
    initial_states: Tensor | None,
    final_states_out: Tensor | None,
    silu_activation: bool,
) -> Tensor:
    """Of causal_conv1d 1.2 and later; from 1.5 on in Python, around an operator of its own."""
    _refuse("causal_conv1d", seq_idx=seq_idx, initial_states=initial_states, final_states_out=final_states_out)
    return convolution(x, weight, bias, silu_activation)


def causal_conv1d_fn(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, activation: str | None = None, **options: Any
) -> Tensor:
    """The wrapper of causal_conv1d; 1.0 had the activation in fourth place, where now the sequences' indices are."""
    if len(args) == 1 and isinstance(args[0], str):
        activation, args = args[0], ()
    if len(args) == 5:
        activation = args[4]
    names = ("seq_idx", "initial_states", "return_final_states", "final_states_out")
    _refuse("causal_conv1d_fn", **dict(zip(names, args, strict=False)), **options)
    return convolution(x, weight, bias, activation in ("silu", "swish"))


def causal_conv1d_update(
    x: Tensor,
    conv_state: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    **options: Any,
) -> Tensor:
    """One step, or some. x: (B, D) or (B, D, L); conv_state: (B, D, width or more), which is written."""
    _refuse("causal_conv1d_update", **options)
    steps = x[..., None] if x.ndim == 2 else x
    seen = torch.cat([conv_state, steps.to(conv_state.dtype)], -1)
    conv_state.copy_(seen[..., -conv_state.shape[-1] :])
    y = convolution(seen, weight, bias, activation in ("silu", "swish"))[..., -steps.shape[-1] :].to(x.dtype)
    return y[..., 0] if x.ndim == 2 else y


def mamba_chunk_scan_combined(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    chunk_size: int,
    D: Tensor | None = None,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    initial_states: Tensor | None = None,
    seq_idx: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    dt_softplus: bool = False,
    dt_limit: tuple[float, float] = (0.0, math.inf),
    return_final_states: bool = False,
    **options: Any,
) -> Any:
    """The scan of Mamba-2: x (B, L, H, P); the size of the chunks it is computed in changes nothing."""
    options.pop("state_dtype", None)
    limited = None if tuple(dt_limit) == (0.0, math.inf) else dt_limit
    _refuse("mamba_chunk_scan_combined", dt_limit=limited, seq_idx=seq_idx, cu_seqlens=cu_seqlens, **options)
    if not dt_softplus:  # steps are at least 0 by their limit
        dt, dt_bias = F.relu(steps_of(dt, dt_bias, softplus=False)), None
    y, last = torch.ops.hamsa.ssd(x, dt, A, B, C, D, z, dt_bias, dt_softplus, initial_states)
    return (y, last) if return_final_states else y


def mamba_split_conv1d_scan_combined(
    zxbcdt: Tensor,
    conv1d_weight: Tensor,
    conv1d_bias: Tensor | None,
    dt_bias: Tensor,
    A: Tensor,
    D: Tensor,
    chunk_size: int,
    initial_states: Tensor | None = None,
    seq_idx: Tensor | None = None,
    dt_limit: tuple[float, float] = (0.0, math.inf),
    return_final_states: bool = False,
    activation: str | None = "silu",
    rmsnorm_weight: Tensor | None = None,
    rmsnorm_eps: float = 1e-6,
    outproj_weight: Tensor | None = None,
    outproj_bias: Tensor | None = None,
    headdim: int | None = None,
    ngroups: int = 1,
    norm_before_gate: bool = True,
    **options: Any,
) -> Any:
    """A whole block of Mamba-2, behind its first projection.

    zxbcdt: (B, L, 2HP + 2GN + H), and in front what a gated MLP would take, which is refused; gives (B, L, d_model).
    """
    options.pop("state_dtype", None)
    _refuse("mamba_split_conv1d_scan_combined", seq_idx=seq_idx, **options)
    heads, width = D.shape[0], D.shape[1] if D.ndim == 2 else headdim
    assert width is not None
    inner = heads * width
    states = conv1d_weight.shape[0] - inner
    mlp = zxbcdt.shape[-1] - 2 * inner - states - heads
    _refuse("mamba_split_conv1d_scan_combined", **{"a gated MLP beside the scan": mlp})
    z, x, dt = zxbcdt.split([inner, inner + states, heads], -1)
    x = convolution(x.transpose(1, 2), conv1d_weight, conv1d_bias, activation in ("silu", "swish")).transpose(1, 2)
    x, B, C = x.split([inner, states // 2, states // 2], -1)
    x, B, C = x.unflatten(-1, (heads, width)), B.unflatten(-1, (ngroups, -1)), C.unflatten(-1, (ngroups, -1))
    gate = z.unflatten(-1, (heads, width)) if rmsnorm_weight is None else None
    y, last = mamba_chunk_scan_combined(
        x, dt, A, B, C, chunk_size, D, gate, dt_bias, initial_states, None, None, True, dt_limit, True
    )
    y = y.flatten(-2)
    if rmsnorm_weight is not None:
        y = rmsnorm_fn(y, rmsnorm_weight, None, z, rmsnorm_eps, None, norm_before_gate)
    y = y if outproj_weight is None else F.linear(y, outproj_weight, outproj_bias)
    return (y, last) if return_final_states else y


def selective_state_update(
    state: Tensor,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = False,
    state_batch_indices: Tensor | None = None,
) -> Tensor:
    """One step. state: (B, D, N), or (B, H, D, N), which is written; x, dt, z: (B, D), or (B, H, D)."""
    _refuse("selective_state_update", state_batch_indices=state_batch_indices)
    steps = steps_of(dt, dt_bias, dt_softplus)
    if state.ndim == 4:
        groups = state.shape[1] // B.shape[1]
        Bs, Cs = (each.repeat_interleave(groups, 1)[..., None, :] for each in (B, C))
    else:
        Bs, Cs = B[:, None], C[:, None]
    h = torch.exp(steps[..., None] * A) * state + (steps * wide(x))[..., None] * Bs
    state.copy_(h)
    y = (h * Cs).sum(-1)
    y = y if D is None else y + wide(D) * wide(x)
    return gated(y, z).to(x.dtype)


def layer_norm_fn(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None = None,
    x1: Tensor | None = None,
    weight1: Tensor | None = None,
    bias1: Tensor | None = None,
    eps: float = 1e-6,
    dropout_p: float = 0.0,
    rowscale: Tensor | None = None,
    prenorm: bool = False,
    residual_in_fp32: bool = False,
    is_rms_norm: bool = False,
    **options: Any,
) -> Any:
    """The norm of x + residual; with prenorm that sum, too."""
    _refuse("layer_norm_fn", x1=x1, weight1=weight1, bias1=bias1, dropout_p=dropout_p, rowscale=rowscale, **options)
    total = wide(x) if residual is None else wide(x) + wide(residual)
    y = _normalised(total, wide(weight), None if bias is None else wide(bias), eps, is_rms_norm).to(x.dtype)
    kept = residual.dtype if residual is not None else torch.float32 if residual_in_fp32 else x.dtype
    return (y, total.to(kept)) if prenorm else y


def rms_norm_fn(x: Tensor, weight: Tensor, bias: Tensor | None, *args: Any, **options: Any) -> Any:
    """The same without the mean."""
    return layer_norm_fn(x, weight, bias, *args, **{**options, "is_rms_norm": True})


def _normalised(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, rms: bool) -> Tensor:
    if not rms:
        return F.layer_norm(x, x.shape[-1:], weight, bias, eps)
    y = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def layernorm_fn(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    z: Tensor | None = None,
    eps: float = 1e-6,
    group_size: int | None = None,
    norm_before_gate: bool = True,
    is_rms_norm: bool = False,
) -> Tensor:
    """The norm of x in groups of channels, gated by silu(z) behind it or before it."""
    before, behind = (None, z) if norm_before_gate else (z, None)
    y = gated(wide(x), before)
    groups = y.unflatten(-1, (-1, group_size or x.shape[-1]))
    y = _normalised(groups, None, None, eps, is_rms_norm).flatten(-2)
    y = y * wide(weight) if bias is None else y * wide(weight) + wide(bias)
    return gated(y, behind).to(x.dtype)


def rmsnorm_fn(x: Tensor, weight: Tensor, bias: Tensor | None, *args: Any, **options: Any) -> Tensor:
    """The same without the mean."""
    return layernorm_fn(x, weight, bias, *args, **{**options, "is_rms_norm": True})


class RMSNorm(nn.Module):
    """mamba_ssm.ops.triton.layernorm_gated's module."""

    bias: Tensor | None

    def __init__(
        self,
        hidden_size: int,
        eps: float = 1e-5,
        group_size: int | None = None,
        norm_before_gate: bool = True,
        **how: Any,
    ) -> None:
        super().__init__()
        self.eps, self.group_size, self.norm_before_gate = eps, group_size, norm_before_gate
        self.weight = nn.Parameter(torch.ones(hidden_size, **how))
        self.register_parameter("bias", None)

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """Shapes (..., hidden_size)."""
        return _GATED(x, self.weight, self.bias, z, self.eps, self.group_size, self.norm_before_gate)


_GATED = noted("mamba_ssm.ops.triton.layernorm_gated.RMSNorm", rmsnorm_fn)


# By module. What a compiled one lacks here is an error that names it, once it is called; a Python one is not here then.
COMPILED: Mapping[str, Mapping[str, Function]] = {
    "selective_scan_cuda": {"fwd": scan_of_mamba},
    "selective_scan_cuda_core": {"fwd": scan_of_vmamba},
    "selective_scan_cuda_nrow": {"fwd": scan_of_vmamba},
    "selective_scan_cuda_oflex": {"fwd": scan_of_vmamba},
    "selective_scan_cuda_ndstate": {"fwd": scan_of_one_state},
    "causal_conv1d_cuda": {"causal_conv1d_fwd": causal_conv1d_fwd},
    "causal_conv1d.cpp_functions": {"causal_conv1d_fwd_function": causal_conv1d_fwd_function},
}
PYTHON: Mapping[str, Mapping[str, Function]] = {
    "causal_conv1d": {"causal_conv1d_fn": causal_conv1d_fn, "causal_conv1d_update": causal_conv1d_update},
    "causal_conv1d.causal_conv1d_interface": {"causal_conv1d_fn": causal_conv1d_fn},
    "mamba_ssm": {"selective_scan_fn": selective_scan_fn, "mamba_inner_fn": mamba_inner_fn},
    "mamba_ssm.ops": {},
    "mamba_ssm.ops.selective_scan_interface": {
        "selective_scan_fn": selective_scan_fn,
        "selective_scan_ref": selective_scan_fn,
        "mamba_inner_fn": mamba_inner_fn,
    },
    "mamba_ssm.ops.triton": {},
    "mamba_ssm.ops.triton.layer_norm": {"layer_norm_fn": layer_norm_fn, "rms_norm_fn": rms_norm_fn},
    "mamba_ssm.ops.triton.layernorm": {"layer_norm_fn": layer_norm_fn, "rms_norm_fn": rms_norm_fn},
    "mamba_ssm.ops.triton.layernorm_gated": {
        "layernorm_fn": layernorm_fn,
        "rmsnorm_fn": rmsnorm_fn,
        "RMSNorm": RMSNorm,
    },
    "mamba_ssm.ops.triton.selective_state_update": {"selective_state_update": selective_state_update},
    "mamba_ssm.ops.triton.ssd_combined": {
        "mamba_chunk_scan_combined": mamba_chunk_scan_combined,
        "mamba_split_conv1d_scan_combined": mamba_split_conv1d_scan_combined,
    },
}
KERNELS: Mapping[str, Function] = {
    function.__name__: function
    for function in (
        causal_conv1d_fwd_function,
        layer_norm_fn,
        layernorm_fn,
        mamba_chunk_scan_combined,
        mamba_split_conv1d_scan_combined,
        rms_norm_fn,
        rmsnorm_fn,
        selective_state_update,
    )
}
