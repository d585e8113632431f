"""Reading and changing what a report is made of, and what it says."""

from __future__ import annotations

import json
from pathlib import Path


def read_lines(sweep: Path) -> list[dict]:
    return [json.loads(line) for line in (sweep / "runs.jsonl").read_text().splitlines()]


def write_lines(sweep: Path, lines: list[dict]) -> None:
    (sweep / "runs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def table_rows(markdown: str, header: str) -> list[dict[str, list[str]]]:
    """The rows of the table whose header holds a word; columns of one name come as a list."""
    lines = markdown.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|") and header in line)
    names = [cell.strip() for cell in lines[start].strip("|").split("|")]
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        row: dict[str, list[str]] = {}
        cells = line.replace("\\|", "¦").strip("|").split("|")
        for name, cell in zip(names, cells, strict=True):
            row.setdefault(name, []).append(cell.strip())
        rows.append(row)
    return rows


def give_costs(sweep: Path, stored: bool = True) -> list[dict]:
    """Makes two budgets in cost of the budgets 20 and 23 of the method by-cost.

    C = 13 keeps 20 heads, and 23 with seed 2; C = 14 the other way round.

    Args:
        sweep: its folder.
        stored: whether results hold C; those of earlier versions do not.
    """
    lines = read_lines(sweep)
    for line in lines:
        if line["method"] == "by-cost":
            cost = 13 if (line["budget"] == 20) == (line["seed"] != 2) else 14
            line["id"] = f"by-cost-c{cost}-s{line['seed']}"
            line |= {"cost_budget": float(cost)} if stored else {}
    write_lines(sweep, lines)
    return lines
