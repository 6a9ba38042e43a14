"""One mesh of a run: its folders, its control plane and its workloads, all of them an ordinary user's, ended by their pids."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from .programs import CALLER, SERVER

NOBODY = 65534
PATIENCE = 60


class Failed(Exception):
    """What was waited for didn't come."""


class Mesh:
    def __init__(self, binaries):
        self.home = Path(tempfile.mkdtemp(prefix="weft-machine-", dir="/var/tmp"))
        self.folder = self.home / "manifests"
        self.binaries = self.home / "bin"
        self.go = self.home / "go"
        self.launchers = {}
        for path in (self.folder, self.binaries):
            path.mkdir()
        for name in ("weft", "weft-proxy"):
            shutil.copy(Path(binaries) / name, self.binaries / name)
        self.as_user = []
        if os.getuid() == 0:
            self.as_user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", self.home], check=True)

    def weft(self, *words):
        return [*self.as_user, str(self.binaries / "weft"), *words]

    def environment(self, **more):
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG")}
        return {**kept, "HOME": str(self.home), **more}

    def run(self, *words, **more):
        return subprocess.run(self.weft(*words), env=self.environment(**more), stdin=subprocess.DEVNULL, capture_output=True, text=True)

    def up(self):
        """Starts the control plane, which tells in its log who has acknowledged records."""
        started = self.run("up", "-d", "-f", str(self.folder), "--metrics-address", "none", RUST_LOG="weft_control::discovery=debug,warn")
        if started.returncode != 0 or ".yaml" in started.stderr:
            raise Failed(f"weft up: {started.stderr}")

    def control(self):
        return int((self.home / ".local/state/weft/lock").read_text())

    def log(self):
        return self.home / ".local/state/weft/logs/control.log"

    def launch(self, space, name, role, calls):
        """Starts `weft run`; what its program says is in a file."""
        words = {
            "server": ["python3", "-c", SERVER],
            "caller": ["python3", "-c", CALLER, *calls, str(self.go)],
            "sleeper": ["sleep", "infinity"],
        }[role]
        said = open(self.home / f"{space}-{name}.out", "wb")
        child = subprocess.Popen(
            self.weft("run", name, "-n", space, "--", *words), env=self.environment(), cwd=self.home,
            stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)
        self.launchers[(space, name)] = child

    def said(self, space, name):
        """(time, status) of each line that a caller has said."""
        lines = (self.home / f"{space}-{name}.out").read_text().splitlines()
        return [(float(at), status) for at, _, status in (line.partition(" ") for line in lines) if at.replace(".", "").isdigit()]

    def write(self, name, text):
        """Puts a file in its place as editors do. Returns when that began."""
        beside = self.folder / f".{name}.new"
        beside.write_text(text)
        if self.as_user:
            os.chown(beside, NOBODY, NOBODY)
        began = time.time()
        os.rename(beside, self.folder / name)
        return began

    def connected(self):
        """How many proxies have acknowledged all of their records."""
        listed = self.run("proxy-status", "-o", "json")
        rows = json.loads(listed.stdout) if listed.returncode == 0 else []
        return sum(1 for row in rows if row["records"] == "acked")

    def wait_connected(self, count):
        until(lambda: self.connected() >= count, f"{count} proxies connected", pause=0.1)

    def end(self):
        ended = subprocess.run(self.weft("down"), env=self.environment(), capture_output=True, text=True) if self.launchers else None
        for child in self.launchers.values():
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        for child in self.launchers.values():
            child.wait()
        if ended and ended.returncode != 0:
            raise Failed(f"weft down: {ended.stderr}")
        shutil.rmtree(self.home)


def until(is_so, what, pause=0.0):
    """Looks again and again; what doesn't come at all fails the run."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = is_so()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failed(f"expected {what}, found that it didn't come within {PATIENCE} s")
        time.sleep(pause)
