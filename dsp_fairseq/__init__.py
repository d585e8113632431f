"""Exactly K attention heads: differentiable subset pruning for fairseq's transformer.

This package is what ``--user-dir`` names. Importing it registers the model ``dsp_transformer`` and
its architectures, the criterion ``dsp_label_smoothed_cross_entropy`` and the optimizer
``dsp_adam``, and allows the types that translation checkpoints hold to be loaded by
``torch.load(weights_only=True)``.
"""

from .about import USER_DIR, __version__  # noqa: F401
from .errors import UsageError

try:
    import fairseq  # noqa: F401
except ImportError as error:
    raise UsageError(
        f"cannot import fairseq ({error}): run 'bash scripts/setup.sh', or install it with "
        "'pip install --no-build-isolation fairseq-fixed==0.12.3.1'"
    ) from error

from .checkpoints.checkpoint import allow_checkpoint_types

allow_checkpoint_types()

from .models import transformer  # noqa: E402, F401
from .pruning import criterion, optimizer  # noqa: E402, F401
