"""A child process on one core: its start, its cost, its memory, its end. Always by pid; knows nothing of proxies."""

import os
import signal
import socket
import subprocess
import time

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class Process:
    """One child, pinned to `core`, its output in `log`."""

    def __init__(self, argv, core, log):
        self.argv = [str(word) for word in argv]
        self.log = log
        with open(log, "ab") as out:
            # taskset execs the program, so that the pid is the program's own.
            self.child = subprocess.Popen(
                ["taskset", "-c", str(core), *self.argv],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )
        self.pid = self.child.pid

    def alive(self):
        return self.child.poll() is None

    def cpu_ns(self):
        """Nanoseconds that all threads have run so far."""
        total = 0
        for task in os.listdir(f"/proc/{self.pid}/task"):
            total += thread_ns(self.pid, task)
        return total

    def user_sys_ns(self):
        """User and system time, to the tick (10 ms as a rule)."""
        with open(f"/proc/{self.pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return int(fields[11]) * TICK_NS, int(fields[12]) * TICK_NS

    def memory_kib(self):
        """`Anonymous`, `Rss` and `Pss` of smaps_rollup, in KiB."""
        found = {}
        with open(f"/proc/{self.pid}/smaps_rollup") as lines:
            for line in lines:
                name, _, rest = line.partition(":")
                if name in ("Anonymous", "Rss", "Pss"):
                    found[name.lower()] = int(rest.split()[0])
        return found

    def stop(self):
        """Asks, waits two seconds, then kills."""
        if not self.alive():
            return
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(2)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    def last_words(self):
        with open(self.log, errors="replace") as log:
            return log.read()[-2000:]


def thread_ns(pid, task):
    """A thread that ends between listing and reading counts 0; proxies' threads live as long as they do."""
    try:
        with open(f"/proc/{pid}/task/{task}/schedstat") as stat:
            return int(stat.read().split()[0])
    except FileNotFoundError:
        return 0


def core_busy_ns(core):
    """Nanoseconds that a core was busy since boot, with whatever; to the tick."""
    with open("/proc/stat") as lines:
        fields = next(line.split() for line in lines if line.startswith(f"cpu{core} "))
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[1:9])
    return (user + nice + system + irq + softirq + steal) * TICK_NS


def free_ports(count):
    """Loopback ports that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def wait_for_port(port, process, seconds=15):
    """Returns when something accepts on the port; raises if the process ends first or time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not process.alive():
            raise RuntimeError(f"{process.argv[0]} ended with {process.child.returncode}: {process.last_words()}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"{process.argv[0]} didn't listen on port {port}: {process.last_words()}")
