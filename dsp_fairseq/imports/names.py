"""The names that fairseq and transformers give to what BERT and RoBERTa are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import PruningError

HEAD = "sentence_classification_head"
"""What fairseq calls a classification head, unless told otherwise."""

SPECIAL = {
    "bert": ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"),
    "roberta": ("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
}
"""By architecture, the tokens that fairseq calls ``<s> <pad> </s> <unk>`` and ``<mask>``."""

SEPARATORS = {"bert": 1, "roberta": 2}
"""By architecture, how many tokens part the sentences of a pair."""

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_accurate",
    "gelu_pytorch_tanh": "gelu_accurate",
    "relu": "relu",
}
"""fairseq's name of a function of theirs."""

SHAPE = {
    "encoder_layers": "num_hidden_layers",
    "encoder_embed_dim": "hidden_size",
    "encoder_ffn_embed_dim": "intermediate_size",
    "encoder_attention_heads": "num_attention_heads",
}
"""fairseq's argument -> theirs."""

LAYER = {
    "attention.self.query": "self_attn.q_proj",
    "attention.self.key": "self_attn.k_proj",
    "attention.self.value": "self_attn.v_proj",
    "attention.output.dense": "self_attn.out_proj",
    "attention.output.LayerNorm": "self_attn_layer_norm",
    "intermediate.dense": "fc1",
    "output.dense": "fc2",
    "output.LayerNorm": "final_layer_norm",
}
"""Their part of a layer -> fairseq's; either has a weight and a bias."""

CLASSIFIER = {
    "bert": ("pooler.dense", "classifier"),
    "roberta": ("classifier.dense", "classifier.out_proj"),
}
"""The two layers of a classification head; tanh is between them, in fairseq too."""

ENCODER = "encoder.sentence_encoder."
"""How the names of the encoder's weights begin in fairseq."""

BEFORE_POSITIONS = 2
"""Rows of a table of positions in fairseq that no token has."""


def token_order(kind: str, vocabulary: Sequence[str], path: Path) -> list[int]:
    """fairseq's number of a token -> theirs.

    Args:
        kind: one of :data:`SPECIAL`.
        vocabulary: the tokens in the order of their numbers.
        path: where they come from; messages name it.

    Raises:
        PruningError: a special token is missing.
    """
    where = {token: number for number, token in enumerate(vocabulary)}
    special = SPECIAL[kind]
    missing = [token for token in special if token not in where]
    if missing:
        raise PruningError(f"the vocabulary of {path} lacks {', '.join(missing)}")
    first, mask = [where[token] for token in special[:4]], where[special[4]]
    rest = [n for n in range(len(vocabulary)) if n not in (*first, mask)]
    return [*first, *rest, mask]


def layer_names(layers: int) -> Iterator[tuple[str, str]]:
    """Their names of weighted layers and fairseq's, from the tables to the last layer."""
    yield "embeddings.LayerNorm", f"{ENCODER}layernorm_embedding"
    for layer in range(layers):
        for theirs, ours in LAYER.items():
            yield f"encoder.layer.{layer}.{theirs}", f"{ENCODER}layers.{layer}.{ours}"
