"""Chaos that can be had again: what a seed plans, and that the trouble is made and undone."""

import http.server
import json
import signal
import subprocess
import sys
import threading

import psutil
import pytest
from support.fake_gateway import wait_until

from latentspeed.tools.demo.chaos import MOST_GATEWAY_ENDS, QUIET_END_S, make_plan
from latentspeed.tools.proving.trouble_maker import GATEWAY, ControlPort, Trouble, TroubleMaker


def test_a_seed_gives_the_same_plan_every_time_and_seeds_differ():
    assert make_plan(7, 20.0) == make_plan(7, 20.0)
    assert len({str(make_plan(seed, 20.0).troubles) for seed in range(50)}) == 50


@pytest.mark.parametrize("seed", range(100))
def test_no_plan_ends_a_gateway_until_its_supervisor_gives_up_nor_goes_on_to_the_end(seed):
    troubles = make_plan(seed, 60.0).troubles
    ends = [trouble for trouble in troubles if trouble.what in ("kill", "terminate") and GATEWAY in trouble.targets]
    assert len(ends) <= MOST_GATEWAY_ENDS
    assert all(0 < trouble.at_s < 60.0 - QUIET_END_S for trouble in troubles)


def test_every_kind_of_trouble_is_planned_by_some_seed():
    troubles = [trouble for seed in range(40) for trouble in make_plan(seed, 20.0).troubles]
    faults = {"drop_next_reply", "delay_reply_ms", "http_429_burst", "http_500_burst", "http_502_burst", "drop_sockets"}
    assert {trouble.what for trouble in troubles} == faults | {"kill", "terminate", "stop"}


@pytest.fixture
def control():
    """A control port that writes down what it is asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/control", asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def child():
    process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    yield process
    process.kill()
    process.wait()


def is_stopped(child):
    return psutil.Process(child.pid).status() == psutil.STATUS_STOPPED


def test_a_process_stays_stopped_for_its_time_and_is_continued_in_the_end_whatever_its_time(control, child):
    url, asked = control
    troubles = (Trouble(1.0, "stop", ("maker",), for_s=2.0), Trouble(4.0, "stop", ("maker",), for_s=9.0))
    maker = TroubleMaker(troubles, lambda: {"maker": child.pid}, ControlPort(url), lambda text: None)
    for elapsed_s, expected in ((0.5, False), (1.5, True), (2.9, True), (3.5, False), (4.5, True)):
        maker.poll(elapsed_s, is_over=False)
        wait_until(lambda: is_stopped(child) is expected, f"stopped at {elapsed_s} s is not {expected}")  # noqa: B023
    maker.poll(5.0, is_over=True)
    maker.poll(5.1, is_over=True)
    wait_until(lambda: not is_stopped(child), "it was not continued")
    assert asked == [{"do": "reset_faults"}]
    assert maker.ended == {}


def test_a_process_is_killed_once_and_one_that_does_not_run_is_not_counted(control, child):
    url, _ = control
    shown = []
    troubles = (Trouble(1.0, "kill", ("gateway", "taker")), Trouble(1.1, "kill", ("gateway",)))
    maker = TroubleMaker(troubles, lambda: {"gateway": child.pid}, ControlPort(url), shown.append)
    maker.poll(2.0, is_over=False)
    assert child.wait(60) == -signal.SIGKILL
    assert maker.ended == {"gateway": 1}
    assert shown == maker.made
    assert "not running" in shown[1]


def test_a_fault_is_ordered_at_the_venue_and_slow_replies_end_after_their_time(control):
    url, asked = control
    troubles = (
        Trouble(1.0, "http_502_burst", values={"count": 3}),
        Trouble(2.0, "delay_reply_ms", for_s=1.0, values={"value": 200}),
    )
    maker = TroubleMaker(troubles, dict, ControlPort(url), lambda text: None)
    for elapsed_s in (1.0, 2.0, 2.5, 3.0, 3.5):
        maker.poll(elapsed_s, is_over=False)
    assert asked == [
        {"do": "http_502_burst", "count": 3},
        {"do": "delay_reply_ms", "value": 200},
        {"do": "delay_reply_ms", "value": 0},
    ]
