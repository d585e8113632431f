"""The mathematics of drawing K of N heads. Imports torch only.

To add an estimator: write a file here with a function and a module twin, a subclass of
:class:`Estimator`, and name it in :data:`ESTIMATORS`; ``--gate-estimator`` offers whatever stands
there, and fairseq-train gets the flags of its ``options``.
"""

from .budget import Budget, border_margin, kept_mask, leaves_no_choice
from .budgeted_sigmoid import BudgetedSigmoid, budgeted_sigmoid, priced_sigmoid
from .costs import CostBudget
from .estimator import Estimator, Estimators, Option
from .exact_subset import ExactSubset, sample_subset, subset_marginals
from .gumbel import GumbelTopK, relaxed_top_k
from .hard_concrete import (
    HardConcrete,
    PassGates,
    closed_probability,
    concentration_penalty,
    doubling_weight,
    hard_concrete,
    open_probability,
    sparsity_penalty,
)
from .noise import choose, gumbel_noise, logistic_from_gumbel, uniform_from_gumbel
from .random_subset import RandomSubset
from .schedule import linear, log_linear
from .straight_through import StraightThroughTopK, straight_through_top_k
from .topk import NO_LIMITS, Limits, margin, top_k_mask

ESTIMATORS = Estimators(
    {
        "gumbel": GumbelTopK,
        "ste": StraightThroughTopK,
        "sigmoid": BudgetedSigmoid,
        "simple": ExactSubset,
        "hard-concrete": HardConcrete,
        "pass": PassGates,
        "random": RandomSubset,
    }
)
