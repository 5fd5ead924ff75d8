#!/usr/bin/env python3
"""Losses of pairs of runs, smoothed (EMA 0.9), and their relative difference, as a table and as an SVG picture.

    tools/loss_curve.py OUT.svg BASE.db:OTHER.db ...     the last run of each store; one pair per seed

Exit code 1 when the largest relative difference of any pair is 0.25 % or more (the bound of DeepSeek-V3's report).
"""
import sqlite3
import sys

BOUND, WIDE, HIGH, LEFT, TOP = 0.25, 760, 250, 60, 30
COLOURS = ["#1f6f8b", "#b5651d", "#5b7f3a", "#7a4b8c"]


def losses(path):
    db = sqlite3.connect(path)
    return [r[0] for r in db.execute("SELECT value FROM metrics WHERE name = 'loss' AND run = (SELECT max(id) FROM runs) ORDER BY step")]


def ema(values, keep=0.9):
    out, mean = [], 0.0
    for i, v in enumerate(values):
        mean = keep * mean + (1 - keep) * v
        out.append(mean / (1 - keep ** (i + 1)))
    return out


def line(values, low, high, top, colour, dash=""):
    n = len(values) - 1
    points = " ".join(f"{LEFT + WIDE * i / n:.1f},{top + HIGH * (high - v) / (high - low):.1f}" for i, v in enumerate(values))
    return f'<polyline fill="none" stroke="{colour}" stroke-width="1.2"{dash} points="{points}"/>'


def axis(low, high, top, label, digits, steps):
    out = [f'<rect x="{LEFT}" y="{top}" width="{WIDE}" height="{HIGH}" fill="none" stroke="#888"/>', f'<text x="{LEFT}" y="{top - 8}">{label}</text>']
    for i in range(5):
        v = low + (high - low) * i / 4
        y = top + HIGH * (high - v) / (high - low)
        out.append(f'<line x1="{LEFT}" x2="{LEFT + WIDE}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/><text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{v:.{digits}f}</text>')
    out.append(f'<text x="{LEFT + WIDE}" y="{top + HIGH + 16}" text-anchor="end">step {steps}</text>')
    return out


def main():
    out, pairs = sys.argv[1], [p.split(":") for p in sys.argv[2:]]
    curves = [(ema(losses(a)), ema(losses(b))) for a, b in pairs]
    errors = [[100 * (y / x - 1) for x, y in zip(*c)] for c in curves]
    low, high = min(min(map(min, c)) for c in curves), max(max(map(max, c)) for c in curves)
    most = max(max(map(abs, e)) for e in errors)
    reach, second = max(0.3, most), TOP + HIGH + 60
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDE + 20}" height="{second + HIGH + 50}" font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/>']
    svg += axis(low, high, TOP, "loss, EMA 0.9: bf16 whole lines, fp8 dashed; one colour per seed", 2, len(curves[0][0]))
    svg += axis(-reach, reach, second, "relative difference of fp8 in %; the dotted lines are the bound of 0.25 %", 2, len(curves[0][0]))
    for bound in (-BOUND, BOUND):
        svg.append(line([bound, bound], -reach, reach, second, "#c00", ' stroke-dasharray="2 3"'))
    for i, ((x, y), e) in enumerate(zip(curves, errors)):
        svg += [line(x, low, high, TOP, COLOURS[i % 4]), line(y, low, high, TOP, COLOURS[i % 4], ' stroke-dasharray="5 3"'), line(e, -reach, reach, second, COLOURS[i % 4])]
        at = max(range(len(e)), key=lambda k: abs(e[k]))
        print(f"seed {i + 1}: {len(e)} steps, loss {x[0]:.3f} -> {x[-1]:.3f}; relative difference at most {abs(e[at]):.3f} % (step {at + 1}), mean {sum(e) / len(e):+.3f} %, last {e[-1]:+.3f} %")
    svg.append("</svg>")
    with open(out, "w") as f:
        f.write("\n".join(svg) + "\n")
    print(f"largest: {most:.3f} %, bound {BOUND} %")
    sys.exit(most >= BOUND)


main()
