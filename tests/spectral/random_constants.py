"""Placeholders for constants: parameters, buffers, and what is computed from neither inputs nor weights."""

from __future__ import annotations

from .random_filling import WRITERS, Filling, placeholder


@placeholder("matrix")
def matrix(filling: Filling) -> str:
    last = filling.shape[-1] if filling.shape else filling.one_of([])
    return filling.constant((last, filling.whole(1, 5)), filling.leader.is_complex)


@placeholder("weight")
def weight(filling: Filling) -> str:
    return _weight(filling, filling.leader.is_complex)


@placeholder("real_weight")
def real_weight(filling: Filling) -> str:
    """Square: what comes out broadcasts with what went in."""
    last = filling.shape[-1] if filling.shape else filling.one_of([])
    filling.texts["real_bias"] = filling.constant((last,), False)
    return filling.constant((last, last), False)


def _weight(filling: Filling, is_complex: bool) -> str:
    last = filling.shape[-1] if filling.shape else filling.one_of([])
    rows = filling.whole(1, 5)
    text = filling.constant((rows, last), is_complex)
    filling.rows = rows
    return text


@placeholder("bias")
def bias(filling: Filling) -> str:
    return filling.constant((filling.rows,), filling.leader.is_complex)


@placeholder("kernel1")
def kernel1(filling: Filling) -> str:
    return _kernel(filling, 1)


@placeholder("kernel2")
def kernel2(filling: Filling) -> str:
    return _kernel(filling, 2)


def _kernel(filling: Filling, spatial: int) -> str:
    filling.rows = filling.whole(1, 4)
    sizes = [filling.whole(1, min(3, size)) for size in filling.shape[2 : 2 + spatial]]
    return filling.constant((filling.rows, filling.shape[1], *sizes), filling.leader.is_complex)


@placeholder("depthwise")
def depthwise(filling: Filling) -> str:
    return filling.constant((filling.shape[1], 1, 3), filling.leader.is_complex)


@placeholder("transposed_kernel")
def transposed_kernel(filling: Filling) -> str:
    return filling.constant((filling.shape[1], filling.whole(1, 4), 3), filling.leader.is_complex)


@placeholder("channels")
def channels(filling: Filling) -> str:
    return str(filling.shape[1])


@placeholder("filter")
def learned_filter(filling: Filling) -> str:
    return filling.constant(filling.part_of_shape(), filling.coin())


@placeholder("scale")
def scale(filling: Filling) -> str:
    return filling.constant(filling.shape[-1:], False)


WRITERS["shift_vector"] = scale


@placeholder("frequencies")
def frequencies(filling: Filling) -> str:
    """Odd, even and neither; for an even length the frequency n/2 has no mirror image, so no parity is exact."""
    position = filling.one_of(range(len(filling.shape)))
    size = filling.shape[position]
    call = filling.one_of(
        [
            f"torch.linspace(-1, 1, {size}, dtype=self.real_dtype)",
            f"fft.fftfreq({size}, dtype=self.real_dtype)",
            f"fft.fftfreq({size}, dtype=self.real_dtype).abs()",
            f"torch.sin(2 * torch.pi * fft.fftfreq({size}, dtype=self.real_dtype))",
            f"fft.rfftfreq({2 * size - 1}, dtype=self.real_dtype)",
        ]
    )
    behind = len(filling.shape) - 1 - position
    return f"{call}.reshape({', '.join(map(str, (-1, *[1] * behind)))})" if behind else call
