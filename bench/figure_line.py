"""The one form in which every program of bench/ prints a figure: a JSON object a line."""
import json


def print_figure(bench, figure, rung, peer, peer_name, ratio, **more):
    """`peer`, `peer_name` and `ratio` are None where there is no peer; ratio > 1 = Rung is better. `more` says what the figure is of."""
    print(json.dumps({"bench": bench, "figure": figure, "rung": rung, "peer": peer, "peer_name": peer_name, "ratio": ratio, **more}),
          flush=True)
