"""The mathematics of drawing K of N heads. Imports torch only.

An estimator maps importance (log-weights ``[N]``) and a budget K to gates ``[N]`` and says how
gradient flows back. To add one: write a file here with a function and a module twin whose
``forward(importance, k, temperature, noise)`` returns the gates, and name it in
:data:`ESTIMATORS`; ``--gate-estimator`` offers whatever stands there.
"""

from .budgeted_sigmoid import BudgetedSigmoid, budgeted_sigmoid
from .gumbel import GumbelTopK, relaxed_top_k
from .noise import gumbel_noise
from .schedule import log_linear
from .straight_through import StraightThroughTopK, straight_through_top_k
from .topk import top_k_mask

ESTIMATORS = {
    "gumbel": GumbelTopK,
    "ste": StraightThroughTopK,
    "sigmoid": BudgetedSigmoid,
}

__all__ = [
    "ESTIMATORS",
    "BudgetedSigmoid",
    "GumbelTopK",
    "StraightThroughTopK",
    "budgeted_sigmoid",
    "gumbel_noise",
    "log_linear",
    "relaxed_top_k",
    "straight_through_top_k",
    "top_k_mask",
]
