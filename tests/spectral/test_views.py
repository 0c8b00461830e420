"""Complex values that a program takes for real ones, changes as such, and may take for complex ones again."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .programs import check_exact

BACK = torch.view_as_complex


def changed(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The change of a spectrum (2, 5, 2), as real numbers and as complex ones."""
    return lambda x: change(torch.view_as_real(torch.fft.rfft(x)))


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "padded": changed(lambda v: BACK(F.pad(v, (0, 0, 1, 2))).abs()),
    "padded, as it is": changed(lambda v: F.pad(v, (0, 0, 1, 2))),
    "a third part": changed(lambda v: F.pad(v, (0, 1))),
    "padded, and back in time": changed(lambda v: torch.fft.irfft(BACK(F.pad(v, (0, 0, 0, 2))), n=12)),
    "rolled": changed(lambda v: BACK(v.roll(1, 1).contiguous()).abs()),
    "parts swapped": changed(lambda v: BACK(v.flip(-1).contiguous())),
    "joined": changed(lambda v: BACK(torch.cat([v, v], 1))),
    "another order of axes": changed(lambda v: v.transpose(-1, -2).reshape(2, -1)),
    "one part, cut": changed(lambda v: v[..., :1].sum(-1)),
    "some frequencies": changed(lambda v: BACK(v[:, 1:3].contiguous())),
    "conjugated by hand": changed(lambda v: BACK(v * torch.tensor([1.0, -1.0]))),
    "energy": changed(lambda v: v.square().sum(-1)),
    "stacked anew": changed(lambda v: torch.stack([v[..., 1], v[..., 0]], -1)),
    "flat": changed(lambda v: v.flatten(1)),
    "a convolution over both parts": changed(
        lambda v: F.conv1d(v.permute(0, 2, 1), torch.tensor([[[0.0], [1.0]], [[2.0], [0.0]]], dtype=v.dtype))
    ),
    "masked": changed(lambda v: BACK(torch.where(v > 0, v, torch.zeros((), dtype=v.dtype)))),
    "written into zeros": changed(
        lambda v: BACK(torch.zeros(2, 5, 2, dtype=v.dtype).slice_scatter(v[:, :3], 1, 0, 3)).abs()
    ),
    "unbound": changed(lambda v: v.unbind(-1)[1]),
    "scaled in place": changed(lambda v: BACK(v.clone().mul_(2))),
}


class Views(torch.nn.Module):
    def forward(self, x: Tensor) -> list[Tensor]:
        return [function(x) for function in VIEWS.values()]


def test_what_is_done_to_a_real_view_of_a_spectrum_equals_eager_pytorch() -> None:
    check_exact(Views(), torch.randn(2, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
