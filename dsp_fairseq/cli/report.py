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
Make a report of the finished runs of a sweep: tables with dense results and paired tests, BLEU or
accuracy against heads, surviving heads, training curves. For an unfinished sweep the report lists
what is missing.""",
        epilog="""examples:
  dsp-report sweeps/multi30k --output sweeps/multi30k/report
  xdg-open sweeps/multi30k/report/report.html

report.html is self-contained. report.md shows the PNG files; each figure is also there as SVG. An
earlier report in the folder is replaced; a folder with other files is refused.""",
    )
    parser.add_argument("sweep", type=Path, help="output folder of dsp-sweep, with runs.jsonl")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write")
    args = parser.parse_args(argv)
    names = write_report(args.sweep, args.output)
    figures_written = sum(name.endswith(".svg") for name in names)
    print(f"{args.output}: report.html, report.md and {counted(figures_written, 'figure')}")


if __name__ == "__main__":
    main()
