"""What dlt says in a step becomes what people can act on."""

from __future__ import annotations

import errno
import os

import pytest
from dlt.common.data_writers.exceptions import IncompatibleArrowSchema
from dlt.common.schema.exceptions import UnboundColumnException

from millstream.config import data_dir
from millstream.runs.step_errors import explain
from millstream.sources.file_rows import read_errors


def test_a_key_that_no_row_has():
    columns = [{"name": "nokey", "primary_key": True, "nullable": False}]
    error = UnboundColumnException("shop", "orders", columns)
    told = explain(error, "shop.orders", "orders", "normalize")
    assert told.message == (
        "shop.orders: normalize failed: no row has `nokey` of the key in the table `orders`"
    )
    assert "millstream pending drop --stream" in told.hint


def test_a_column_that_must_not_be_null_and_that_no_row_has():
    error = UnboundColumnException("shop", "orders", [{"name": "n", "nullable": False}])
    told = explain(error, "shop.orders", "orders", "normalize")
    assert "no row has `n`, which may not be null, in the table `orders`" in told.message


def test_a_full_disk_is_not_taken_for_a_file_that_can_not_be_read():
    """What a source writes while it reads a file, such as parts of it, needs space, too."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError) as raised, read_errors("file:///a.jsonl"):
        raise full
    assert raised.value is full
    told = explain(full, "shop.t", "t", "extract")
    assert told.message == "shop.t: extract failed: No space left on device"
    assert str(data_dir()) in told.hint


def test_what_dlt_advises_is_not_cut_away():
    """dlt wraps a driver's error in one that says what to set, and that in one for the step."""
    try:
        try:
            try:
                raise ValueError("int64 vs string")
            except ValueError as inner:
                raise IncompatibleArrowSchema("Tables differ", str(inner)) from inner
        except IncompatibleArrowSchema as advice:
            raise RuntimeError("the step failed") from advice
    except RuntimeError as error:
        told = explain(error, "crm.t", "t", "extract")
    assert "IncompatibleArrowSchema: Tables differ while arrow type promotion" in told.message
    assert "DATA_WRITER__ARROW_CONCAT_PROMOTE_OPTIONS" in told.message
    assert "int64 vs string" in told.message
    assert "set `data_writer.arrow_concat_promote_options` to `default`" in told.hint
