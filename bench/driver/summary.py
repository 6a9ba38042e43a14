"""From samples to medians: pure, except for the look at the machine."""

import os
import platform
from statistics import median


def machine():
    with open("/proc/cpuinfo") as lines:
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    with open("/proc/meminfo") as lines:
        memory = int(next(lines).split()[1]) // 2**20
    return {"cpu": model, "cores": os.cpu_count(), "memory_gib": memory, "kernel": platform.release()}


def summarise(report):
    """For each subject and row the median, least and most of each figure; ratios are taken within a round."""
    by_key = {(s["subject"], s["row"], s["round"]): s for s in report["samples"]}
    rows = {}
    for sample in report["samples"]:
        figures = rows.setdefault(sample["subject"], {}).setdefault(sample["row"], {})
        for name, value in compared(sample, by_key).items():
            figures.setdefault(name, []).append(value)
    short = {key: value for key, value in report.items() if key != "samples"}
    short["others_share"] = spread([sample["others_share"] for sample in report["samples"]])
    short["rows"] = {subject: {row: {name: spread(values) for name, values in figures.items()}
                               for row, figures in of_subject.items()} for subject, of_subject in rows.items()}
    return short


def compared(sample, by_key):
    """A sample's figures, and what they are to the floor and to no proxy in the same round."""
    found = {"rate": sample["rate"], "errors": sample["errors"]}
    place = sample["row"], sample["round"]
    floor, direct = by_key.get(("floor", *place)), by_key.get(("direct", *place))
    if sample["cpu_ms_per_unit"] is not None:
        found["cpu_ms"] = sample["cpu_ms_per_unit"]
        both = sample["user_ns"] + sample["system_ns"]
        found["kernel_share"] = sample["system_ns"] / both if both else 0
        if floor:
            found["ratio"] = sample["cpu_ms_per_unit"] / floor["cpu_ms_per_unit"]
    for name in ("p50_us", "p99_us"):
        if name in sample:
            found[name] = sample[name]
            if direct:
                found[f"added_{name}"] = sample[name] - direct[name]
    return found


def spread(values):
    return {"median": round(median(values), 4), "min": round(min(values), 4), "max": round(max(values), 4)}
