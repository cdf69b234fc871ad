"""The goals, compared with the measurements. Pure."""

import math
from statistics import median

YES, NO, UNKNOWN = "yes", "**no**", "not measured"


class Figures:
    """All runs, by case and client."""

    def __init__(self, runs):
        self.runs = runs

    def of(self, case, client):
        return [run for run in self.runs if (run.case, run.client) == (case, client)]

    def ratios(self, case, client, other, what="cpu"):
        """One for each round in which both had a turn."""
        others = {run.round: run for run in self.of(case, other)}
        pairs = [(run, others[run.round]) for run in self.of(case, client) if run.round in others]
        return [getattr(run, what) / getattr(other, what) for run, other in pairs]

    def median(self, case, client, what):
        values = [getattr(run, what) for run in self.of(case, client)]
        return median(values) if values else None

    def cpu_per_million(self, case, client):
        values = [run.cpu / run.identifiers * 1e6 for run in self.of(case, client) if run.identifiers]
        return median(values) if values else None

    def peak(self, case, client="ours"):
        return max((run.peak for run in self.of(case, client)), default=None)


def judged(value, goal):
    if value is None:
        return UNKNOWN
    return YES if value <= goal else NO


def with_spread(values, places=2):
    if not values:
        return "–"
    text = f"{median(values):.{places}f}"
    return f"{text} ({min(values):.{places}f} to {max(values):.{places}f})" if len(values) > 1 else text


def ratio_row(figures, what, case, client, other, named, goal):
    values = figures.ratios(case, client, other)
    return (what, f"≤ {goal} × {named}", with_spread(values), judged(median(values) if values else None, goal))


def wall_row(figures, threads, goal):
    runs = figures.of(f"latency {threads}", "ours")
    # The first call comes alone; then all threads wait at once.
    values = [run.wall / (0.1 * (1 + math.ceil(math.ceil(run.identifiers / 1000) / threads))) for run in runs]
    what = f"wall ÷ ideal, 100 ms, {threads} threads"
    return (what, f"≤ {goal}", with_spread(values, 3), judged(median(values) if values else None, goal))


def peak_row(figures, what, case, goal):
    value = figures.peak(case)
    return (f"peak memory, {what}", f"≤ {goal} MiB", f"{value:.1f} MiB" if value else "–", judged(value, goal))


def growth_row(figures):
    small, large = figures.peak("narrow"), figures.peak("big")
    value = large / small if small and large else None
    shown = f"{small:.1f} and {large:.1f} MiB" if value else "–"
    # Pages are counted as they happen to be touched.
    return ("peak memory, 1 M and 10 M rows", "equal (within 5 %)", shown, judged(value, 1.05))


def quota_row(figures):
    what, goal = "a quota scaled down to minutes", "≥ 97 % used, never exceeded, no 429"
    for run in figures.of("quota", "ours"):
        limit = run.seen["limit"]
        whole = run.seen["periods"][:-1]
        used = min(whole, default=0) / limit
        met = used >= 0.97 and max(run.seen["periods"]) <= limit and run.seen["refused"] == 0
        shown = f"{used:.1%} of {limit} requests in each of {len(whole)} whole periods, {run.seen['refused']} of 429"
        return (what, goal, shown, YES if met else NO)
    return (what, goal, "–", UNKNOWN)


def requests_row(figures):
    # A run with another number ends the benchmark.
    return ("requests", "ceil(identifiers / 1000), and the first call", f"exactly, in {len(figures.runs)} runs", YES)


def rows(figures):
    """The columns of the table: what, goal, measured, met."""
    start = figures.median("header", "ours", "wall")
    job = [
        whole.cpu / csv.cpu
        for whole, csv in zip(figures.of("job", "ours from a job"), figures.of("job", "ours"), strict=True)
    ]
    narrow, wide = "CPU, 1 M external IDs, 4 threads", "CPU, wide: 4 identifier columns of 10, 3.55 M identifiers"
    return [
        ratio_row(figures, narrow, "narrow", "ours", "floor", "the raw floor", 1.3),
        ratio_row(figures, narrow, "narrow", "ours", "go", "Go", 0.4),
        ratio_row(figures, narrow, "narrow", "ours", "requests", "requests", 0.06),
        ratio_row(figures, wide, "wide", "ours", "floor", "the raw floor", 1.3),
        ratio_row(figures, "CPU, 10 M rows", "big", "ours", "floor", "the raw floor", 1.3),
        ratio_row(figures, "CPU over TLS", "TLS", "ours", "go", "Go", 0.4),
        ratio_row(figures, "CPU, gzipped input", "gzip", "ours", "reqwest", "reqwest", 0.5),
        *(wall_row(figures, threads, goal) for threads, goal in ((8, 1.01), (32, 1.02), (64, 1.03))),
        peak_row(figures, "4 threads", "narrow", 8),
        peak_row(figures, "64 threads", "latency 64", 24),
        peak_row(figures, "4 threads, TLS", "TLS", 10),
        peak_row(figures, "64 threads, TLS", "latency 64 TLS", 36),
        growth_row(figures),
        ("start to end, header only", "≤ 6 ms", f"{start * 1000:.1f} ms" if start else "–",
         judged(start and start * 1000, 6)),
        quota_row(figures),
        requests_row(figures),
        ("CPU, msgpack.gz from a Treasure Data job", "≤ 2 × the gzipped CSV", with_spread(job),
         judged(median(job) if job else None, 2)),
    ]
