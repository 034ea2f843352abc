"""The demo's maker as a process: `python -m latentspeed.tools.demo.maker` beside a running engine."""

from latentspeed import run
from latentspeed.tools.proving.strategies import Maker

if __name__ == "__main__":
    run(Maker, start_timeout_s=60.0)  # a gateway that is killed again and again is away for long
