"""The figures of one run as Markdown. Pure."""

import math

ROLES = {
    "control": "control plane",
    "proxy": "a proxy",
    "launcher": "a launcher (`weft run`)",
    "maker": "a socket maker",
    "init": "a sandbox's first process",
}


def share(values, part):
    """The least value that so large a part of them don't exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def markdown(result):
    plan, machine = result["plan"], result["machine"]
    lines = [
        f"{plan['workloads']} workloads in {plan['namespaces']} namespaces, {plan['policies']} policies; {result['date']}, {machine['cpu']}, "
        f"{machine['cores']} cores, Linux {machine['kernel']}, load average {machine['load_at_start']:.1f} to {machine['load_at_end']:.1f}.",
        "",
        "| change | proxies told | first call that follows: p50, p99, most | all have acknowledged: p50, p99, most | control plane's CPU |",
        "|---|---|---|---|---|",
    ]
    for change in result["changes"]:
        cells = []
        for figure in ("call_ms", "all_ms"):
            values = [each[figure] for each in change["each"]]
            cells.append(f"{share(values, 0.5):.0f}, {share(values, 0.99):.0f}, {max(values):.0f} ms")
        lines.append(f"| {change['name']} | {change['told']} | {cells[0]} | {cells[1]} | {change['cpu_ms']:.0f} ms |")
    lines += ["", "| phase | took | CPU: control plane | proxies | launchers, makers, first processes |", "|---|---|---|---|---|"]
    for phase in result["phases"]:
        cpu = phase["cpu_seconds"]
        others = sum(cpu[role] for role in ("launcher", "maker", "init"))
        lines.append(f"| {phase['name']} | {phase['seconds']:.1f} s | {cpu['control']:.2f} s | {cpu['proxy']:.2f} s | {others:.2f} s |")
    lines += ["", "| memory, KiB | how many | `Anonymous`: median, most | `Pss` | `Rss` | all of them: `Pss` |", "|---|---|---|---|---|---|"]
    for role, held in result["memory"].items():
        if held["count"]:
            both = lambda name: f"{held[name]['median']:,}, {held[name]['most']:,}"  # noqa: E731
            lines.append(f"| {ROLES[role]} | {held['count']} | {both('anonymous')} | {both('pss')} | {both('rss')} | {held['pss']['sum']:,} |")
    total = sum(held["pss"]["sum"] for held in result["memory"].values() if held["count"])
    lines.append(f"| all | | | | | {total:,} |")
    return "\n".join(lines)
