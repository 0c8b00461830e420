"""Errors that only the compiler raises; the family itself, with its exit codes, is in hamsa_runtime.errors."""

from __future__ import annotations

from hamsa_runtime.errors import InputError


class UnsupportedOperatorError(InputError):
    """A complex tensor reached an operator that the spectral compiler has no rule for.

    Args:
        operator: what has no rule.
        alternative: what to write instead, where something is known.
        where: the place in the user's model.
    """

    def __init__(self, operator: str, alternative: str = "", where: str = "") -> None:
        self.operator, self.alternative = operator, alternative
        super().__init__(
            f"the operator '{operator}' on a complex tensor{where} has no rule in the spectral compiler",
            expected="one that python -m hamsa_deploy.spectral.compiler.table lists, or that PyTorch makes of these",
            cause="the model computes with complex tensors in a way that is not covered",
            fix=(f"{alternative}; or " if alternative else "")
            + "rewrite that line with the real and imaginary parts (torch.view_as_real)",
        )

    def at(self, where: str, called: str = "") -> UnsupportedOperatorError:
        """The same error, naming the place in the user's model and the function that was called there."""
        part_of = f" (called by '{called}')" if called and called != self.operator else ""
        return UnsupportedOperatorError(self.operator, self.alternative, part_of + where)
