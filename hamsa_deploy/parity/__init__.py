"""Does the bundle compute what the PyTorch model computes?"""

from hamsa_deploy.parity.comparison import ParityReport, check_against, check_parity

__all__ = ["ParityReport", "check_against", "check_parity"]
