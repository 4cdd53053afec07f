"""The full figures: what each assurance runs, and what its result must show. `make test` holds the committed results to this."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Counts = Mapping[str, Any]


@dataclass(frozen=True)
class Figure:
    """One assurance: its module here, the arguments of its full run, and whether its counts hold the promise."""

    promise: str
    module: str
    holds: Callable[[Counts], bool]
    arguments: dict[str, Any] = field(default_factory=dict)


FIGURES: dict[str, Figure] = {
    "kills": Figure(
        promise="kill -9 at 200 random moments: everything sent 2.0 s before opens, the loss is named, sealed_through never lied",
        module="kills",
        arguments={"kills": 200},
        holds=lambda counts: counts["kills"] >= 200 and counts["lost_before_2s"] == 0 and counts["sealed_through_lied"] == 0,
    ),
}
