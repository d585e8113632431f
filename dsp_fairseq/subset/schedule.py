"""Temperature as a pure function of the update number."""

import math


def log_linear(update: int, start: float, end: float, steps: int) -> float:
    """Interpolates from ``start`` to ``end`` on a logarithmic scale over ``steps`` updates.

    Stays at ``end`` afterwards; with ``steps == 0`` it is ``end`` from the first update on.
    """
    if update >= steps:
        return end
    if update <= 0:
        return start
    share = update / steps
    return math.exp((1.0 - share) * math.log(start) + share * math.log(end))
