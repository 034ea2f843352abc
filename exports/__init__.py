"""latentspeed: an order gateway for Python trading strategies."""
