"""Rows of the conformance suites beside the entries of `METHODS`: methods with options."""

from typing import get_args

from narrows.methods._mask import Mask

OPTIONS = {f"ib_rar, {mask}": {"mask": mask, "mask_layer": "encoder.2"} for mask in get_args(Mask)}
