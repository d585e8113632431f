"""CTranslate2: converting a pruned model, and translating with it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import torch
from fairseq import checkpoint_utils
from fairseq.data import data_utils
from torch import nn

from ..checkpoints.checkpoint import model_arguments
from ..data.corpus import check_dictionaries
from ..errors import PruningError
from ..modules.attention import GatedAttention

logger = logging.getLogger(__name__)


def _ctranslate2() -> Any:
    try:
        import ctranslate2
        import ctranslate2.converters
    except ImportError:
        raise PruningError("CTranslate2 is not installed: pip install ctranslate2") from None
    return ctranslate2


def convert_to_ctranslate2(
    state: Mapping[str, Any], output: Path, data: Path | None, quantization: str
) -> int:
    """Writes a pruned checkpoint as a CTranslate2 model.

    CTranslate2 has one number of heads for all attention sublayers. Sites are padded with heads of
    zero weight up to the largest number that any site keeps, and no further.

    Args:
        state: what ``export.pruned_state`` made.
        output: a folder that does not exist yet.
        data: folder of the dictionaries (default: that of the training).
        quantization: ``float32`` or ``int8``.

    Returns:
        the number of parameters, those of the padding included.

    Raises:
        PruningError: CTranslate2 is missing, or cannot hold this model.
    """
    ctranslate2 = _ctranslate2()
    from ctranslate2.converters import fairseq as reader
    from ctranslate2.specs import TransformerSpec
    from ctranslate2.specs.transformer_spec import TransformerDecoderSpec, TransformerEncoderSpec

    arguments = model_arguments(state)
    _refuse(arguments, reader._SUPPORTED_ACTIVATIONS)
    if data is not None:
        check_dictionaries(data)
    overrides = {} if data is None else {"data": str(data)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pruned.pt"
        torch.save(dict(state), path)
        try:
            (model,), _, task = checkpoint_utils.load_model_ensemble_and_task(
                [str(path)], arg_overrides=overrides
            )
        except FileNotFoundError as error:
            raise PruningError(
                f"cannot find the dictionaries ({error}): name them with --data"
            ) from None
    model.eval()
    attentions = [m for m in model.modules() if isinstance(m, GatedAttention)]
    heads = max(1, *(attention.num_heads for attention in attentions))
    for attention in attentions:
        pad_heads(attention, heads)
    # Without its size of a head, CTranslate2 takes width / heads, which is that of a dense model.
    shape = {
        "num_heads": heads,
        "head_dim": attentions[0].head_dim,
        "pre_norm": bool(arguments.encoder_normalize_before),
        "activation": reader._SUPPORTED_ACTIVATIONS[arguments.activation_fn],
        "layernorm_embedding": bool(arguments.layernorm_embedding),
    }
    spec = TransformerSpec(
        TransformerEncoderSpec(arguments.encoder_layers, **shape),
        TransformerDecoderSpec(arguments.decoder_layers, **shape),
    )
    with torch.no_grad():
        reader.set_transformer_encoder(spec.encoder, model.encoder)
        reader.set_transformer_decoder(spec.decoder, model.decoder)
    spec.register_source_vocabulary(reader._get_vocab(task.source_dictionary))
    spec.register_target_vocabulary(reader._get_vocab(task.target_dictionary))
    spec.config.decoder_start_token = spec.config.eos_token
    spec.config.add_source_eos = True
    spec.validate()
    spec.optimize(quantization=None if quantization == "float32" else quantization)
    output.mkdir()
    spec.save(str(output))
    logger.info("CTranslate2 %s: every site has %d heads", ctranslate2.__version__, heads)
    return sum(parameter.numel() for parameter in model.parameters())


def _refuse(arguments: Any, activations: Container[str]) -> None:
    encoder, decoder = arguments.encoder_attention_heads, arguments.decoder_attention_heads
    if encoder != decoder:
        raise PruningError(
            f"CTranslate2 has one head count, but --encoder-attention-heads is {encoder} and "
            f"--decoder-attention-heads {decoder}"
        )
    for name, value in (
        ("--no-cross-attention", arguments.no_cross_attention),
        ("--adaptive-softmax-cutoff", arguments.adaptive_softmax_cutoff),
        ("--no-token-positional-embeddings", arguments.no_token_positional_embeddings),
    ):
        if value:
            raise PruningError(f"CTranslate2 has no counterpart of {name}")
    if arguments.activation_fn not in activations:
        raise PruningError(
            f"CTranslate2 has no counterpart of --activation-fn {arguments.activation_fn}"
        )
    for name in ("normalize_before", "embed_dim"):
        if getattr(arguments, f"encoder_{name}") != getattr(arguments, f"decoder_{name}"):
            flag = name.replace("_", "-")
            raise PruningError(f"CTranslate2 wants --encoder-{flag} and --decoder-{flag} alike")


def pad_heads(attention: GatedAttention, heads: int) -> None:
    """Adds heads of zero weight, whose output is zero, up to ``heads`` in all."""
    rows = heads * attention.head_dim
    with torch.no_grad():
        for linear in (attention.q_proj, attention.k_proj, attention.v_proj):
            missing = rows - linear.weight.size(0)
            linear.weight = nn.Parameter(nn.functional.pad(linear.weight, (0, 0, 0, missing)))
            linear.bias = nn.Parameter(nn.functional.pad(linear.bias, (0, missing)))
        out = attention.out_proj
        missing = rows - out.weight.size(1)
        out.weight = nn.Parameter(nn.functional.pad(out.weight, (0, missing)).contiguous())
    attention.num_heads = heads


def translate_with_ctranslate2(
    model: Path, data: Path, sentences: int, beam: int = 5
) -> list[tuple[tuple[int, ...], float]]:
    """Token numbers and scores of the test split's best hypotheses, in the order of the data."""
    ctranslate2 = _ctranslate2()
    from fairseq.data import Dictionary

    source, target = _languages(data)
    words = {lang: Dictionary.load(str(data / f"dict.{lang}.txt")) for lang in (source, target)}
    dataset = data_utils.load_indexed_dataset(str(data / f"test.{source}-{target}.{source}"))
    if len(dataset) != sentences:
        raise PruningError(f"{data} has {len(dataset)} test sentences, not {sentences}")
    lines = [[words[source][token] for token in dataset[i][:-1]] for i in range(sentences)]
    translator = ctranslate2.Translator(
        str(model), inter_threads=1, intra_threads=torch.get_num_threads()
    )
    results = translator.translate_batch(
        lines, beam_size=beam, max_batch_size=32, max_decoding_length=200, return_scores=True
    )
    return [
        (
            (*(words[target].index(word) for word in result.hypotheses[0]), words[target].eos()),
            result.scores[0],
        )
        for result in results
    ]


def _languages(data: Path) -> tuple[str, str]:
    pair = data_utils.infer_language_pair(str(data))
    if None in pair:
        raise PruningError(f"{data} holds no binarised test split")
    return pair
