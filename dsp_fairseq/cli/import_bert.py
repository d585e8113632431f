"""``dsp-import-bert``: a BERT or RoBERTa of Hugging Face's transformers, as a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..about import USER_DIR
from ..errors import shortened
from ..imports.bert import TYPE_CHOICES, Import, import_bert
from .parser import CommandParser, command, warnings_only

_MOST_NAMED = 4
"""How many tensors that were left out are named."""


def render(done: Import) -> str:
    """What the command prints: what was found, and how to go on."""
    pairs = " --separator-token 2" if done.separators == 2 else ""
    head = "none; a training adds one" + (", from the model's pooler" if done.pooler else "")
    if done.labels:
        head = f"{', '.join(done.labels)} ({done.labels_file}, for fairseq-preprocess --srcdict)"
    lines = [
        f"checkpoint   {done.output}: {done.layout}, width {done.args.encoder_embed_dim}",
        f"dictionary   {done.dictionary}, for fairseq-preprocess --srcdict",
        f"token types  {done.token_types}",
        f"classes      {head}",
    ]
    if done.left_out:
        lines.append(f"left out     {shortened(done.left_out, _MOST_NAMED)}")
    return "\n".join(
        [
            *lines,
            f"next         fairseq-train DATA --user-dir {USER_DIR} --task dsp_sentence_prediction",
            f"             --init-token 0{pairs} {' '.join(done.training_flags())}",
            f"             --finetune-from-model {done.output} --num-of-heads K ...",
        ]
    )


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``dsp-import-bert``."""
    parser = CommandParser(
        prog="dsp-import-bert",
        description="""\
Write a BERT or RoBERTa encoder of Hugging Face's transformers as a checkpoint that fairseq-train
starts from. The folder has config.json, model.safetensors and the vocabulary (vocab.txt,
vocab.json or tokenizer.json). A dictionary is written beside the checkpoint and, if the model has
a classification head, its labels.""",
        epilog="""examples:
  dsp-import-bert models/minilm --output minilm.pt
  dsp-import-bert models/minilm --output minilm.pt --token-types fold""",
    )
    parser.add_argument("folder", type=Path, help="folder that save_pretrained wrote")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    parser.add_argument(
        "--token-types",
        choices=TYPE_CHOICES,
        default="keep",
        help="embeddings that tell the sentences of a pair apart: keep them (default), or fold "
        "that of the first sentence into the positions, for a model that was trained with it alone",
    )
    args = parser.parse_args(argv)
    with warnings_only():
        done = import_bert(args.folder, args.output, args.token_types)
    print(render(done))


if __name__ == "__main__":
    main()
