"""From a module with complex tensors to real arithmetic, by the rules, all of which importing this package loads."""

from hamsa_deploy.scan import rules as scan_rules
from hamsa_deploy.spectral import rules
from hamsa_deploy.spectral.compiler.rewriting import rewrite
from hamsa_deploy.spectral.dispatch import supported_operators

__all__ = ["rewrite", "rules", "scan_rules", "supported_operators"]
