"""Writes the Markdown, the chart, raw figures, and the part of docs/performance.md between its markers."""

import json
from dataclasses import asdict

import chart
import table
from build import TOP

DOCUMENT = TOP / "docs" / "performance.md"
CHART = TOP / "docs" / "performance.svg"
BEGIN, END = "<!-- scripts/bench writes from here -->", "<!-- to here -->"
# From here on the text is for report.md only: the chart shows most of it.
COSTS = "What each client cost, medians:"


def goals(figures):
    lines = ["| what | goal | measured | met |", "|---|---|---|---|"]
    return lines + [f"| {' | '.join(row)} |" for row in table.rows(figures)]


def costs(figures):
    lines = [
        "| case | client | runs | CPU seconds a million identifiers | wall seconds | peak MiB |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for case, client in dict.fromkeys((run.case, run.client) for run in figures.runs):
        cpu = figures.cpu_per_million(case, client)
        # Without the shell in between, the peak would be that of the process that started it.
        peak = "–" if case == "header" else f"{figures.peak(case, client):.1f}"
        shown = "–" if cpu is None else f"{cpu:.3f}"
        wall = figures.median(case, client, "wall")
        lines.append(f"| {case} | {client} | {len(figures.of(case, client))} | {shown} | {wall:.3f} | {peak} |")
    return lines


def markdown(figures, machine, missing, started):
    """The tables, and their source."""
    told = [f"- {name}: {value}" for name, value in machine.items()]
    left_out = [f"- **without {name}**: {reason}" for name, reason in missing.items()]
    heading = f"Measured on {started}, medians, in brackets the least and the most of all rounds:"
    lines = [heading, "", *goals(figures), "", *told, *left_out, "", COSTS, "", *costs(figures)]
    return "\n".join(lines) + "\n"


def write(built, figures, text, machine, is_for_docs):
    """Writes the files below target/bench, and those of the documentation if asked for."""
    picture = chart.svg(figures)
    (built.folder / "report.md").write_text(text, encoding="utf-8")
    raw = {"machine": machine, "missing": built.missing, "runs": [asdict(run) for run in figures.runs]}
    (built.folder / "runs.json").write_text(json.dumps(raw, indent=1), encoding="utf-8")
    if picture:
        (built.folder / "cpu.svg").write_text(picture, encoding="utf-8")
    if is_for_docs:
        before, rest = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)
        behind = rest.split(END)[1]
        image = "![CPU seconds for a million identifiers](performance.svg)\n\n"
        shown = text.split(COSTS)[0]
        DOCUMENT.write_text(f"{before}{BEGIN}\n\n{image}{shown}{END}{behind}", encoding="utf-8")
        CHART.write_text(picture, encoding="utf-8")
