"""Four strategies on one gateway, everything killed, stopped and broken by a seed: the books agree all the same.

`latentspeed demo --chaos SEED --keep FOLDER` runs any other seed and leaves every log.
"""

import pytest
from support.demo_run import run_demo


@pytest.mark.parametrize("seed", [23, 35])
def test_no_order_and_no_fill_is_lost_whatever_is_killed_stopped_or_broken(tmp_path, seed):
    report = run_demo(tmp_path, "--seconds", "6", "--chaos", str(seed))
    assert report["troubles"]
    assert report["fills"]["venue"] == report["fills"]["gateway"]
