"""dlt's normalizer of Arrow tables and data frames, in files that the destination loads."""

from __future__ import annotations

from typing import Any

from dlt.normalize.items_normalizers import ArrowItemsNormalizer

from millstream.engine import copy_writer


class ArrowNormalizer(ArrowItemsNormalizer):
    """A drop-in for dlt's `ArrowItemsNormalizer`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        copy_writer.adopt(self.item_storage, self.config.destination_capabilities)
