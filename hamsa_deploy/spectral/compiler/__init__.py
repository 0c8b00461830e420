"""From a module with complex tensors to real arithmetic, by the rules, all of which importing this package loads."""

from hamsa_deploy.spectral import rules
from hamsa_deploy.spectral.compiler.rewriting import to_real
from hamsa_deploy.spectral.dispatch import supported_operators

__all__ = ["rules", "supported_operators", "to_real"]
