"""The format ``ctranslate2``: a folder for CTranslate2, converted from the pruned model."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import torch
from fairseq import checkpoint_utils
from torch import nn

from ..checkpoints.checkpoint import Checkpoint
from ..data.dataspec import check_dictionaries
from ..errors import PruningError, importing
from ..modules.attention import GatedAttention
from ..modules.head_rows import change_rows, spread_rows
from .exporter import Exporter, Order, register_exporter
from .parity import Hypothesis, Translations, direction_of
from .pruned import pruned_checkpoint

logger = logging.getLogger(__name__)


@register_exporter
class CTranslate2Exporter(Exporter):
    """CTranslate2 has one number of heads for the encoder and one for the decoder.

    Sites are padded with heads of zero weight up to the largest number that any site of their side
    keeps, and no further; the parameters of the padding are counted.
    """

    name = "ctranslate2"
    help = "is a folder for CTranslate2"
    quantizations = ("float32", "int8")

    def write(self, order: Order, output: Path, part: Path) -> int:
        pruned = pruned_checkpoint(order.source, order.head_map, output)
        return write_ctranslate2(pruned, part, order.options.data, order.options.quantization)

    def notes(self, order: Order) -> list[str]:
        head_map = order.head_map
        counts: dict[str, list[int]] = {}
        for site, heads in head_map.kept.items():
            counts.setdefault(site.kind.partition(".")[0], []).append(len(heads))
        padded = {side: max(1, *sublayers) for side, sublayers in counts.items()}
        computed = sum(padded[side] * len(counts[side]) for side in counts)
        sizes = head_map.layout.heads
        least = {most: sum(min(most, size) for size in sizes) for most in range(1, max(sizes) + 1)}
        even = next((most for most, number in least.items() if number >= head_map.budget), 1)
        sides = ", ".join(f"{side} {heads}" for side, heads in padded.items())
        notes = [f"padding      heads per sublayer: {sides}; {computed} computed, of "
                 f"{head_map.budget} kept"]  # fmt: skip
        if least[even] < computed:
            notes.append(f"             --keep-at-most site={even} when training or ranking gives "
                         f"{least[even]} computed at most")  # fmt: skip
        return notes

    def translate(self, exported: Path, original: Translations) -> Sequence[Hypothesis | None]:
        return translate_with_ctranslate2(exported, original)


def _ctranslate2() -> Any:
    with importing("ctranslate2"):
        import ctranslate2
        import ctranslate2.converters
    return ctranslate2


# ---- writing


def write_ctranslate2(
    pruned: Checkpoint, folder: Path, data: Path | None, quantization: str
) -> int:
    """Writes a pruned checkpoint as a CTranslate2 model.

    Args:
        pruned: as the format ``pruned`` has it.
        folder: does not exist yet.
        data: folder of the dictionaries (default: that of the training).
        quantization: ``float32`` or ``int8``.

    Returns:
        the number of parameters, those of the padding included.

    Raises:
        PruningError: CTranslate2 is missing, or cannot hold this model.
    """
    ctranslate2 = _ctranslate2()
    from ctranslate2.converters import fairseq as reader

    _refuse(pruned, reader._SUPPORTED_ACTIVATIONS)
    model, task = _load(pruned, data)
    shapes = [_pad_side(side) for side in (model.encoder, model.decoder)]
    spec = _spec(pruned.args, model, *shapes)
    spec.register_source_vocabulary(reader._get_vocab(task.source_dictionary))
    spec.register_target_vocabulary(reader._get_vocab(task.target_dictionary))
    spec.config.decoder_start_token = spec.config.eos_token
    spec.config.add_source_eos = True
    spec.validate()
    spec.optimize(quantization=None if quantization == "float32" else quantization)
    folder.mkdir()
    spec.save(str(folder))
    logger.info(
        "CTranslate2 %s: every attention of the encoder has %d heads, of the decoder %d",
        ctranslate2.__version__,
        *(shape["num_heads"] for shape in shapes),
    )
    return sum(parameter.numel() for parameter in model.parameters())


def _load(pruned: Checkpoint, data: Path | None) -> tuple[nn.Module, Any]:
    """The model and its task, as fairseq loads them."""
    if data is not None:
        check_dictionaries(data)
    overrides = direction_of(pruned.config("task"))
    if data is not None:
        overrides["data"] = str(data)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pruned.pt"
        pruned.save(path)
        try:
            (model,), _, task = checkpoint_utils.load_model_ensemble_and_task(
                [str(path)], arg_overrides=overrides
            )
        except FileNotFoundError as error:
            raise PruningError(
                f"cannot find the dictionaries ({error}): name them with --data"
            ) from None
    return model.eval(), task


def _pad_side(side: Any) -> dict[str, int]:
    """Gives all attentions of the encoder, or of the decoder, one number of heads."""
    attentions = [module for module in side.modules() if isinstance(module, GatedAttention)]
    heads = max([1, *(attention.num_heads for attention in attentions)])
    for attention in attentions:
        pad_heads(attention, heads)
    # Without its size of a head, CTranslate2 takes width / heads, which is that of a dense model.
    return {"num_heads": heads, "head_dim": attentions[0].head_dim}


def _spec(args: Any, model: Any, encoder: dict[str, int], decoder: dict[str, int]) -> Any:
    from ctranslate2.converters import fairseq as reader
    from ctranslate2.specs import TransformerSpec
    from ctranslate2.specs.transformer_spec import TransformerDecoderSpec, TransformerEncoderSpec

    shared = {
        "pre_norm": bool(args.encoder_normalize_before),
        "activation": reader._SUPPORTED_ACTIVATIONS[args.activation_fn],
        "layernorm_embedding": bool(args.layernorm_embedding),
    }
    projected = model.decoder.project_out_dim is not None
    no_norm = bool(getattr(args, "no_decoder_final_norm", False))
    spec = TransformerSpec(
        TransformerEncoderSpec(args.encoder_layers, **encoder, **shared),
        TransformerDecoderSpec(
            args.decoder_layers,
            project_in_out=projected,
            no_final_norm=no_norm,
            **decoder,
            **shared,
        ),
    )
    if projected:
        del spec.decoder.project_in  # a translation model has none
    with torch.no_grad():
        reader.set_transformer_encoder(spec.encoder, model.encoder)
        reader.set_transformer_decoder(spec.decoder, model.decoder)
    return spec


def _refuse(pruned: Checkpoint, activations: Container[str]) -> None:
    if pruned.family.dense != "transformer":
        raise PruningError(f"CTranslate2 holds translation models, not {pruned.family.name}")
    args = pruned.args
    for name in (
        "no_cross_attention",
        "adaptive_softmax_cutoff",
        "no_token_positional_embeddings",
        "lang_tok_replacing_bos_eos",
    ):
        if getattr(args, name, None):
            flag = name.replace("_", "-")
            raise PruningError(f"CTranslate2 has no counterpart of --{flag}")
    if args.activation_fn not in activations:
        raise PruningError(
            f"CTranslate2 has no counterpart of --activation-fn {args.activation_fn}"
        )
    for name in ("encoder_layers", "decoder_layers"):
        if not getattr(args, name):
            flag = name.replace("_", "-")
            raise PruningError(f"CTranslate2 wants layers on both sides, this has --{flag} 0")
    for name in ("normalize_before", "embed_dim"):
        if getattr(args, f"encoder_{name}") != getattr(args, f"decoder_{name}"):
            flag = name.replace("_", "-")
            raise PruningError(f"CTranslate2 wants --encoder-{flag} and --decoder-{flag} alike")


def pad_heads(attention: GatedAttention, heads: int) -> None:
    """Adds heads of zero weight, whose output is zero, up to ``heads`` in all."""
    present = torch.arange(attention.num_heads)
    padded = change_rows(
        attention.state_dict(),
        "",
        lambda rows: spread_rows(rows, present, attention.head_dim, heads),
    )
    for name, value in padded.items():
        linear, _, part = name.partition(".")
        setattr(getattr(attention, linear), part, nn.Parameter(value))
    attention.num_heads = heads


# ---- translating


def translate_with_ctranslate2(
    model: Path, original: Translations, beam: int = 5
) -> list[Hypothesis | None]:
    """The best hypotheses of the sentences that another model translated, in their order.

    CTranslate2 translates no blank line: of these there is None.
    """
    ctranslate2 = _ctranslate2()
    source, target = original.task.source_dictionary, original.task.target_dictionary
    token = _language_token(original.task)
    # CTranslate2 ends a sentence itself.
    lines = [[source[token] for token in tokens[:-1]] for tokens in original.sources]
    translator = ctranslate2.Translator(
        str(model), inter_threads=1, intra_threads=torch.get_num_threads()
    )
    results = translator.translate_batch(
        lines,
        beam_size=beam,
        max_batch_size=32,
        max_decoding_length=original.longest,
        return_scores=True,
        target_prefix=None if token is None else [[target[token]]] * len(lines),
    )
    return [
        Hypothesis(
            (*(target.index(word) for word in result.hypotheses[0]), target.eos()),
            result.scores[0],
        )
        if line
        else None
        for line, result in zip(lines, results, strict=True)
    ]


def _language_token(task: Any) -> int | None:
    """What a multilingual model's target starts with."""
    _, spec = getattr(getattr(task, "args", None), "langtoks", {}).get("main", (None, None))
    return task.data_manager.get_decoder_langtok(task.args.target_lang, spec) if spec else None
