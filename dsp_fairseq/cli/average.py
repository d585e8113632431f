"""``dsp-average``: the mean of checkpoints that keep the same heads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..analysis.average import Average, average_checkpoints, newest_checkpoints
from ..errors import PruningError
from .parser import CommandParser, command


def render(average: Average, output: Path) -> str:
    """The line that the command prints."""
    number, updates = len(average.num_updates), sorted(average.num_updates)
    span = f"update {updates[0]}" if number == 1 else f"updates {updates[0]} to {updates[-1]}"
    heads = average.heads
    kept = f", {heads.budget} of {heads.layout.num_heads} heads" if heads else ""
    plural = "" if number == 1 else "s"
    return f"{output}: mean of {number} checkpoint{plural} ({span}), {average.standing}{kept}"


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``dsp-average``."""
    parser = CommandParser(
        prog="dsp-average",
        description="""\
Average the weights of several checkpoints of one run; the result often translates slightly
better than the last of them. All must keep the same heads. fairseq's own transformers can be
averaged too.""",
        epilog="""examples:
  dsp-average --last 5 runs/mine --output runs/mine/average.pt
  dsp-average checkpoint8.pt checkpoint9.pt checkpoint10.pt --output average.pt
  fairseq-generate data/mine --user-dir "$(python -m dsp_fairseq)" --path runs/mine/average.pt \\
      --beam 5 --remove-bpe --required-batch-size-multiple 1

Use the result for generation, export and --finetune-from-model. It cannot resume a training:
it holds no optimizer state.""",
    )
    parser.add_argument(
        "checkpoints",
        type=Path,
        nargs="+",
        metavar="CHECKPOINT",
        help="checkpoints from after the freeze; with --last, the folder of a run",
    )
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    parser.add_argument(
        "--last",
        type=int,
        metavar="N",
        help="average the newest N checkpoints of the folder, by epoch and update in their names",
    )
    args = parser.parse_args(argv)
    paths = args.checkpoints
    if args.last is not None:
        if len(paths) != 1:
            raise PruningError(f"--last takes one folder of a run, not {len(paths)} paths")
        paths = newest_checkpoints(paths[0], args.last)
        print("averaging " + ", ".join(path.name for path in paths))
    elif paths[0].is_dir():
        raise PruningError(f"{paths[0]} is a folder: add --last N for its newest N checkpoints")
    print(render(average_checkpoints(paths, args.output), args.output))


if __name__ == "__main__":
    main()
