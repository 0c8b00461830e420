"""At which layer does a bundle leave the model that it was made from?"""

from hamsa_deploy.parity.layers.report import layer_report
from hamsa_deploy.parity.layers.rows import Divergence, LayerReport, LayerRow

__all__ = ["Divergence", "LayerReport", "LayerRow", "layer_report"]
