"""One SVG per function and number of workers: regret of the incumbent over the budget spent, the median of the seeds and the band
between their quartiles, both axes logarithmic."""
import math
import os

import numpy as np

import report

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 400, 62, 44, 34, 190
COLOURS = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#e377c2", "#17becf", "#7f7f7f", "#bcbd22")
GRID = np.geomspace(.3, 100, 80)  # full budgets


class Axes:
    def __init__(self, low, high):
        self.low, self.high = math.log10(low), math.log10(high)

    def x(self, spent):
        share = (math.log10(spent) - math.log10(GRID[0])) / (math.log10(GRID[-1]) - math.log10(GRID[0]))
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, regret):
        share = (min(max(math.log10(regret), self.low), self.high) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)

    def path(self, points):
        return " ".join("%.1f,%.1f" % (self.x(spent), self.y(regret)) for spent, regret in points)


def quartiles(runs, floor):
    """[(spent, low, median, high)] where every seed has an incumbent."""
    rows = []
    for spent in GRID:
        values = [report.regret_at(run, spent) for run in runs]
        if None not in values:
            rows.append((spent, *np.percentile(np.maximum(values, floor), (25, 50, 75))))
    return rows


def text(x, y, words, anchor="middle", size=11):
    return '<text x="%.1f" y="%.1f" text-anchor="%s" font-size="%d">%s</text>' % (x, y, anchor, size, words)


def axes_svg(axes):
    parts = []
    for power in range(math.ceil(axes.low), math.floor(axes.high) + 1):
        y = axes.y(10. ** power)
        parts += ['<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>' % (LEFT, y, WIDTH - RIGHT, y),
                  text(LEFT - 6, y + 4, "1e%d" % power, "end")]
    for spent in (1, 10, 50, 100):
        parts += ['<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ddd"/>' % (axes.x(spent), TOP, axes.x(spent), HEIGHT - BOTTOM),
                  text(axes.x(spent), HEIGHT - BOTTOM + 16, str(spent))]
    return parts + [text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "budget spent, full budgets")]


def draw(function, workers, curves):
    """`curves`: by searcher, what quartiles() gives."""
    values = [value for rows in curves.values() for row in rows for value in row[1:]]
    axes = Axes(min(values) * .9, max(values) * 1.1)
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif">' % (WIDTH, HEIGHT),
             '<rect width="100%" height="100%" fill="white"/>',
             text((LEFT + WIDTH - RIGHT) / 2, 20, "%s, %d worker%s: true regret" % (function, workers, "s" if workers > 1 else ""), size=13)]
    parts += axes_svg(axes)
    for number, (name, rows) in enumerate(sorted(curves.items())):
        colour = COLOURS[number % len(COLOURS)]
        band = [(spent, high) for spent, _, _, high in rows] + [(spent, low) for spent, low, _, _ in reversed(rows)]
        parts += ['<polygon points="%s" fill="%s" fill-opacity="0.12"/>' % (axes.path(band), colour),
                  '<polyline points="%s" fill="none" stroke="%s" stroke-width="1.8"/>' % (axes.path([row[:3:2] for row in rows]), colour),
                  '<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="%s" stroke-width="3"/>' % (
                      WIDTH - RIGHT + 10, 50 + 18 * number, WIDTH - RIGHT + 28, 50 + 18 * number, colour),
                  text(WIDTH - RIGHT + 34, 54 + 18 * number, name, "start")]
    return "\n".join(parts + ["</svg>", ""])


def write(runs, directory):
    regrets = report.Regrets(runs)
    os.makedirs(directory, exist_ok=True)
    for workers in regrets.workers:
        for function in regrets.functions:
            curves = {}
            for name in regrets.searchers:
                chosen = [run for run in runs if (run["searcher"], run["function"], run["workers"]) == (name, function, workers)]
                rows = quartiles(chosen, regrets.floor(function)) if chosen else []
                if rows:
                    curves[name] = rows
            if curves:
                with open(os.path.join(directory, "%s-%d.svg" % (function, workers)), "w") as file:
                    file.write(draw(function, workers, curves))
