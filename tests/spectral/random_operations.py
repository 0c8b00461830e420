"""The operations of which random programs are made: templates of Python source, one line each.

Placeholders are filled from left to right, the same one with the same text:

    {v} {z} {x}          the operand: any variable, a complex one, a real one; {v:2} of rank 2 or more, {v:=3} of rank 3
    {v2} {z2} {x2} ..    a variable or a constant of the model that broadcasts with the operand
    {same}               a variable of the operand's shape; {matching}: of its kind, too
    {right}              a complex variable moved to the right half-plane: away from zero and from the branch cut
    {uncut} {nonzero}    a complex variable that is away from both, or from zero, as it is
    {mask}               a condition that rounding cannot flip, broadcasting with the operand
    {axis} {other} {new} an axis of the operand, another one, the place of a new one; negative or not
    {axes} {two}         several axes; two
    {n} {half_n} {s} {half_s}   `, n=..` or `, s=..` for a transform, or nothing; half: of a one-sided spectrum
    {norm}               `, norm=..` or nothing
    {matrix} {weight} {bias} {kernel1} {kernel2} {table}   constants of the operand's kind that fit it
    {frequencies}        frequencies along one of its axes, or a function of them, shaped to broadcast
    {scalar} {imaginary} {index} {indices} {gather} {start_length} {slice} {size} ..   numbers that fit the axis

A template that assigns to {out} is a sequence of statements. A new operation is one more line.
"""

from __future__ import annotations

ARITHMETIC = """
    {z} + {v2}
    {v} + {z2}
    {z} - {v2}
    {x} - {z2}
    {z} * {v2}
    {x} * {z2}
    {z} * {z}
    {v} * {frequencies}
    {z} * {scalar}
    {v} * {imaginary}
    {v} + {imaginary}
    {scalar} - {z}
    {imaginary} - {v}
    {z} / {scalar}
    {v} / {imaginary}
    {z} / ({x2}.abs() + 1)
    {v} / {right}
    {scalar} / {right}
    {right}.reciprocal()
    torch.add({z}, {v2}, alpha={scalar})
    torch.sub({z}, {z2}, alpha={imaginary})
    torch.rsub({z}, {v2}, alpha={scalar})
    -{z}
    torch.square({z})
    {z} ** 2
    {z} ** 3
    torch.addcmul({z}, {z2}, {z3})
    torch.lerp({z}, {z2}, 0.25)
    {z}.conj()
    {z}.conj() * {z2}
    torch.conj_physical({z})
    torch.isfinite({z}) * {z2}
    torch.where({nonzero} == 0, {v2}, {nonzero})
"""

ELEMENTARY = """
    {right} ** -2
    {right} ** 0.5
    {right} ** 1.5
    {right} ** {imaginary}
    {right} ** {x2}
    2.0 ** {z}
    torch.sqrt({right})
    torch.sqrt({uncut})
    torch.log({right})
    torch.log({uncut})
    torch.exp({z} * {imaginary})
    torch.exp({z})
    torch.exp(1j * {x})
    torch.exp2({z})
    torch.expm1({z})
    torch.log2({right})
    torch.log10({right})
    torch.log1p({right})
    torch.rsqrt({right})
    torch.sin({z})
    torch.cos({z})
    torch.sinh({z})
    torch.cosh({z})
    torch.tan({z})
    torch.tanh({z})
    torch.sigmoid({z})
    F.silu({z})
    torch.sgn({nonzero})
"""

PARTS = """
    {z}.real
    {z}.imag
    {z}.real * {z}.imag
    {z}.abs()
    ({z} * {v2}).abs()
    {uncut}.angle()
    torch.cos({nonzero}.angle())
    torch.complex({x}, {x2})
    torch.polar({x}, {x2})
    torch.polar({z}.abs(), {z}.real)
    {x}.to(self.complex_dtype)
    {z}.to(self.complex_dtype)
    torch.view_as_real({z}.resolve_conj())
    torch.view_as_real({z}.resolve_conj())[..., 1]
    torch.view_as_real({z}.resolve_conj()).sum(-1)
    torch.view_as_complex(torch.stack([{x}, {x}.sigmoid()], -1))
    torch.view_as_complex(torch.view_as_real({z}.resolve_conj()))
"""

TRANSFORMS = """
    fft.fft({v}, dim={axis}{n}{norm})
    fft.ifft({v}, dim={axis}{n}{norm})
    fft.ifft({v}, dim={axis}{n}{norm}).real
    fft.rfft({x}, dim={axis}{n}{norm})
    fft.irfft({v}, dim={axis}{half_n}{norm})
    fft.hfft({v}, dim={axis}{half_n}{norm})
    fft.ihfft({x}, dim={axis}{n}{norm})
    fft.fft2({v:2}, dim={two}{s}{norm})
    fft.fft2({v:2}{norm}).real
    fft.ifft2({v:2}, dim={two}{s}{norm})
    fft.rfft2({x:2}, dim={two}{s}{norm})
    fft.irfft2({v:2}, dim={two}{half_s}{norm})
    fft.hfft2({v:2}, dim={two}{half_s}{norm})
    fft.ihfft2({x:2}, dim={two}{s}{norm})
    fft.fftn({v}, dim={axes}{s}{norm})
    fft.fftn({v:1}{norm})
    fft.ifftn({v}, dim={axes}{s}{norm})
    fft.ifftn({v:1}{norm})
    fft.rfftn({x}, dim={axes}{s}{norm})
    fft.irfftn({v}, dim={axes}{half_s}{norm})
    fft.hfftn({v}, dim={axes}{half_s}{norm})
    fft.ihfftn({x}, dim={axes}{s}{norm})
    fft.fftshift({v}, dim={axes})
    fft.ifftshift({v}, dim={axes})
    fft.fftshift({v:1})
    fft.ifftshift({v}, dim={axis})
"""

PRODUCTS = """
    {v} @ {matrix}
    {v:2} @ {v}.transpose(-1, -2)
    {v:2}.transpose(-1, -2).conj() @ {v}
    torch.matmul({v}, {matrix})
    torch.mm({v:=2}, {matrix})
    torch.bmm({v:=3}, {v}.transpose(1, 2))
    torch.mv({v:=2}, {matrix}[:, 0])
    torch.outer({v:=1}, {matching})
    torch.dot({v:=1}, {matching})
    F.linear({v}, {weight})
    F.linear({v}, {weight}, {bias})
    torch.einsum('...d,de->...e', {v}, {matrix})
    torch.einsum('...d,...d->...', {v:1}, {matching})
    torch.einsum('abc->cab', {v:=3})
    torch.einsum('abc,adc->abd', {v:=3}, {matching})
    torch.einsum('ab,cb->ac', {v:=2}, {matching})
    F.conv1d({v:=3}, {kernel1}, {bias})
    F.conv1d({v:=3}, {kernel1}, padding=1)
    F.conv1d({v:=3}, {kernel1}, stride=2, padding=2, dilation=2)
    F.conv1d({v:=3}, {depthwise}, padding=1, groups={channels})
    F.conv2d({v:=4}, {kernel2}, {bias}, padding=1)
    F.conv_transpose1d({v:=3}, {transposed_kernel}, stride=2, padding=1)
    torch.addmm(mat1={v:=2}, mat2={weight}.t(), input={bias}, alpha={scalar}, beta={scalar})
    torch.baddbmm(batch1={v:=3}, batch2={v}.transpose(1, 2), input={v}[:, :1, :1])
    torch.vdot({v:=1}, {matching})
    torch.linalg.vecdot({v:1}, {matching})
    torch.kron({v:=1}, {matching})
"""

REDUCTIONS = """
    {v}.sum()
    {v}.sum({axis})
    {v}.sum({axes}, keepdim=True)
    {v}.mean()
    {v}.mean({axis})
    {v}.mean({axes}, keepdim=True)
    {v}.cumsum({axis})
    {x}.amax({axis})
    {x}.logsumexp({axis})
    torch.linalg.vector_norm({v}, dim={axis})
    {v}.prod({axis})
    {v}.cumprod({axis})
    {v}.var({axis})
    {v}.std({axis}, keepdim=True)
    {v}.diff(dim={axis})
"""

# Only even frames for istft: of odd ones torch.export (2.13) computes the wrong length, and fails.
SHORT_TIME = """
    torch.stft({x:1}, {frame}, window={window}, return_complex=True)
    torch.stft({x:1}, {frame}, {hop}, window={window}, center=False, normalized=True, return_complex=True)
    torch.stft({v:1}, {frame}, {hop}, window={window}, onesided=False, return_complex=True)
    torch.istft(torch.stft({x:1}, {even_frame}, window={window}, return_complex=True), {frame}, window={window})
"""

CONDITIONS = """
    torch.where({mask}, {v}, {v2})
    torch.where({mask}, {z}, {imaginary})
    torch.where({mask}, 0.5, {v})
    {v}.masked_fill({mask}, {scalar})
    {z}.masked_fill({mask}, {imaginary})
    {v} * {mask}
    {out} = {v}.clone(); {out}[{slice}] = {scalar}
    {out} = {z}.clone(); {out}[{slice}] = {imaginary}
    {out} = {v}.clone(); {out}[{slice}] = {out}[{slice}] * 2
    {out} = {v}.clone(); {out}[{slice}] += {v}[{slice}].flip(0)
"""

SHAPES = """
    torch.cat([{v}, {same}], {axis})
    torch.cat([{v}, {v} * 2, {same}], {axis})
    torch.concat([{z}, {z}.conj()], {axis})
    torch.stack([{v}, {same}], {new})
    {v}.split({size}, {axis})[{piece}]
    torch.cat({v}.split({size}, {axis})[::-1], {axis})
    {v}.chunk(2, {axis})[0]
    {v}.unbind({axis})[{index}]
    {v}.index_select({axis}, {indices})
    torch.gather({v}, {axis}, {gather})
    {v}[{indices}]
    {v}[..., {indices}]
    {v}[{slice}]
    {v}.select({axis}, {index})
    {v}.narrow({axis}, {start_length})
    {v}.flip({axis})
    {v}.flip({axes})
    {v}.roll({shift}, {axis})
    torch.roll({v}.flip({axis}), 1, {axis}).conj()
    F.pad({v}, {padding})
    F.pad({v}, {padding}, value={scalar})
    {v}.unsqueeze({new}).expand({expanded})
    {v}.repeat({repeats})
    {v}.tile(2)
    {v}.reshape({shape})
    {v}.flatten()
    {v:2}.flatten(-2)
    {v}.unflatten({axis}, {factors})
    {v}.permute({permutation})
    {v:2}.transpose({axis}, {other})
    {v:2}.movedim({axis}, {other})
    {v:=2}.t()
    {v}.unsqueeze({new})
    {v}.squeeze()
    {v}.unsqueeze({new}).squeeze({new})
    {v:2}.diagonal(0, {axis}, {other})
    torch.tril({v:2})
    torch.triu({v:2}, 1)
    torch.zeros_like({z}) + {v2}
    torch.ones_like({z}) * {v2}
    torch.full_like({z}, {scalar}) * {v2}
    torch.full_like({z}, {imaginary}) + {v2}
    {v}.clone()
    {v}.contiguous()
    {z}.detach()
    F.dropout({v}, 0.3, training=False)
    torch.zeros_like({v}).index_add({axis}, {permuted}, {v})
    torch.zeros_like({v}).scatter({axis}, {gather_permuted}, {v})
    torch.index_put({v}, ({indices},), {v}[{indices}] * 2)
    torch.zeros_like({v}).scatter_add({axis}, {gather_permuted}, {v})
    {v}.index_fill({axis}, {indices}, {scalar})
    {v}.unfold({axis}, {size}, 1)
    {v}.tensor_split(2, {axis})[0]
    {v}.repeat_interleave(2, {axis})
    torch.take_along_dim({v}, dim={axis}, indices={gather})
    torch.hstack([{v}, {same}])
    torch.diag_embed({v:1})
    torch.rot90({v:2}, 1, ({axis}, {other}))
    {v:2}.mT
    {v:2}.mH
"""

REAL_FUNCTIONS = """
    torch.sigmoid({x})
    F.relu({x})
    F.gelu({x})
    F.silu({x})
    torch.tanh({x})
    F.softplus({x})
    F.leaky_relu({x}, 0.1)
    F.elu({x})
    F.hardtanh({x})
    torch.exp({x})
    torch.sin({x})
    torch.cos({x})
    torch.erf({x})
    {x}.abs()
    {x}.square()
    {x} ** 3
    2.0 ** {x}
    {x}.clamp(-0.5, 1.0)
    {x}.clamp_min(0.25)
    torch.maximum({x}, {x2})
    torch.minimum({x}, {x2})
    torch.log({x}.abs() + 1)
    torch.sqrt({x}.square() + 1)
    torch.rsqrt({x}.square() + 1)
    torch.atan2({x}, {x2}.abs() + 1)
    {x} + {x2}
    {x} - {x2}
    {x} * {x2}
    {scalar} - {x}
    {x} / (1 + {x2}.abs())
    torch.addcmul({x}, {x2}, {x3})
    torch.lerp({x}, {x2}, 0.25)
    F.softmax({x}, {axis})
    F.softmax({z}.abs(), {axis})
    F.layer_norm({x}, {last_shape})
    F.layer_norm({x}, {last_shape}, {scale}, {shift_vector})
    F.scaled_dot_product_attention({x:=3}, {x}, {x})
"""

# What models do to a spectrum: pointwise along its frequencies and linear over channels, so half of it is enough.
MIXING = """
    torch.sigmoid({z}.abs()) * {z}
    torch.sigmoid({x}) * {z2}
    {z} * {filter}
    {x} * {filter}
    {z} + {filter}
    {z} * {frequencies}
    {x} + {frequencies}
    {x} - {frequencies}
    {frequencies} / (1 + {x}.abs())
    {z} * ({frequencies}.abs() < 0.3)
    {z} * {z2}
    {z} * {z2}.conj()
    {z} + {z2}
    {z} - {z2}
    {x} + {x2}
    {x} - {x2}
    {x} * {x2}
    {z} / (1 + {z}.abs())
    {x} / (1 + {x2}.abs())
    {z}.real
    {z}.imag
    {z}.abs()
    {z}.abs().square()
    {z}.imag * {z}.real
    {z}.imag - {z}.real
    {z}.conj()
    {z} * {imaginary}
    {z} + {scalar}
    {z} + {imaginary}
    {x} + {scalar}
    {scalar} - {x}
    {x}.clamp(-0.5, 1.0)
    torch.maximum({x}, {x2})
    torch.complex({x}, {x2})
    torch.complex(F.relu({z}.real), F.gelu({z}.imag))
    torch.polar({z}.abs(), {z}.real)
    {z} * torch.exp(1j * {z}.real)
    torch.where({mask}, {z}, {z2})
    F.linear({z}, {weight})
    F.linear({z}, {weight}, {bias})
    F.linear({x}, {weight}, {bias})
    F.linear({z}.abs(), {real_weight}, {real_bias}) * {real_weight}[:, 0]
    F.linear({z}.imag, {real_weight}, {real_bias})
    ({z} * {filter}).real @ {real_weight}
    {v} @ {matrix}
    torch.einsum('...d,de->...e', {z}, {matrix})
    torch.cat([{z}, {z}.conj()], {axis})
    torch.cat([{x}, {same}], {axis})
"""

# What they also do to it, and what needs the full spectrum.
BESIDE = """
    F.softmax({z}.abs(), {axis})
    F.layer_norm({x}, {last_shape})
    {z}.chunk(2, {axis})[0]
    {z}[{slice}]
    {x}[{slice}]
    {z}.split({size}, {axis})[{piece}]
    torch.stack([{z}.real, {z}.imag], {new})
    {z}.unflatten({axis}, {factors})
    {z}.permute({permutation})
    {z}.transpose({axis}, {other})
    {z}.unsqueeze({new})
    {x}.mean({axis}, keepdim=True)
    {z}.sum({axis}, keepdim=True)
    {z}.flip({axis})
    {z}.roll({shift}, {axis})
    torch.roll({z}.flip({axis}), 1, {axis}).conj()
    fft.fft({v}, dim={axis}{norm})
    fft.ifft({z}, dim={axis}{norm})
    {x}.cumsum({axis})
"""

# No rule so far: to_real refuses them by name, which is tested. One that gets a rule belongs in a table above.
WITHOUT_A_RULE = """
    torch.asin({z})
    torch.acosh({right})
    torch.atan({z})
    torch.linalg.det({z:2} @ {z}.mT)
"""


def lines(table: str) -> list[str]:
    """The templates of a table."""
    return [line.strip() for line in table.strip().splitlines()]


GENERAL = [
    lines(table)
    for table in (
        ARITHMETIC,
        PARTS,
        SHAPES,
        TRANSFORMS,
        ELEMENTARY,
        PRODUCTS,
        REDUCTIONS,
        CONDITIONS,
        REAL_FUNCTIONS,
        SHORT_TIME,
    )
]
"""Tables that general programs draw from, each as often as the others."""
