"""Turns measurements into tables and verdicts."""

from statistics import median

from counted import FIGURES
from workloads import (BURSTS_TO_JUDGE, COUNTED_BARS, COUNTED_SLACK, CPU_BARS, NOISE, OURS, RAW,
                       RIVALS, WORKLOADS)


def raw_reference(workload, costs):
    """The raw server others are compared with: raw_uring, or for bulk the cheapest raw one."""
    if not workload.bulk:
        return "raw_uring" if "raw_uring" in costs else None
    present = [name for name in RAW if name in costs]
    return min(present, key=lambda name: median(costs[name]), default=None)


def paired_ratio(costs, server, reference):
    """Median over the bursts of server cost / reference cost in the same burst. The machine's
    speed may change between bursts; within one it changes little, so pairs compare fairly. None
    where the reference cost nothing that the kernel noticed."""
    ratios = [own / raw for own, raw in zip(costs[server], costs[reference]) if raw]
    return median(ratios) if ratios else None


def summarise(workload, runs):
    """`runs`: {server: [JSON of each burst]}. Returns {server: summary}."""
    key = workload.cost_key()
    costs = {name: [run["quiet_" + key] or run[key] for run in results]
             for name, results in runs.items()}
    reference = raw_reference(workload, costs)
    summary = {}
    for name, results in runs.items():
        ordered = sorted(costs[name])
        summary[name] = {
            "bursts": len(results),
            "cost_unit": key,
            "cost_median": median(ordered),
            "cost_min": ordered[0],
            "cost_spread": (ordered[-1] - ordered[0]) / ordered[0] if ordered[0] else 0,
            "requests_per_s": median(run["requests_per_s"] for run in results),
            "p50_us": median(run["p50_us"] for run in results),
            "p99_us": median(run["p99_us"] for run in results),
            "p999_us": median(run["p999_us"] for run in results),
            "reference": reference,
            "ratio": paired_ratio(costs, name, reference) if reference else None,
            "ratio_of_minima": (ordered[0] / min(costs[reference])
                                if reference and min(costs[reference]) else None),
            "ratio_to": {rival: paired_ratio(costs, name, rival)
                         for rival in RIVALS if rival in costs},
        }
    return summary


def print_workload(workload, summary, out):
    unit = "us/MB" if workload.bulk else "us/req"
    reference = next(iter(summary.values()))["reference"]
    out(f"\n{workload.name}: {workload.what}")
    out(f"  {'server':<14}{'req/s':>10}{'CPU ' + unit:>12}{'min':>9}{'x raw':>8}{'x min':>8}"
        f"{'spread':>8}{'p50 us':>9}{'p99 us':>9}{'p99.9':>9}")
    for name, row in summary.items():
        ratio = f"{row['ratio']:.3f}" if row["ratio"] else "-"
        minima = f"{row['ratio_of_minima']:.3f}" if row["ratio_of_minima"] else "-"
        mark = " <- raw" if name == reference else ""
        out(f"  {name:<14}{row['requests_per_s']:>10.0f}{row['cost_median']:>12.3f}"
            f"{row['cost_min']:>9.3f}{ratio:>8}{minima:>8}{row['cost_spread']:>8.0%}"
            f"{row['p50_us']:>9.1f}{row['p99_us']:>9.1f}{row['p999_us']:>9.1f}{mark}")


def print_counted(counted, out):
    out("\ncounted figures")
    for figure, what in FIGURES.items():
        out(f"  {what}")
        for server, found in counted.items():
            value = found.get(figure)
            shown = f"{value:>12.3f}" if isinstance(value, (int, float)) else f"  {value}"
            which = found.get(figure + "_which")
            detail = "  " + ", ".join(f"{k} {v}" for k, v in which.items()) if which else ""
            out(f"    {server:<14}{shown}{detail}")


def verdicts(summaries, counted):
    """One row per bar: (passed, text); passed is None if the measurement cannot tell."""
    rows = []

    def judge(what, measured, limit, slack=0.0):
        rows.append((measured <= limit + slack, f"{what}: {measured:.3f} (bar {limit})"))

    def judge_timed(what, row, ratio, limit):
        if row["bursts"] < BURSTS_TO_JUDGE:
            rows.append((None, f"{what}: {ratio:.3f} (bar {limit}; {row['bursts']} bursts cannot "
                               f"tell, {BURSTS_TO_JUDGE} could)"))
        else:
            judge(what, ratio, limit)

    for workload, server, limit in CPU_BARS:
        row = summaries.get(workload, {}).get(server)
        if row and row["ratio"]:
            judge_timed(f"{workload}: CPU of {server} / {row['reference']}", row, row["ratio"],
                        limit)
    for figure, server, limit in COUNTED_BARS:
        value = counted.get(server, {}).get(figure)
        if isinstance(value, (int, float)):
            judge(f"{server}: {FIGURES[figure]}", value, limit, COUNTED_SLACK.get(figure, 0.0))
        elif value is not None:
            rows.append((None, f"{server}: {FIGURES[figure]}: {value}"))
    for workload in WORKLOADS:
        for server in OURS:
            row = summaries.get(workload.name, {}).get(server)
            for rival, ratio in (row or {"ratio_to": {}})["ratio_to"].items():
                if ratio is None:
                    continue
                judge_timed(f"{workload.name}: CPU of {server} / {rival}", row, ratio, NOISE)
    return rows
