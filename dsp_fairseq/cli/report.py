"""``dsp-report``: from a sweep's lines to tables, figures and one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..report.document import counted, write_report
from .parser import CommandParser, command


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``dsp-report``."""
    parser = CommandParser(
        prog="dsp-report",
        description="""\
Makes a report of a sweep's finished runs: a table with the dense result beside every number and
paired bootstrap tests, BLEU against heads, which heads survive, and the training curves. A sweep
that still runs gives a report of what is done, which says what is missing.""",
        epilog="""examples:
  dsp-report sweeps/multi30k --output sweeps/multi30k/report
  xdg-open sweeps/multi30k/report/report.html

report.html is one file that needs nothing else, neither network nor the figures beside it.
report.md shows the PNG files; each figure is there as SVG too. A report that dsp-report wrote to
the same folder is replaced, any other folder with files in it is refused.""",
    )
    parser.add_argument("sweep", type=Path, help="the folder with runs.jsonl, from dsp-sweep")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write")
    args = parser.parse_args(argv)
    names = write_report(args.sweep, args.output)
    figures_written = sum(name.endswith(".svg") for name in names)
    print(f"{args.output}: report.html, report.md and {counted(figures_written, 'figure')}")


if __name__ == "__main__":
    main()
