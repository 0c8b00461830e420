"""Products and convolutions, which are bilinear: f(a, b) = f(ar, br) - f(ai, bi) + i (f(ar, bi) + f(ai, br))."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch

from hamsa_deploy.spectral import compilation, complex_linear
from hamsa_deploy.spectral.dispatch import apply, full, operator_name, partwise_rule
from hamsa_deploy.spectral.transforms import columns_of
from hamsa_deploy.spectral.values import Complex, Constant, as_complex, functions, is_complex, split

_linear = torch.ops.aten.linear.default


@partwise_rule("matmul", "mm", "bmm", "mv", "dot", "outer")
def product(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Complex:
    """A product of two operands, one of them complex or both."""
    return _bilinear(lambda a, b: apply(func, (a, b), kwargs), *args)


def _bilinear(real_product: Callable[[Any, Any], Any], a: Any, b: Any) -> Complex:
    """Four real products; two where one operand is real."""
    (ar, ai), (br, bi) = split(a), split(b)
    if ai is None:
        return Complex(real_product(ar, br), real_product(ar, bi))
    if bi is None:
        return Complex(real_product(ar, br), real_product(ai, br))
    re = real_product(ar, br) - real_product(ai, bi)
    return Complex(re, real_product(ar, bi) + real_product(ai, br))


@partwise_rule("linear")
def linear(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Complex:
    """x W^T + b with complex x, W or b; the bias joins the first real product of each part."""
    x, weight, *rest = args
    bias = rest[0] if rest else None
    (xr, xi), (wr, wi) = split(x), split(weight)
    br, bi = (None, None) if bias is None else split(bias)

    def product(a: Any, w: Any, b: Any = None) -> Any:
        return apply(_linear, (a, w, b), {})

    if wi is None:
        return Complex(product(xr, wr, br), product(xi, wr, bi))
    if xi is None:
        return Complex(product(xr, wr, br), product(xr, wi, bi))
    re, im = _form_of(xr, weight)(product, xr, xi, wr, wi)
    return Complex(re if br is None else re + br, im if bi is None else im + bi)


def _form_of(x: Any, weight: Any) -> Callable[..., tuple[Any, Any]]:
    """How the parts are computed; weights that are no constants are not put beside each other at each run."""
    if not isinstance(weight, Constant):
        return complex_linear.THREE.parts
    outputs, inputs = weight.shape
    layer = complex_linear.Layer(inputs, outputs, columns_of(x, -1))
    return compilation.current().linear_form(layer).parts


PRODUCT_OF: dict[str, Callable[..., Any]] = {
    "addmm": torch.mm,
    "addmv": torch.mv,
    "baddbmm": torch.bmm,
    "addbmm": torch.bmm,
}


@partwise_rule(*PRODUCT_OF)
def added_product(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """beta x + alpha (a b); addbmm also sums the products of the batch."""
    x, a, b = args
    name, beta, alpha = operator_name(func), kwargs.get("beta", 1), kwargs.get("alpha", 1)
    product = functions.mul(PRODUCT_OF[name](as_complex(a), b), alpha)
    if name == "addbmm":
        product = torch.sum(product, 0)
    return product if beta == 0 else functions.add(product, functions.mul(as_complex(x), beta))


@partwise_rule("einsum")
def einsum(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An einsum of complex operands, two at a time from the left."""
    equation, operands = args[0].replace(" ", ""), list(args[1])
    while len(operands) > 2:
        first, equation = _first_pair(equation)
        operands = [einsum(func, (first, operands[:2]), {}), *operands[2:]]

    def contracted(*real: Any) -> Any:
        return apply(func, (equation, list(real)), {})

    if not any(is_complex(operand) for operand in operands):
        return contracted(*operands)
    if (found := _with_weights(equation, *operands)) is not None:
        return found
    if len(operands) == 2:
        return _bilinear(contracted, *operands)
    re, im = split(operands[0])
    return Complex(contracted(re), contracted(im))


def _with_weights(equation: str, *operands: Any) -> Any:
    """An einsum with a constant, as a product of matrices: "bix,iox->box" is x (x, b, i) @ W (x, i, o).

    The constant is stored in the order that the product takes. Of an einsum engines bring it into that order at each
    use: ONNX Runtime whenever it runs (1024 x 1024 x 16, batch 3: 82 ms, and 11 as a product), OpenVINO when it loads
    the file, with a copy for each.

    Returns:
        None where that is no such product.
    """
    terms, out = equation.partition("->")[0].split(","), equation.partition("->")[2]
    if len(terms) != 2 or sum(isinstance(operand, Constant) for operand in operands) != 1:
        return None
    pairs = sorted(zip(terms, operands, strict=True), key=lambda pair: isinstance(pair[1], Constant))
    (of_x, x), (of_w, w) = pairs
    if (found := _as_matrices(of_x, of_w, out)) is None:
        return None
    batch, row, summed, column = found
    x = Complex(full(split(x)[0]), full(split(x)[1])) if is_complex(x) else full(x)
    left, right = _in_order(x, of_x, batch + row + summed), _in_order(w, of_w, batch + summed + column)
    return _in_order(functions.matmul(left, right), batch + row + column, out)


def _as_matrices(left: str, right: str, out: str) -> tuple[str, str, str, str] | None:
    """The letters of the batch, of rows, of what is summed and of columns; None where it is not one of each but the
    batch."""
    batch = "".join(c for c in left if c in right and c in out)
    row, column = "".join(c for c in left if c not in right), "".join(c for c in right if c not in left)
    summed = "".join(c for c in left if c in right and c not in out)
    is_once = all(len(set(term)) == len(term) for term in (left, right, out)) and "." not in left + right
    is_one = len(row) == len(column) == len(summed) == 1 and set(out) == {*batch, row, column}
    return (batch, row, summed, column) if is_once and is_one else None


def _in_order(value: Any, axes: str, order: str) -> Any:
    """With its axes in another order."""
    return value if axes == order else functions.permute(value, [axes.index(c) for c in order])


def _first_pair(equation: str) -> tuple[str, str]:
    """Two equations in place of one: of the first two operands, and of their product with the others."""
    inputs, arrow, output = equation.partition("->")
    first, second, *others = inputs.split(",")
    letters = [letter for letter in dict.fromkeys(inputs) if letter.isalpha()]
    if not arrow:  # PyTorch's own rule: letters that occur once, in order, after the broadcast axes
        output = ("..." if "." in inputs else "") + "".join(sorted(x for x in letters if inputs.count(x) == 1))
    needed = output + "".join(others)
    kept = "".join(x for x in letters if x in first + second and x in needed)
    pair = ("..." if "." in first + second else "") + kept
    return f"{first},{second}->{pair}", f"{','.join([pair, *others])}->{output}"


@partwise_rule("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def convolution(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Complex:
    """A convolution with complex input or kernel; the bias is added once."""
    x, kernel, *rest = args
    bias, options = (rest[0], rest[1:]) if rest else (None, [])
    y = _bilinear(lambda a, k: apply(func, (a, k, None, *options), kwargs), x, kernel)
    if bias is None:
        return y
    return cast(Complex, functions.add(y, torch.reshape(bias, (-1, *[1] * (kernel.ndim - 2)))))
