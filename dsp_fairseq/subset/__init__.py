"""The mathematics of drawing K of N heads. Imports torch only.

An estimator maps importance (log-weights ``[N]``) and a budget K to gates ``[N]`` and says how
gradient flows back. To add one: write a file here with a function and a module twin whose
``forward(importance, k, temperature, noise)`` returns the gates, and name it in
:data:`ESTIMATORS`; ``--gate-estimator`` offers whatever stands there.
"""

from .gumbel import GumbelTopK, relaxed_top_k
from .noise import gumbel_noise
from .schedule import log_linear
from .topk import top_k_mask

ESTIMATORS = {"gumbel": GumbelTopK}

__all__ = [
    "ESTIMATORS",
    "GumbelTopK",
    "gumbel_noise",
    "log_linear",
    "relaxed_top_k",
    "top_k_mask",
]
