"""Stand-ins for compiled functions: what they return, in every calling convention, and what they refuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hamsa_deploy.scan import compiled, selective_scan, ssd
from hamsa_runtime.errors import MissingError

authors: Any = compiled  # called as Python calls it, by position or by name
B, D, G, N, L = 2, 4, 2, 3, 5


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def arguments() -> tuple[Any, ...]:
    """u, delta, A, B, C, D, bias."""
    coefficients = draw(B, G, N, L), draw(B, G, N, L, seed=2)
    return draw(B, D, L), draw(B, D, L, seed=1), -draw(D, N).abs(), *coefficients, draw(D), draw(D, seed=3)


def test_the_scan_of_mamba_gives_the_output_before_its_gate_the_last_state_and_the_gated_output() -> None:
    u, delta, A, Bs, Cs, Ds, bias = arguments()
    z = draw(B, D, L, seed=4)
    y, last = selective_scan(u, delta, A, Bs, Cs, Ds, None, bias, True)
    found, states, gated = authors.scan_of_mamba(u, delta, A, Bs, Cs, Ds, z, bias, True)
    torch.testing.assert_close(found, y)
    torch.testing.assert_close(states[:, :, -1, 1::2], last)
    assert states[:, :, -1, ::2].isnan().all()  # products of decays, for gradients
    torch.testing.assert_close(gated, y * F.silu(z))
    assert len(authors.scan_of_mamba(u, delta, A, Bs, Cs)) == 2


def test_scans_take_coefficients_of_one_group_of_all_times_and_of_one_state() -> None:
    u, delta, A, Bs, Cs, Ds, bias = arguments()
    one = selective_scan(u, delta, A, Bs[:, :1], Cs[:, :1], Ds, None, bias, True)[0]
    torch.testing.assert_close(authors.scan_of_vmamba(u, delta, A, Bs[:, 0], Cs[:, 0], Ds, bias, True, 1)[0], one)
    constant = draw(D, N, seed=5)
    each = constant[None, :, :, None].expand(B, D, N, L)
    expected = selective_scan(u, delta, A, each, Cs.repeat_interleave(D // G, 1))[0]
    torch.testing.assert_close(authors.selective_scan_fn(u, delta, A, constant, Cs), expected)
    single = selective_scan(u, delta, A[:, :1], Bs[:, :, :1], Cs[:, :, :1], Ds)[0]
    torch.testing.assert_close(
        authors.scan_of_one_state(u, delta, A[:, 0], Bs[:, :, 0], Cs[:, :, 0], Ds, None, False, 1)[0], single
    )


def test_a_scan_of_half_precision_gives_float32_where_that_is_asked_for() -> None:
    u, delta, A, Bs, Cs, Ds, bias = (each.float() for each in arguments())
    half = [each.half() for each in (u, delta)], [each.half() for each in (Bs, Cs)]
    for wanted in (False, True):
        y = authors.scan_of_vmamba(*half[0], A, *half[1], Ds, bias, True, 1, wanted)[0]
        assert y.dtype == (torch.float32 if wanted else torch.float16)


def test_a_whole_block_of_mamba_is_its_parts() -> None:
    x, z = draw(B, D, L), draw(B, D, L, seed=1)
    kernel, shift, rank = draw(D, 1, 3), draw(D, seed=2), 2
    project, widen, out = draw(rank + 2 * N, D, seed=3), draw(D, rank, seed=4), draw(6, D, seed=5)
    A, Ds, bias = -draw(D, N).abs(), draw(D, seed=6), draw(D, seed=7)
    u = F.silu(F.conv1d(F.pad(x, (2, 0)), kernel, shift, groups=D))
    steps, Bs, Cs = torch.einsum("bdl,kd->bkl", u, project).split([rank, N, N], 1)
    delta = torch.einsum("brl,dr->bdl", steps, widen)
    y = selective_scan(u, delta, A, Bs[:, None], Cs[:, None], Ds, z, bias, True)[0]
    found = authors.mamba_inner_fn(
        torch.cat([x, z], 1), kernel, shift, project, widen, out, None, A, None, None, Ds, bias, delta_softplus=True
    )
    torch.testing.assert_close(found, torch.einsum("bdl,md->blm", y, out))


def causal(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    width = weight.shape[1]
    padded = F.pad(x, (width - 1, 0))
    taps = [weight[:, k, None] * padded[..., k : k + x.shape[-1]] for k in range(width)]
    return torch.stack(taps).sum(0) + bias[:, None]


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda x, w, b: authors.causal_conv1d_fwd(x, w, b, True), id="1.0"),
        pytest.param(lambda x, w, b: authors.causal_conv1d_fwd(x, w, b, None, None, None, True), id="1.2"),
        pytest.param(lambda x, w, b: written(x, w, b), id="1.5"),
        pytest.param(lambda x, w, b: authors.causal_conv1d_fn(x, w, b, "silu"), id="fn of 1.0"),
        pytest.param(lambda x, w, b: authors.causal_conv1d_fn(x, w, b, activation="swish"), id="fn"),
        pytest.param(
            lambda x, w, b: authors.causal_conv1d_fn(x, w, b, None, None, False, None, "silu"), id="positions"
        ),
    ],
)
def test_a_causal_convolution_has_every_calling_convention(call: Callable[..., Tensor]) -> None:
    x, weight, bias = draw(B, D, L), draw(D, 3), draw(D, seed=1)
    torch.testing.assert_close(call(x, weight, bias), F.silu(causal(x, weight, bias)))


def written(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    out = torch.empty_like(x)
    authors.causal_conv1d_fwd(x, weight, bias, None, None, out, None, True)
    return out


def test_steps_of_a_convolution_and_of_a_scan_carry_their_states() -> None:
    x, weight, bias = draw(B, D, L), draw(D, 3), draw(D, seed=1)
    state = torch.zeros(B, D, 3, dtype=x.dtype)
    steps = [authors.causal_conv1d_update(x[..., t], state, weight, bias, "silu") for t in range(L)]
    torch.testing.assert_close(torch.stack(steps, -1), F.silu(causal(x, weight, bias)))
    u, delta, A, Bs, Cs, Ds, dt_bias = arguments()
    h = torch.zeros(B, D, N, dtype=u.dtype)
    ys = [
        authors.selective_state_update(
            h, u[..., t], delta[..., t], A, Bs[:, 0, :, t], Cs[:, 0, :, t], Ds, None, dt_bias, True
        )
        for t in range(L)
    ]
    y, last = selective_scan(u, delta, A, Bs[:, :1], Cs[:, :1], Ds, None, dt_bias, True)
    torch.testing.assert_close(torch.stack(ys, -1), y)
    torch.testing.assert_close(h, last)


H, P = 4, 2


def duality() -> tuple[Any, ...]:
    """x, dt, A, B, C, D."""
    return draw(B, L, H, P), draw(B, L, H, seed=1), -draw(H).abs(), draw(B, L, G, N), draw(B, L, G, N, seed=2), draw(H)


def test_duality_is_one_operator_whose_steps_are_not_below_zero() -> None:
    x, dt, A, Bs, Cs, Ds = duality()
    bias = draw(H, seed=3)
    y, last = ssd(x, dt, A, Bs, Cs, Ds, None, bias, True)
    found = authors.mamba_chunk_scan_combined(
        x, dt, A, Bs, Cs, 256, D=Ds, dt_bias=bias, dt_softplus=True, return_final_states=True
    )
    torch.testing.assert_close(found, (y, last))
    plain = authors.mamba_chunk_scan_combined(x, dt, A, Bs, Cs, 16, Ds, dt_bias=bias)
    torch.testing.assert_close(plain, ssd(x, (dt + bias).clamp(min=0), A, Bs, Cs, Ds)[0])


@pytest.mark.parametrize("normalises", [False, True])
def test_a_whole_block_of_mamba2_is_its_parts(normalises: bool) -> None:
    inner, states = H * P, 2 * G * N
    zxbcdt, kernel = draw(B, L, 2 * inner + states + H), draw(inner + states, 3)
    shift, bias, A, Ds = draw(inner + states, seed=1), draw(H, seed=2), -draw(H).abs(), draw(H, seed=3)
    weight, out = draw(inner, seed=4), draw(6, inner, seed=5)
    z, xBC, dt = zxbcdt.split([inner, inner + states, H], -1)
    x, Bs, Cs = F.silu(causal(xBC.mT, kernel, shift)).mT.split([inner, G * N, G * N], -1)
    y = ssd(x.unflatten(2, (H, P)), dt, A, Bs.unflatten(2, (G, N)), Cs.unflatten(2, (G, N)), Ds, None, bias, True)[0]
    gated = y.flatten(2) * F.silu(z)
    expected = F.rms_norm(gated, (inner,), weight, 1e-5) if normalises else gated
    options: dict[str, Any] = {"headdim": P, "ngroups": G, "outproj_weight": out}
    if normalises:
        options |= {"rmsnorm_weight": weight, "rmsnorm_eps": 1e-5, "norm_before_gate": False}
    found = authors.mamba_split_conv1d_scan_combined(zxbcdt, kernel, shift, bias, A, Ds, 256, **options)
    torch.testing.assert_close(found, expected @ out.T)


def test_norms_add_a_residual_and_work_in_groups_before_and_behind_a_gate() -> None:
    x, residual, z = draw(2, 3, 8), draw(2, 3, 8, seed=1), draw(2, 3, 8, seed=2)
    weight, bias = draw(8, seed=3), draw(8, seed=4)
    y, total = authors.layer_norm_fn(x, weight, bias, residual, prenorm=True, eps=1e-5)
    torch.testing.assert_close((y, total), (F.layer_norm(x + residual, (8,), weight, bias, 1e-5), x + residual))
    half = authors.rms_norm_fn(x.half(), weight, None, prenorm=True, residual_in_fp32=True)
    assert [each.dtype for each in half] == [torch.float16, torch.float32]
    groups = F.layer_norm(x.unflatten(-1, (2, 4)), (4,), eps=1e-5).flatten(-2) * weight + bias
    found = authors.layernorm_fn(x, weight, bias, z, 1e-5, 4)
    torch.testing.assert_close(found, groups * F.silu(z))
    norm = authors.RMSNorm(8, eps=1e-5, norm_before_gate=False, dtype=torch.float64)
    torch.testing.assert_close(norm(x, z), F.rms_norm(x * F.silu(z), (8,), eps=1e-5))
    assert list(norm.state_dict()) == ["weight"]


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("seq_idx", lambda: authors.causal_conv1d_fn(draw(B, D, L), draw(D, 3), seq_idx=torch.zeros(B, L))),
        (
            "initial_states",
            lambda: authors.causal_conv1d_fwd(draw(B, D, L), draw(D, 3), None, None, draw(1), None, True),
        ),
        ("dt_limit", lambda: authors.mamba_chunk_scan_combined(*duality()[:5], 256, dt_limit=(0.0, 0.1))),
        ("cu_seqlens", lambda: authors.mamba_chunk_scan_combined(*duality()[:5], 256, cu_seqlens=torch.zeros(2))),
        ("complex numbers", lambda: authors.scan_of_mamba(*arguments()[:2], arguments()[2] + 0j, *arguments()[3:5])),
        ("dropout_p", lambda: authors.rms_norm_fn(draw(2, 8), draw(8), None, dropout_p=0.1)),
        ("something_new", lambda: authors.rms_norm_fn(draw(2, 8), draw(8), None, something_new=3)),
    ],
)
def test_what_a_stand_in_does_not_compute_is_refused_by_name(name: str, call: Callable[[], Any]) -> None:
    with pytest.raises(MissingError, match=rf"with {name}"):
        call()


def test_limits_that_limit_nothing_are_no_limits() -> None:
    x, dt, A, Bs, Cs, _ = duality()
    found = authors.mamba_chunk_scan_combined(x, dt, A, Bs, Cs, 256, dt_softplus=True, dt_limit=(0, math.inf))
    torch.testing.assert_close(found, ssd(x, dt, A, Bs, Cs, dt_softplus=True)[0])
