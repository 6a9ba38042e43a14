"""The command line: what to measure, how long, and where the results go."""

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from . import check, measure, summary, table, tools
from .pairs import Skip, direct, envoy, floor, haproxy, weft
from .site import Site

BENCH = Path(__file__).resolve().parent.parent
PAIRS = {  # name -> how to start it; direct is always measured, for added latency
    "direct": direct.start,
    "floor": floor.start,
    "haproxy-h2": haproxy.start_h2,
    "haproxy-tcp": haproxy.start_tcp,
    "envoy": envoy.start,
    "weft": weft.start,
}
ROWS = [row.key for row in measure.ROWS]


def main():
    options = arguments()
    if options.table:
        print(table.markdown(json.loads(options.table.read_text())))
        return 0
    if options.install:
        tools.install()
    found, missing = tools.find()
    for line in missing:
        say(f"missing: {line}")
    if any(line.split(":")[0] not in tools.OPTIONAL for line in missing):
        say("bench/run --install gets them")
        return 1
    found["floor"] = str(options.floor or tools.build_floor(BENCH))
    if options.weft or weft_binary():
        found["weft-proxy"] = str(options.weft or weft_binary())
    return run(options, found)


def run(options, found):
    site = Site(found)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends too
    try:
        site.prepare()
        report = measure_all(options, site)
    except (check.Unsound, RuntimeError, measure.load.LoadFailed) as why:
        say(f"failed: {why}")
        return 1
    finally:
        site.close()
    write(options, report)
    return 0


def measure_all(options, site):
    """Fresh pairs one after another for memory; then all at once, for they sleep while another is loaded."""
    rest, skipped = {}, {}
    for name in options.pairs:
        try:
            rest[name] = look_at(name, options, site)
            say(f"{name}: sound")
        except Skip as why:
            skipped[name] = str(why)
            say(f"SKIPPED {name}: {why}")
    subjects = [PAIRS[name](site) for name in options.pairs if name not in skipped]
    rows = [row for row in measure.ROWS if row.key in options.rows]
    samples = measure.rounds(site, subjects, options, rows, say)
    time.sleep(options.settle)
    after = {subject.name: measure.memory(subject) for subject in subjects}
    return {
        "machine": summary.machine(),
        "settings": {"rounds": options.rounds, "seconds": options.seconds},
        "versions": tools.versions(site.tools),
        "subjects": {subject.name: described(subject, site) for subject in subjects},
        "skipped": skipped, "rest": rest, "after_load": after, "samples": samples,
    }


def described(subject, site):
    return {"wire": subject.wire, "version": subject.version, "bytes": tools.stripped(site, subject.binary)}


def look_at(name, options, site):
    """Whether the pair does what it should, then memory of a fresh one."""
    subject = PAIRS[name](site)
    check.check(site, subject)
    site.stop(subject.processes)
    if not subject.processes:
        return None
    subject = PAIRS[name](site)
    found = measure.at_rest(subject, options.settle)
    site.stop(subject.processes)
    return found


def write(options, report):
    raw = BENCH / "results" / "raw" / f"{options.name}.json"
    raw.parent.mkdir(parents=True, exist_ok=True)
    raw.write_text(json.dumps(report, indent=1))
    short = summary.summarise(report)
    folder = raw.parent if options.quick else raw.parent.parent
    kept = folder / f"{options.name}-summary.json" if options.quick else folder / f"{options.name}.json"
    kept.write_text(json.dumps(short, indent=1) + "\n")
    text = table.markdown(short)
    kept.with_suffix(".md").write_text(text + "\n")
    print(text)
    say(f"written: {kept.relative_to(BENCH)}, the table beside it, and {raw.relative_to(BENCH)}")


def weft_binary():
    """Weft's proxy as the profile for measuring builds it, if it was built."""
    path = tools.target_folder(BENCH.parent) / "dist" / "weft-proxy"
    return path if path.exists() else None


def arguments():
    parser = argparse.ArgumentParser(prog="bench/run", description="Measures what a pair of proxies costs.")
    parser.add_argument("--quick", action="store_true", help="2 short rounds; the summary isn't kept for committing")
    parser.add_argument("--rounds", type=int, help="rounds of all rows (5)")
    parser.add_argument("--seconds", type=int, help="seconds of each load (4)")
    parser.add_argument("--pairs", type=words(PAIRS), default=list(PAIRS), help=",".join(PAIRS))
    parser.add_argument("--rows", type=words(ROWS), default=ROWS, help=",".join(ROWS))
    parser.add_argument("--name", default=time.strftime("%Y-%m-%d"), help="name of the results (today's date)")
    parser.add_argument("--weft", type=Path, help="weft-proxy to measure (target/dist/weft-proxy)")
    parser.add_argument("--floor", type=Path, help="a floor built earlier (else it is built)")
    parser.add_argument("--install", action="store_true", help="install what is missing first")
    parser.add_argument("--table", type=Path, metavar="JSON", help="print the table of an earlier run, measure nothing")
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.quick else 5)
    options.seconds = options.seconds or (1 if options.quick else 4)
    options.settle = 2 if options.quick else 5
    options.pairs = ["direct"] + [name for name in options.pairs if name != "direct"]
    return options


def words(known):
    def parse(text):
        found = text.split(",")
        unknown = [word for word in found if word not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"expected some of {','.join(known)}, found {','.join(unknown)}")
        return found
    return parse


def say(text):
    print(text, file=sys.stderr, flush=True)
