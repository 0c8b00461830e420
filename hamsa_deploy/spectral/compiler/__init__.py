"""From a module with complex tensors to real arithmetic, by the rules, all of which importing this package loads."""

from hamsa_deploy.spectral import rules
from hamsa_deploy.spectral.compiler.rewriting import rewrite
from hamsa_deploy.spectral.dispatch import supported_operators

__all__ = ["rewrite", "rules", "supported_operators"]
