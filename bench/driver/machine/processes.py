"""Weft's processes of one run, found by who started whom: what they hold and how long they ran."""

import os
from pathlib import Path

from ..process import thread_ns


def parents():
    """Process -> its parent."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            found[int(entry)] = int(stat.rpartition(")")[2].split()[1])
    return found


def tree(launchers):
    """Role -> processes: `launcher`, `proxy`, `maker` (child of a launcher), `init` (the sandbox's first process)."""
    above = parents()
    children = {}
    for pid, parent in above.items():
        children.setdefault(parent, []).append(pid)
    roles = {"launcher": [pid for pid in launchers if pid in above], "proxy": [], "maker": [], "init": []}
    for launcher in roles["launcher"]:
        for child in children.get(launcher, []):
            if program(child) == "weft-proxy":
                roles["proxy"].append(child)
                continue
            roles["maker"].append(child)
            roles["init"] += [pid for pid in children.get(child, []) if program(pid) == "weft"]
    return roles


def program(pid):
    try:
        return os.path.basename(os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)"))
    except OSError:
        return ""


def memory_kib(pid):
    """`Anonymous`, `Rss` and `Pss` of smaps_rollup; nothing where only root may look."""
    found = {}
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except PermissionError:
        return None
    for line in lines:
        name, _, rest = line.partition(":")
        if name in ("Anonymous", "Rss", "Pss"):
            found[name.lower()] = int(rest.split()[0])
    return found


def cpu_seconds(pids):
    """How long all threads of these ran so far."""
    total = 0
    for pid in pids:
        try:
            total += sum(thread_ns(pid, task) for task in os.listdir(f"/proc/{pid}/task"))
        except FileNotFoundError:
            continue
    return total / 1e9


def ran_seconds(pid):
    """How long a process ran so far, also in threads that have ended; to the tick (10 ms)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def middle(values):
    """The median, and the most."""
    ordered = sorted(values)
    return {"median": ordered[len(ordered) // 2], "most": ordered[-1]} if ordered else {}


def held(roles):
    """Role -> how many, and of each figure the median, the most and the sum, in KiB."""
    found = {}
    for role, pids in roles.items():
        each = [seen for seen in map(memory_kib, pids) if seen]
        figures = {name: {**middle(m[name] for m in each), "sum": sum(m[name] for m in each)}
                   for name in ("anonymous", "rss", "pss")} if each else {}
        found[role] = {"count": len(each), **figures}
    return found
