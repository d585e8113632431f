"""Exactly K attention heads: differentiable subset pruning for fairseq's transformers.

This package is what ``--user-dir`` names. Importing it registers the models ``dsp_transformer`` and
``dsp_roberta`` with their architectures, their criteria, the task ``dsp_sentence_prediction`` and
the optimizer ``dsp_adam``, and allows the types that checkpoints hold to be loaded by
``torch.load(weights_only=True)``. Where fairseq is not installed it registers nothing, and
``dsp_fairseq.estimators``, the mathematics, can be imported all the same.
"""

from importlib.util import find_spec

from .about import USER_DIR, __version__  # noqa: F401

if find_spec("fairseq") is not None:
    from .checkpoints.reading import allow_checkpoint_types
    from .errors import exits_in_one_line

    exits_in_one_line(allow_checkpoint_types)()

    from .models import roberta, transformer  # noqa: F401
    from .pruning import optimizer  # noqa: F401
    from .tasks import sentence_prediction  # noqa: F401
