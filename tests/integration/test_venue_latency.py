"""The venue's latency as a user sees it: a real gateway, a venue whose clock is five seconds ahead."""

import json

from support.polling import poll_until
from support.real_gateway import RealGateway, wait_for

from latentspeed.connectors import OrderParams, OrderState, OrderType
from latentspeed.engine.remote_connector import RemoteConnector
from latentspeed.tools.cli import run_command_line
from latentspeed.tools.inspector.read import Inspector
from latentspeed.tools.venues.hyperliquid.process import venue_process

AHEAD_MS = 5_000
KINDS = {"quotes", "books", "trades", "acknowledgements", "fills"}


def test_the_inspector_shows_the_venues_latency_with_its_skew_taken_out_and_its_error(tmp_path, capfd):
    with venue_process("--seed", "7") as venue:
        gateway = RealGateway(tmp_path, venue, pairs=("BTC-USD",))
        try:
            gateway.control("advance_clock", ms=AHEAD_MS)
            gateway.start()
            trade(gateway)
            with Inspector(gateway.engine) as inspector:
                wait_for(lambda: inspector.snapshot().segments[0].quotes, "no quote")
                # An order whose fill is heard of first has no acknowledgement to be timed: then there is another order.
                wait_for(
                    lambda: set(inspector.snapshot().segments[0].venue_latency_estimates) == KINDS or trade(gateway),
                    "not all kinds",
                )
            assert run_command_line(["inspect", "--engine", gateway.engine, "--once", "--json"]) == 0
            (segment,) = json.loads(capfd.readouterr().out)["segments"]
            assert run_command_line(["inspect", "--engine", gateway.engine, "--once"]) == 0
            # Where the lines break depends on the figures before it.
            assert "clock ahead by about" in " ".join(capfd.readouterr().out.split())
        finally:
            gateway.close()
    connector = segment["connector"]
    # Both processes read the clock of this machine, so the true skew is known.
    assert abs(connector["venue_clock_skew_estimate_s"] - AHEAD_MS / 1e3) <= connector["venue_clock_skew_error_s"] < 3
    assert connector["venue_clock_skew_age_s"] < 60
    error_s = segment["venue_latency_error_s"]
    assert connector["venue_clock_skew_error_s"] <= error_s < 4
    # Uncorrected, all of these would be about five seconds below zero.
    (quote,) = segment["quotes"]
    assert -error_s <= quote["venue_latency_estimate_s"] < 3
    for name, summary in segment["venue_latency_estimates"].items():
        assert -error_s <= summary["p50_us"] / 1e6 < 3, name


def trade(gateway):
    """One order that is acknowledged and filled."""
    connector = RemoteConnector(gateway.engine, "hyperliquid", background=False)
    try:
        connector.initialize().result(60)
        connector.connect().result(60)
        connector.wait_ready().result(60)
        order = connector.get_order(connector.buy(OrderParams("BTC-USD", 0.001, None, OrderType.MARKET)))
        poll_until(connector, lambda: order.is_done, f"never done: {order}", 60)
        assert order.state is OrderState.FILLED
    finally:
        connector.disconnect().result(60)
