"""Does the bundle compute what the PyTorch model computes?"""

from hamsa_deploy.parity.comparison import check_against, check_parity
from hamsa_deploy.parity.verdict import ParityReport

__all__ = ["ParityReport", "check_against", "check_parity"]
