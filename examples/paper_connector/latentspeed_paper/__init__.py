"""A paper exchange in memory and its connector: the least that a connector of one's own consists of."""

from latentspeed_paper.connector import PaperConnector
from latentspeed_paper.exchange import PaperExchange

__all__ = ["PaperConnector", "PaperExchange"]
