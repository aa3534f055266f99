#!/usr/bin/env python3
"""Plays rung-trainer: answers each trial at once and notes when it came and went (trace-PID beside itself)."""
import json
import os
import sys
import time

metrics = int(os.environ["RUNG_METRICS_FD"])
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "trace-%d" % os.getpid()), "w", buffering=1) as trace:
    for path in sys.stdin:
        started = time.monotonic()
        with open(path.strip()) as file:
            x = json.load(file)["config"]["learning_rate"]
        line = json.dumps({"type": "result", "values": {"validation/accuracy": x}}) + "\n"
        trace.write("%.9f %.9f\n" % (started, time.monotonic()))
        os.write(metrics, line.encode())
