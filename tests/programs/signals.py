"""What a program gets of the signals that its launcher is sent.

    signals.py PREFIX...

starts programs with PREFIX before their names, which may be nothing, and sends the process that it started signals.
What came of them goes to standard output: it is the same for every PREFIX that is faithful."""

import ctypes, os, pty, signal, subprocess, sys, time

PATIENCE = 120
PREFIX = sys.argv[1:]
LIBC = ctypes.CDLL(None)
# SIGKILL and SIGSTOP can't be taken.
TAKEN = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
FIRST, LAST = signal.SIGRTMIN, signal.SIGRTMAX
# More than find room between two processes.
BURST = 2000
# Says each signal that it takes, and the value that came with it, which signal.sigwaitinfo would leave out.
TAKE = """
import ctypes, signal
wanted = ctypes.create_string_buffer(128)
info = (ctypes.c_int * 32)()
libc = ctypes.CDLL(None)
libc.sigfillset(wanted)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
print("up", flush=True)
while True:
    number = libc.sigwaitinfo(wanted, info)
    # Who is stopped while it waits is interrupted.
    if number < 0: continue
    # si_code and si_value; -1 is SI_QUEUE.
    print(number, info[6] if info[2] == -1 else "-", flush=True)
"""


# Process groups that are there.
GROUPS = set()


def start(*program):
    """In a process group of its own, once it has said that it is up."""
    started = subprocess.Popen([*PREFIX, *program], stdout=subprocess.PIPE, process_group=0)
    GROUPS.add(started.pid)
    line = started.stdout.readline()
    assert line == b"up\n", line
    return started


def said(started, lines):
    return [started.stdout.readline().decode().strip() for _ in range(lines)]


def wait(pid):
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    GROUPS.remove(pid)
    return status


def end(started):
    os.killpg(started.pid, signal.SIGKILL)
    wait(started.pid)


def queue(started, number, value):
    assert LIBC.sigqueue(started.pid, int(number), ctypes.c_void_p(value)) == 0, number


def pending(group):
    """Whether a signal waits for a process of the group."""
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.getpgid(int(process)) == group:
                status = open(f"/proc/{process}/status").read()
                if int(status.split("ShdPnd:")[1].split()[0], 16):
                    return True
        except OSError:
            # It has ended.
            pass
    return False


def each():
    """One after the other: by itself, with a value, and to the whole group."""
    taker = start("python3", "-c", TAKE)
    for number in TAKEN:
        os.kill(taker.pid, number)
        print(*said(taker, 1))
        queue(taker, number, int(number) * 1000)
        print(*said(taker, 1))
        os.killpg(taker.pid, number)
        print(*said(taker, 1))
    # Nothing came twice: else that would be first.
    os.kill(taker.pid, FIRST)
    print("last", *said(taker, 1))
    end(taker)


def many():
    """Realtime signals queue, in order."""
    taker = start("python3", "-c", TAKE)
    os.kill(taker.pid, signal.SIGSTOP)
    for value in range(BURST):
        queue(taker, FIRST + 6, value)
    os.kill(taker.pid, signal.SIGCONT)
    print(*sorted(said(taker, 1 + BURST), key=lambda line: line.split()[0]))
    for _ in range(20):
        os.killpg(taker.pid, FIRST + 7)
    print(*said(taker, 20))
    os.kill(taker.pid, LAST)
    print("last", *said(taker, 1))
    # Whoever else is in the group would gather them without end.
    while pending(taker.pid):
        time.sleep(0.01)
    end(taker)


def ends():
    """A program that takes none."""
    for number in (signal.SIGHUP, signal.SIGABRT, signal.SIGSEGV, signal.SIGXCPU, signal.SIGPWR, FIRST, LAST):
        sleeper = start("sh", "-c", "ulimit -c 0; echo up; exec sleep 1000")
        os.kill(sleeper.pid, number)
        print(int(number), wait(sleeper.pid))
    own = subprocess.run([*PREFIX, "sh", "-c", f"kill -{int(FIRST) + 6} $$"])
    print("its own", own.returncode)


def kernel():
    """What the kernel tells the process that was started alone."""
    pid, master = pty.fork()
    if pid == 0:
        program = [*PREFIX, "sh", "-c", "echo up; exec sleep 1000"]
        os.execvp(program[0], program)
    GROUPS.add(pid)
    text = b""
    while b"up" not in text:
        text += os.read(master, 100)
    os.close(master)
    print("hung up", wait(pid))
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        signal.alarm(5)
        program = [*PREFIX, "sleep", "1000"]
        os.execvp(program[0], program)
    GROUPS.add(pid)
    print("alarm", wait(pid), flush=True)


# Who started the tests may have ignored some, as nohup does.
for number in TAKEN:
    signal.signal(number, signal.SIG_DFL)
signal.signal(signal.SIGALRM, lambda *_: sys.exit(f"waited in vain for {PATIENCE} s"))
signal.alarm(PATIENCE)
try:
    for scene in (each, many, ends, kernel):
        scene()
        sys.stdout.flush()
finally:
    for group in GROUPS:
        os.killpg(group, signal.SIGKILL)
