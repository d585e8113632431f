"""Temperature and noise as pure functions of the update number."""

import math


def linear(update: int, start: float, end: float, steps: int) -> float:
    """Interpolates from ``start`` to ``end`` over ``steps`` updates.

    Stays at ``end`` afterwards; with ``steps == 0`` it is ``end`` from the first update on.
    """
    if update >= steps:
        return end
    return start + (end - start) * max(update, 0) / steps


def log_linear(update: int, start: float, end: float, steps: int) -> float:
    """As :func:`linear`, on a logarithmic scale."""
    if update >= steps:
        return end
    if update <= 0:
        return start
    return math.exp(linear(update, math.log(start), math.log(end), steps))
