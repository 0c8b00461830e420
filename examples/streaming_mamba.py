"""A causal Mamba that takes a sequence as it comes, some steps to a call, and carries its state from call to call.

    hamsa-export --model streaming_mamba:make --input 1x1x16 --to onnx -o out/streaming            one step to a call
    hamsa-export --model streaming_mamba:make --dynamic input:1=steps --to onnx -o out/streaming   two or more

    h, conv   what the last call has left: of the scan (1, D, N), and the last three inputs of the convolution (1, D, 3)

In Python, C++ and C each call of the engine goes on where the last one ended, and `reset` begins anew.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hamsa_deploy.models import state_space
from hamsa_deploy.scan import selective_scan

WIDTH, STATES, TAPS = 16, 8, 4


class Block(nn.Module):
    """Mamba-1's: (1, steps, width) to the same, any number of steps at a time."""

    h: Tensor
    conv: Tensor

    def __init__(self, width: int = WIDTH, states: int = STATES) -> None:
        super().__init__()
        inner, self.rank, self.states = 2 * width, state_space.rank_of(width), states
        self.norm, self.in_proj = nn.LayerNorm(width), nn.Linear(width, 2 * inner, bias=False)
        self.taps = nn.Conv1d(inner, inner, TAPS, groups=inner)
        self.x_proj = nn.Linear(inner, self.rank + 2 * states, bias=False)
        self.dt_weight = nn.Parameter(state_space.initial_weight(inner, self.rank))
        self.dt_bias = nn.Parameter(state_space.initial_bias(inner))
        self.A_log, self.D = nn.Parameter(state_space.initial_A_log(inner, states)), nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, width, bias=False)
        self.register_buffer("h", torch.zeros(1, inner, states))
        self.register_buffer("conv", torch.zeros(1, inner, TAPS - 1))

    def forward(self, x: Tensor) -> Tensor:
        u, z = self.in_proj(self.norm(x)).transpose(1, 2).chunk(2, 1)
        seen = torch.cat([self.conv, u], 2)
        self.conv.copy_(seen[:, :, 1 - TAPS :])
        u = F.silu(self.taps(seen))
        dt, B, C = self.x_proj(u.transpose(1, 2)).transpose(1, 2).split([self.rank, self.states, self.states], 1)
        A = state_space.decays(self.A_log)
        y, last = selective_scan(
            u, self.dt_weight @ dt, A, B[:, None], C[:, None], self.D, z, self.dt_bias, True, self.h
        )
        self.h.copy_(last)
        return x + self.out_proj(y.transpose(1, 2))


def make(blocks: int = 2) -> nn.Module:
    """The model, with random weights."""
    torch.manual_seed(0)
    return nn.Sequential(*(Block() for _ in range(blocks)), nn.LayerNorm(WIDTH)).eval()


def example_inputs() -> tuple[Tensor, ...]:
    """Seven steps."""
    return (torch.randn(1, 7, WIDTH, generator=torch.Generator().manual_seed(0)),)
