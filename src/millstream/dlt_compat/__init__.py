"""Where Millstream touches what dlt does not document, but for `engine/dlt`.

contract     every private name of dlt that the package uses, what is relied on, and its check
clock        dlt's clock, which names loads
pipes        what a resource is made of
databases    errors of drivers, and schemas that lie in files
"""

from __future__ import annotations
