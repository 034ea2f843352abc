"""The demo's taker as a process: `python -m latentspeed.tools.demo.taker` beside a running engine."""

from latentspeed import run
from latentspeed.tools.proving.strategies import Taker

if __name__ == "__main__":
    run(Taker, start_timeout_s=60.0)  # a gateway that is killed again and again is away for long
