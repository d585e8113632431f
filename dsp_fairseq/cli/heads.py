"""``dsp-heads``: which attention heads a checkpoint keeps, as text, JSON or a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ..analysis.head_map import render_text, to_json
from ..checkpoints.checkpoint import load_checkpoint
from ..errors import PruningError
from ..files import write_whole
from ..pruning.flags import PruningConfig
from .parser import CommandParser, command


def _check_outputs(checkpoint: Path, paths: Sequence[Path], force: bool) -> None:
    """Refuses what cannot be written, before any work is done."""
    if len({path.resolve() for path in paths}) != len(paths):
        raise PruningError(f"--json and --plot name the same file {paths[0]}")
    for path in paths:
        if path.resolve() == checkpoint.resolve():
            raise PruningError(f"cannot write {path}: it is the checkpoint")
        if not path.parent.is_dir():
            raise PruningError(f"cannot write {path}: there is no folder {path.parent}")
        if path.is_dir():
            raise PruningError(f"cannot write {path}: it is a folder")
        if path.exists() and not force:
            raise PruningError(f"{path} exists: give --force to replace it")


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="dsp-heads",
        description="""\
Show which attention heads a checkpoint keeps, in one grid per kind of attention: a row per
layer, a column per head, both numbered from 0. The numbers are importance; kept heads are in
[brackets].""",
        epilog="""examples:
  dsp-heads checkpoints/checkpoint_best.pt
  dsp-heads checkpoints/checkpoint_best.pt --plot heads.svg
  dsp-heads checkpoints/checkpoint_best.pt --json - | python -m json.tool
  dsp-heads checkpoints/checkpoint_1_200.pt --num-of-heads 8

After the freeze this is the final choice. Before it, it is the current top K, and --num-of-heads
shows what another K would keep; after it, only a K that the model was trained for too.""",
    )
    parser.add_argument("checkpoint", type=Path, help="a checkpoint of a gated model")
    parser.add_argument(
        "--num-of-heads",
        metavar="K",
        help="show this K instead of the checkpoint's own budget; after the freeze, one that it "
        "was trained for",
    )
    parser.add_argument(
        "--json", metavar="FILE", help="also write JSON; - prints JSON instead of the grid"
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="also draw it, in the format of the suffix .png, .svg or .pdf (needs matplotlib)",
    )
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    return parser


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``dsp-heads``."""
    args = _parser().parse_args(argv)
    json_file = None if args.json in (None, "-") else Path(args.json)
    suffix = args.plot.suffix.lower() if args.plot else ""
    if args.plot:
        # Imported here, since only pictures need matplotlib.
        from ..analysis.head_plot import FORMATS, render_plot

        if suffix not in FORMATS:
            raise PruningError(f"--plot {args.plot} must end in one of {', '.join(FORMATS)}")
    outputs = [path for path in (json_file, args.plot) if path]
    _check_outputs(args.checkpoint, outputs, args.force)

    checkpoint = load_checkpoint(args.checkpoint)
    head_map = checkpoint.head_map(args.num_of_heads)
    as_json = json.dumps(to_json(head_map), indent=2, allow_nan=False)
    files = {}
    if json_file:
        files[json_file] = as_json.encode() + b"\n"
    if args.plot:
        files[args.plot] = render_plot(head_map, suffix)
    for path, content in files.items():
        write_whole(path, content)
    print(as_json if args.json == "-" else render_text(head_map))
    unfinished = head_map.margin is not None and not head_map.frozen
    if unfinished and checkpoint.updates and args.json != "-":
        freeze = PruningConfig.from_namespace(checkpoint.args).updates_before_freeze()
        print(f"trained for {checkpoint.updates} updates; the freeze comes after {freeze} updates")


if __name__ == "__main__":
    main()
