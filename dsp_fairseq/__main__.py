"""``python -m dsp_fairseq``: what to give as ``--user-dir``, and the flags that it adds."""

import argparse
from collections.abc import Sequence

from fairseq.dataclass.utils import gen_parser_from_dataclass

from .about import USER_DIR
from .cli.parser import CommandParser, command
from .models.roberta import add_encoder_flags
from .pruning.flags import DistillationConfig, add_pruning_flags
from .pruning.optimizer import DspAdamConfig


def flags_help() -> str:
    """The help of the pruning flags; that of fairseq-train leaves out what a model adds."""
    parser = argparse.ArgumentParser(prog="fairseq-train", add_help=False, usage=argparse.SUPPRESS)
    model = parser.add_argument_group("--arch dsp_transformer* and dsp_roberta*")
    add_pruning_flags(model)
    add_encoder_flags(parser.add_argument_group("--arch dsp_roberta* only"))
    for where, flags in (("--optimizer dsp_adam", DspAdamConfig()),
                         ("--criterion dsp_*", DistillationConfig())):  # fmt: skip
        gen_parser_from_dataclass(parser.add_argument_group(where), flags)
    return parser.format_help()


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m dsp_fairseq``."""
    parser = CommandParser(
        prog="python -m dsp_fairseq",
        formatter_class=argparse.HelpFormatter,
        description="Prints the folder to give to fairseq's commands as --user-dir.",
        epilog='example: fairseq-train DATA --user-dir "$(python -m dsp_fairseq)" '
        "--arch dsp_transformer_iwslt_de_en --num-of-heads 18 ...",
    )
    parser.add_argument(
        "--flags",
        action="store_true",
        help="print the flags that it adds to fairseq-train (whose own --help leaves them out)",
    )
    print(flags_help() if parser.parse_args(argv).flags else USER_DIR)


if __name__ == "__main__":
    main()
