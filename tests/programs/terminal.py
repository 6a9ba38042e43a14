"""What a user sees who types into an interactive bash, line by line.

    terminal.py SCENE PREFIX...

plays one of the scenes below in a terminal of its own; each program of it is started with PREFIX before its name,
which may be nothing. The transcript goes to standard output, with PREFIX left out: it is the same for every
PREFIX that is faithful."""

import fcntl, os, pty, re, select, shlex, signal, struct, sys, termios, time

PATIENCE = 60
COUNT = shlex.quote("""
import os, signal
got = []
for s in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTERM): signal.signal(s, lambda s, _: got.append(s))
os.kill(0, signal.SIGUSR1)
print("up", flush=True)
while not {signal.SIGTERM, signal.SIGTTIN} <= set(got): signal.sigtimedwait([], 0.01)
print("got", sorted(int(s) for s in got), flush=True)
""")
WATCH = shlex.quote("""
import os, signal
awaited = {signal.SIGWINCH, signal.SIGCONT}
signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
# Waiting is not interrupted for Python to raise anything.
signal.signal(signal.SIGINT, signal.SIG_DFL)
print("up", *os.get_terminal_size(), flush=True)
while True: print(signal.Signals(signal.sigwait(awaited)).name, *os.get_terminal_size(), flush=True)
""")
KEEP = shlex.quote("""
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTSTP])
signal.signal(signal.SIGINT, signal.SIG_DFL)
print("up", flush=True)
while True: print(signal.Signals(signal.sigwait([signal.SIGTSTP])).name, flush=True)
""")


class Terminal:
    def __init__(self, prefix):
        self.prefix = prefix
        self.seen = b""
        # The process groups that have prompted.
        self.shells = set()
        shell = ["bash", "--norc", "--noprofile", "--noediting", "-i"]
        os.environ.update(PS1="$SHLVL> ", TERM="dumb", SHLVL="0", LC_ALL="C")
        # A line is one write, into which no shell prompts.
        os.environ.pop("PYTHONUNBUFFERED", None)
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            # As a login gives it, whatever this process was given.
            for number in range(1, signal.NSIG):
                if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):
                    signal.signal(number, signal.SIG_DFL)
            os.closerange(3, 1024)
            os.execvp(shell[0], shell)
        self.resize(24, 80)
        self.until(r"1> ")
        self.type("stty -echo; set +o history; ulimit -c 0", r"1> ")
        # A prefix that brings a shell of its own says so.
        self.inner = os.environ.get("INNER", " ".join(shell))

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, wanted):
        """Reads on until that has been seen; what was seen, with it."""
        end = time.time() + PATIENCE
        while not (found := re.search(wanted.encode(), self.seen)):
            if time.time() > end:
                sys.exit(f"waited in vain for {wanted!r}: {self.seen!r}")
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += os.read(self.master, 65536)
        text, self.seen = self.seen[: found.end()].decode(), self.seen[found.end() :]
        if text.endswith("> "):
            self.shells.add(os.tcgetpgrp(self.master))
        return text

    def type(self, line, wanted=r"\d> "):
        """Types a line, and returns what it brought. `@ ` stands for the prefix."""
        os.write(self.master, line.replace("@ ", self.prefix + " ").encode() + b"\n")
        return self.until(wanted)

    def key(self, letter, wanted=r"\d> "):
        """Types a letter with Ctrl, at a program: a shell hands the terminal over before it prompts, and after it
        has told which job it goes on with."""
        while os.tcgetpgrp(self.master) in self.shells:
            time.sleep(0.001)
        os.write(self.master, bytes([ord(letter) & 31]))
        return self.until(wanted)

    def show(self, text):
        """Adds to the transcript."""
        for line in text.replace("\r", "").split("\n"):
            if not line.startswith("weft: "):
                line = line.replace(self.prefix, "").replace(self.inner, "")
                print(re.sub(r"\s+", " ", line).strip())

    def do(self, line, wanted=r"\d> "):
        """Types a line and shows what came of it."""
        self.show(self.type(line, wanted))

    def press(self, letter, wanted=r"\d> "):
        self.show(self.key(letter, wanted))

    def until_stopped(self):
        """Waits for a job in the background to stop; when the shell says so is its own affair."""
        self.until_jobs("Stopped")

    def until_running(self):
        self.until_jobs("Running")

    def until_jobs(self, state):
        end = time.time() + PATIENCE
        while state not in self.type("jobs"):
            if time.time() > end:
                sys.exit(f"waited in vain for a job to be {state}")
        self.catch_up()

    def catch_up(self):
        """Passes over what a shell says of jobs in the background, whenever that is."""
        self.type("echo told", r"told\r\n")
        self.until(r"\d> ")


def stop(t):
    t.do("@ sh -c 'echo runs; exec sleep 1000'", r"runs\r\n")
    t.press("Z")
    t.do("echo $?")
    t.do("jobs")
    t.do("fg", r"sleep 1000'\r\n")
    t.press("C")
    t.do("echo $?")
    t.do("@ sh -c 'echo runs; exec sleep 1000'", r"runs\r\n")
    t.press("\\")
    t.do("echo $?")


def watch(t):
    t.do(f"@ python3 -c {WATCH}", r"up .*\r\n")
    t.resize(30, 100)
    t.show(t.until(r"SIGWINCH .*\r\n"))
    t.press("Z")
    # The line of the job is the program's whole text.
    t.type("bg", r"SIGCONT .*\r\n")
    t.catch_up()
    t.type("fg", r"flush=True\)\r\n'\r\n")
    t.press("C", r"\d> ")
    t.do("stty size; echo $?")


def inner(t):
    t.do("@ " + t.inner, r"2> ")
    t.do("tty >/dev/null && echo a terminal")
    t.do("sh -c 'echo runs; exec sleep 1000'", r"runs\r\n")
    t.press("Z", r"2> ")
    t.do("jobs")
    t.do("fg", r"sleep 1000'\r\n")
    t.press("C", r"2> ")
    t.do("echo $?")
    t.type("cat &")
    t.until_stopped()
    t.do("fg", r"cat\r\n")
    t.press("D")
    t.do("suspend", r"1> ")
    t.do("jobs")
    t.do("fg", r"2> ")
    t.do("echo back")
    t.do("exit 7", r"1> ")
    t.do("echo $?; jobs; stty size")


def background(t):
    t.type("@ cat &")
    t.until_stopped()
    # Why it was stopped, but for its pid.
    t.do(r"jobs -l >j; sed 's/ [0-9]\+ / /' j; rm j")
    t.do("fg", r"cat\r\n")
    t.do("hello", r"hello\r\n")
    t.press("D")
    t.do("echo $?")
    t.type("stty tostop; @ echo loud &")
    t.until_stopped()
    t.do("fg", r"loud\r\n")
    t.do("")
    t.do("stty -tostop")


def raised(t):
    """A program that stops itself, with nobody else."""
    t.do("@ sh -c 'kill -STOP $$; echo goes on'")
    t.do("jobs")
    t.do("fg", r"goes on\r\n")
    t.do("echo $?")


def order(t):
    """A program that takes Ctrl-Z for an order, and one that another process stops."""
    t.do(f"@ python3 -c {KEEP}", r"up\r\n")
    t.press("Z", r"SIGTSTP\r\n")
    t.press("C")
    t.do("echo $?")
    t.type("@ sh -c 'echo runs; exec sleep 1000' &", r"runs\r\n")
    for _ in range(2):
        t.type("kill -TSTP $!")
        t.until_stopped()
        t.do("jobs")
        t.type("kill -CONT $!")
        t.until_running()
    t.type("kill -TSTP %1")
    t.until_stopped()
    t.type("kill -CONT %1")
    t.until_running()
    t.type("kill -TSTP $!")
    t.until_stopped()
    t.do("fg", r"sleep 1000'\r\n")
    t.press("C")
    t.do("echo $?")


def group(t):
    t.type(f"@ python3 -c {COUNT} &", r"up\r\n")
    t.do("kill -USR2 %1")
    # By which some servers are told to take more workers.
    t.do("kill -TTIN $!")
    t.do("kill -TERM $!; wait $!", r"got .*\r\n")
    t.catch_up()
    # In a script, the group is the script's own.
    t.do("""@ bash -c 'trap "kill 0" EXIT; sleep 1000 & echo runs; wait'""", r"runs\r\n")
    t.press("C")
    t.do("echo $?")
    t.do("""@ bash -c 'trap "trap - TERM; kill 0" EXIT TERM; sleep 1000 & exit 3'""")
    t.do("echo $?")
    t.do("""@ bash -c 'trap : TERM; kill 0; echo still here; exit 4'""")
    t.do("echo $?")


def plain(t):
    t.do("@ yes | head -n 1; echo ${PIPESTATUS[@]}")
    t.do("@ sh -c 'cat; cat <&5' <<<one 5<<<five")
    t.do("(umask 027; @ sh -c umask)")
    t.do("(ulimit -n 100; ulimit -c 0; @ bash -c 'ulimit -n; ulimit -c')")
    t.do("nice -n 3 @ nice")
    t.do("@ ls /proc/self/fd | xargs")
    t.do("@ sh -c 'id; groups' | xargs")
    t.do("(trap '' HUP PIPE USR1; @ grep SigIgn /proc/self/status)")
    t.do("@ grep -E 'Sig(Ign|Blk)' /proc/self/status | xargs")
    t.do("@ env | grep -Ev '^_=' | sort | md5sum")
    t.do("@ sh -c 'pwd; echo $0 $# \"$@\"' a 'b c' '' '*'")
    t.do("@ /no/such 2>/dev/null; echo $?; @ /etc/passwd 2>/dev/null; echo $?")
    t.do("@ sh -c 'exit 300'; echo $?; @ sh -c 'kill -KILL $$'; echo $?")
    t.do("@ cat <&-; @ sh -c 'echo lost' >&-; echo $?")
    t.do("@ sh -c 'ulimit -a'")


def nowhere(t):
    """In a folder that is no more."""
    t.do("mkdir d; cd d; rmdir ../d; @ sh -c 'echo works'; cd ..")


def hang_up(t):
    """The terminal is closed: its user goes away."""
    t.type(f"@ sh -c 'echo runs; exec sleep {os.environ['MARK']}'", r"runs\r\n")
    os.close(t.master)
    os.waitpid(t.pid, 0)


terminal = Terminal(" ".join(sys.argv[2:]))
globals()[sys.argv[1]](terminal)
