"""A bar chart in SVG: how many times as long a rival's step takes as ours."""

import math
from html import escape

from .rivals import WORKLOADS

ROW, GAP, LEFT, RIGHT, WIDTH = 18, 26, 250, 130, 900

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f }
.head { font-weight: 600; font-size: 13px }
.axis { stroke: #8c959f; stroke-width: 1 }
.grid { stroke: #d0d7de; stroke-width: 1 }
.win { fill: #1f883d }
.loss { fill: #cf222e }
.span { stroke: #24292f; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .span { stroke: #e6edf3 } .grid { stroke: #30363d } }
"""


def svg(rows):
    """The chart of rows as `run.py` makes them: a group for each workload and number of threads, a bar for each rival."""
    groups = {}
    for row in sorted(rows, key=lambda row: (WORKLOADS.index(row["workload"]), row["threads"], row["rival_ms"])):
        title = f"{row['workload']}, {row['threads']} thread{'s' * (row['threads'] > 1)}, {row['precision']}, {row['path']}"
        groups.setdefault(title, []).append(row)
    ends = [row[name] for row in rows for name in ("low", "high")] or [1.0]
    low, high = min(0.5, *ends), max(2.0, *ends)
    x = lambda ratio: LEFT + (WIDTH - LEFT - RIGHT) * math.log(ratio / low) / math.log(high / low)
    height = 60 + sum(GAP + ROW * len(members) for members in groups.values())
    marks = [2.0**k for k in range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">',
        "<title>Time of a training step: rival / Tapeless</title>",
        f"<style>{STYLE}</style>",
        '<text class="head" x="10" y="20">Time of a training step, rival / Tapeless (right of 1: Tapeless is faster)</text>',
    ]
    for mark in marks:
        parts.append(f'<line class="grid" x1="{x(mark):.1f}" x2="{x(mark):.1f}" y1="46" y2="{height - 8}"/>')
        parts.append(f'<text x="{x(mark):.1f}" y="40" text-anchor="middle">{mark:g}</text>')
    y = 48
    for title, members in groups.items():
        y += GAP
        parts.append(f'<text class="head" x="10" y="{y - 6}">{escape(title)}</text>')
        for row in members:
            parts += bar(row, x, y)
            y += ROW
    parts.append(f'<line class="axis" x1="{x(1):.1f}" x2="{x(1):.1f}" y1="46" y2="{height - 8}"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def bar(row, x, y):
    """A bar from 1 to the ratio, with its interval."""
    start, end = sorted((x(1.0), x(row["ratio"])))
    kind = "win" if row["ratio"] >= 1 else "loss"
    middle = y + ROW / 2
    noisy = " (noisy)" if row.get("noisy") else ""
    return [
        f'<text x="{LEFT - 40}" y="{middle + 4:.1f}" text-anchor="end">{escape(row["rival"])}</text>',
        f'<rect class="{kind}" x="{start:.1f}" y="{y + 3}" width="{max(end - start, 1):.1f}" height="{ROW - 6}"/>',
        f'<line class="span" x1="{x(row["low"]):.1f}" x2="{x(row["high"]):.1f}" y1="{middle}" y2="{middle}"/>',
        f'<text x="{max(end, x(row["high"])) + 6:.1f}" y="{middle + 4:.1f}">{row["ratio"]:.2f}{noisy}</text>',
    ]
