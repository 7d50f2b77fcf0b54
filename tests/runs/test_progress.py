import logging

import pytest

from millstream.config import TargetConfig
from millstream.runs import runner
from millstream.runs.progress import LogLines, collector


def test_a_run_says_what_each_step_did_and_nothing_of_dlts_own(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="millstream")
    target = TargetConfig(name="shop", project=tmp_path)
    runner.run_data(
        [{"id": n, "tags": [n]} for n in range(1200)], target, stream="orders", progress="log"
    )
    said = [record.message for record in caplog.records if record.name.startswith("millstream.")]
    assert said[0] == "orders: extract: orders 1,200"
    assert said[1].startswith("orders: normalize: ")
    assert "orders 1,200" in said[1]
    assert "orders__tags 1,200" in said[1]
    assert said[2].startswith("orders: load: ")
    assert not any("_dlt" in line for line in said)


def test_a_long_step_is_told_while_it_lasts(caplog):
    caplog.set_level(logging.INFO, logger="millstream")
    lines = LogLines("orders", period=0)
    lines._start("Extract shop__orders")
    lines.update("orders", 100)
    lines.update("orders", 100)
    assert caplog.messages == ["orders: extract: orders 100", "orders: extract: orders 200"]


def test_one_file_is_no_files(caplog):
    caplog.set_level(logging.INFO, logger="millstream")
    lines = LogLines("orders")
    lines._start("Load shop__orders in 1")
    lines.update("Jobs", 1)
    lines.update("Files", 2)
    lines._stop()
    assert caplog.messages == ["orders: load: 1 job, 2 files"]


@pytest.mark.parametrize("progress", ["none", "log", "bar"])
def test_each_way_to_show_progress(progress):
    made = collector(progress, "orders")
    assert (made is None) == (progress == "none")
