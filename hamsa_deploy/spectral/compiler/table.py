"""The table of docs/operators.md, made from the rules: `python -m hamsa_deploy.spectral.compiler.table` prints it."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from hamsa_deploy.spectral.dispatch import COMPLEX_RULES, ENTRY_RULES

FAMILIES = {
    "torch.fft": "torch.fft",
    "short_time": "short-time transforms",
    "arithmetic": "arithmetic",
    "elementary": "elementary functions",
    "comparisons": "comparisons and logic",
    "reductions": "along axes",
    "products": "products and convolutions",
    "portable": "what not every engine has",
    "parts": "shapes, indices, sums, copies",
    "creation": "creation, with a complex dtype",
    "scans": "scans, of `torch.ops.hamsa`",
}

# What users call the operators whose ATen names are others; None is an operator that only PyTorch itself puts in.
PUBLIC_NAMES = {
    "_assert_tensor_metadata": None,
    "_conj": "conj",
    "_conj_physical": "conj_physical",
    "_neg_view": None,
    "_to_copy": "to",
    "_unsafe_view": None,
    "alias": None,
    "col2im": "nn.functional.fold",
    "constant_pad_nd": None,
    "copy": "copy_",
    "fill": "fill_",
    "im2col": "nn.functional.unfold",
    "index": "x[...]",
    "linalg_vector_norm": "linalg.vector_norm",
    "slice": None,
    "split_with_sizes": None,
    "sym_size": "size",
    "zero": "zero_",
}

# Some of those that PyTorch makes of operators with rules; each has a program in tests/spectral/test_rules.py.
COMPOSITES = """
    resolve_conj movedim swapaxes flatten unflatten ravel chunk tensor_split hsplit mT mH adjoint
    broadcast_to broadcast_tensors hstack vstack dstack column_stack block_diag meshgrid atleast_3d repeat_interleave
    take take_along_dim index_copy diag trace kron rot90 tensordot inner vdot linalg.vecdot linalg.multi_dot
    linalg.matrix_power linalg.cross addcmul addcdiv addr lerp float_power sinc nn.functional.silu std std_mean
    linalg.norm linalg.matrix_norm norm diff trapezoid gradient vander isclose isreal count_nonzero type_as
    nn.functional.dropout add_ mul_ masked_fill_ x[...]=y fft.fftfreq fft.rfftfreq
""".split()


def operators_table() -> str:
    """A Markdown table: one row for each family of rules, and one for what PyTorch makes of them."""
    rows = [(label, _row(names_of(family))) for family, label in FAMILIES.items()]
    rows.append(("made of these by PyTorch, among others", _row(COMPOSITES)))
    lines = ["| family | operators |", "|---|---|", *(f"| {label} | {names} |" for label, names in rows)]
    return "\n".join(lines)


def names_of(family: str) -> list[str]:
    """Public names of the operators of one family that have rules, sorted."""
    rules = {**COMPLEX_RULES, **ENTRY_RULES}
    names = [name for name, rule in rules.items() if family_of(name, rule.__module__) == family]
    public = [PUBLIC_NAMES.get(name, name.removeprefix("fft_")) for name in names]
    return sorted(name for name in public if name)


def family_of(name: str, module: str) -> str:
    """The key in FAMILIES of a rule, by its ATen name and the module that it is in."""
    if module.startswith("hamsa_deploy.scan."):
        return "scans"
    return "torch.fft" if name.startswith("fft_") else module.rpartition(".")[2]


def _row(names: Iterable[str]) -> str:
    return " ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    sys.stdout.write(operators_table() + "\n")
