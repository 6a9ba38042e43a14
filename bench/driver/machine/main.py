"""Starts a mesh, fills it, changes its policies, and tells what that cost. Each wait is for an event; figures are of this run alone."""

import argparse
import json
import os
import platform
import sys
import time
from datetime import date
from pathlib import Path

from . import manifests, processes, table
from .mesh import Failed, Mesh, until

ROOT = Path(__file__).resolve().parents[3]
INBOUND = "Inbound"


def main():
    arguments = parse()
    mesh = Mesh(arguments.binaries)
    try:
        result = measure(mesh, arguments)
    except Failed as failed:
        print(f"machine: {failed}", file=sys.stderr)
        for path in sorted(mesh.home.glob("*.out")):
            print(f"{path.name}: {path.read_text()[-500:]}", file=sys.stderr)
        return 1
    finally:
        mesh.end()
    text = table.markdown(result)
    print(text)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
        arguments.json.with_suffix(".md").write_text(text + "\n")
    return 0


def parse():
    parser = argparse.ArgumentParser(prog="bench/machine", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="6 workloads, 20 policies, 3 changes: whether it works")
    parser.add_argument("--workloads", type=int, default=100)
    parser.add_argument("--policies", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=100, help="of each kind")
    parser.add_argument("--rest", type=float, default=30, help="seconds at rest")
    parser.add_argument("--binaries", type=Path, default=ROOT / "target/release", help="where weft and weft-proxy are")
    parser.add_argument("--json", type=Path, help="the figures there, the table beside them")
    arguments = parser.parse_args()
    arguments.namespaces = 10
    if arguments.quick:
        arguments.namespaces, arguments.workloads, arguments.policies = 2, 6, 20
        arguments.changes, arguments.rest = 3, 1
    return arguments


def measure(mesh, arguments):
    result = {"date": date.today().isoformat(), "machine": machine(), "phases": [], "changes": []}
    everyone = list(manifests.workloads(arguments.namespaces, arguments.workloads))
    result["plan"] = {"workloads": len(everyone), "policies": arguments.policies, "namespaces": arguments.namespaces}
    for name, text in manifests.files(arguments.namespaces, arguments.workloads, arguments.policies).items():
        mesh.write(name, text)
    phases = Phases(mesh, result["phases"])
    with phases("control plane starts, all policies read"):
        mesh.up()
    with phases("all workloads start at once"):
        for index, (space, name, role) in enumerate(everyone):
            pause = "0.002" if index == 0 or space == manifests.namespace(0) else "0.05"
            mesh.launch(space, name, role, [manifests.callee(index % arguments.namespaces, arguments.namespaces), pause])
        mesh.wait_connected(len(everyone))
    result["memory_started"] = memory(mesh)
    mesh.go.touch()
    callers = [(space, name) for space, name, role in everyone if role == "caller"]
    until(lambda: all(mesh.said(*caller)[-1:] and mesh.said(*caller)[-1][1] == "200" for caller in callers),
          "every caller to be answered", pause=0.1)
    result["changes"] += changes(mesh, arguments, len(everyone))
    mesh.go.unlink()
    with phases("at rest", arguments.rest):
        time.sleep(arguments.rest)
    result["memory"] = memory(mesh)
    with phases("control plane killed (-9) and started: serves again"):
        os.kill(mesh.control(), 9)
        until(lambda: not processes.program(mesh.control()), "its end")
        mesh.up()
        phases.again()
    with phases("from then until all proxies are back"):
        mesh.wait_connected(len(everyone))
    result["machine"]["load_at_end"] = os.getloadavg()[0]
    return result


class Phases:
    """Times what is done in a `with`, and the CPU of the control plane and of everything beside it."""

    def __init__(self, mesh, told):
        self.mesh, self.told = mesh, told

    def __call__(self, name, seconds=None):
        self.name, self.seconds = name, seconds
        return self

    def __enter__(self):
        self.began, self.before = time.monotonic(), self.cpu()

    def __exit__(self, kind, *_):
        if kind is None:
            took, after = time.monotonic() - self.began, self.cpu()
            cpu = {role: after[role] - self.before.get(role, 0) for role in after}
            self.told.append({"name": self.name, "seconds": took, "cpu_seconds": cpu})

    def again(self):
        """The control plane is another one: what the former ran doesn't count."""
        self.before["control"] = 0

    def cpu(self):
        roles = roles_of(self.mesh)
        control = sum(map(processes.ran_seconds, roles.pop("control")))
        return {"control": control, **{role: processes.cpu_seconds(pids) for role, pids in roles.items()}}


def roles_of(mesh):
    roles = processes.tree([child.pid for child in mesh.launchers.values()])
    control = [mesh.control()] if mesh.log().exists() else []
    return {"control": [pid for pid in control if processes.program(pid) == "weft"], **roles}


def memory(mesh):
    return processes.held(roles_of(mesh))


def changes(mesh, arguments, everyone):
    """Two kinds, one after another: a policy of the called server's namespace, and one of the whole mesh."""
    server = manifests.callee(0, arguments.namespaces).partition(".")[2]
    of_namespace = sum(1 for space, _, _ in manifests.workloads(arguments.namespaces, arguments.workloads) if space == server)
    caller = (manifests.namespace(0), "caller")
    for name, space, told in [("a policy of one namespace", server, of_namespace), ("a policy of the whole mesh", "istio-system", everyone)]:
        each = []
        cpu = processes.ran_seconds(mesh.control())
        for number in range(arguments.changes):
            each.append(change(mesh, (space, number % 2 == 0), told, caller))
        cpu = processes.ran_seconds(mesh.control()) - cpu
        last = change(mesh, (space, False), None, caller) if arguments.changes % 2 else None
        assert last is None or last["call_ms"] is not None
        yield {"name": name, "told": told, "cpu_ms": 1000 * cpu / arguments.changes, "each": each}


def change(mesh, policy, told, caller):
    """Saves a file, and waits for the first call that follows it and for those proxies that are told."""
    is_closed = policy[1]
    offset = mesh.log().stat().st_size
    began = mesh.write("switch.yaml", manifests.switch(*policy))
    wanted = "403" if is_closed else "200"
    followed = until(lambda: [at for at, status in mesh.said(*caller)[-3:] if at >= began and status == wanted], f"a call answered {wanted}", 0.005)
    acknowledged = until(lambda: acks(mesh, offset, told), f"{told} acknowledgements", 0.005) if told else [began]
    return {"closed": is_closed, "call_ms": 1000 * (followed[0] - began), "all_ms": 1000 * (max(acknowledged) - began)}


def acks(mesh, offset, told):
    """When each of the proxies has acknowledged its record, once all have."""
    with open(mesh.log()) as log:
        log.seek(offset)
        lines = [line for line in log if "records were acknowledged" in line and INBOUND in line and line.endswith("\n")]
    workloads = {}
    for line in lines:
        at = time_of(line.split()[0])
        workload = next(word for word in line.split() if word.startswith("workload="))
        workloads.setdefault(workload, at)
    return list(workloads.values()) if len(workloads) >= told else None


def time_of(text):
    """Seconds since the epoch of a time like 2026-11-30T12:00:00.000001Z."""
    whole, _, part = text.rstrip("Z").partition(".")
    return time.mktime(time.strptime(whole + " UTC", "%Y-%m-%dT%H:%M:%S %Z")) - time.timezone + float(f"0.{part or 0}")


def machine():
    cpu = next((line.partition(":")[2].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown")
    return {"kernel": platform.release(), "cpu": cpu, "cores": os.cpu_count(), "load_at_start": os.getloadavg()[0]}
