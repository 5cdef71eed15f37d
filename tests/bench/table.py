#!/usr/bin/env python3
"""Figures of evaluations as Markdown tables. Input: "# title" begins a table, "name<TAB>path of a summary.json" is a row of it."""
import json
import sys


def cell(figures):
    return " / ".join("none" if figures[name] is None else f"{figures[name]:.4f}" for name in ("image_auroc", "pixel_auroc", "aupro"))


def table(title, rows):
    types = sorted({t["type"] for _, s in rows for t in s["types"]})
    print(f"{title}\n\n| | All | " + " | ".join(types) + " |\n|---|---|" + "---|" * len(types))
    for name, summary in rows:
        by_type = {t["type"]: t for t in summary["types"]}
        print(f"| {name} | {cell(summary)} | " + " | ".join(cell(by_type[t]) for t in types) + " |")
    print()


tables = []
for line in sys.stdin:
    if line.startswith("# "):
        tables.append((line[2:].strip(), []))
    else:
        name, path = line.rstrip("\n").split("\t")
        with open(path) as f:
            tables[-1][1].append((name, json.load(f)))
for title, rows in tables:
    table(title, rows)
