"""From a summary to Markdown, as docs/performance.md shows it. Pure."""

from .measure import ROWS

QUIET = 0.10


def markdown(short):
    names = list(short["subjects"])
    proxies = [name for name in names if name != "direct"]
    rows = [row for row in ROWS if any(row.key in short["rows"].get(name, {}) for name in names)]
    parts = [about(short), cpu(short, proxies, rows), rates(short, names, rows), latency(short, names),
             rest(short, proxies)]
    return "\n\n".join(part for part in parts if part)


def about(short):
    machine, settings, others = short["machine"], short["settings"], short["others_share"]
    lines = [
        f"{machine['cores']} cores ({machine['cpu']}), {machine['memory_gib']} GiB, Linux {machine['kernel']}; "
        f"{settings['rounds']} interleaved rounds of {settings['seconds']} s; medians (least–most). "
        f"Others used {others['median']:.0%} of the proxies' core (median of all loads; {others['max']:.0%} at most)"
        f"{': **too much for figures to be quoted**' if others['median'] > QUIET else ''}.", ""]
    for name, subject in short["subjects"].items():
        version = f" ({subject['version']})" if subject["version"] else ""
        lines.append(f"- {name}{version}: {subject['wire']}")
    lines += [f"- {name}: **skipped**, {why}" for name, why in short["skipped"].items()]
    return "\n".join(lines)


def cpu(short, names, rows):
    def cell(name, row):
        figures = short["rows"].get(name, {}).get(row.key)
        if not figures:
            return "–"
        ratio = f" (**{figures['ratio']['median']:.2f}** × floor)" if "ratio" in figures and name != "floor" else ""
        return f"{span(figures['cpu_ms'], 1)}{ratio}{failures(figures)}"

    return "CPU of both proxies, ms for each 1,000 requests (bulk: each GiB):\n\n" + grid(
        ["row", *names, "Weft's goal"],
        [[row.title, *(cell(name, row) for name in names), f"≤ {row.goal:.2f} × floor"] for row in rows])


def rates(short, names, rows):
    def cell(name, row):
        figures = short["rows"].get(name, {}).get(row.key)
        return f"{figures['rate']['median']:,.{1 if row.key == 'bulk' else 0}f}" if figures else "–"

    shown = [row for row in rows if row.key != "paced"]
    return "Requests/s (bulk: GiB/s), both proxies on one core:\n\n" + grid(
        ["row", *names], [[row.title, *(cell(name, row) for name in names)] for row in shown])


def latency(short, names):
    paced = {name: short["rows"].get(name, {}).get("paced") for name in names}
    if not paced.get("direct"):
        return ""

    def cell(name, mark):
        figure = mark if name == "direct" else f"added_{mark}"
        return span(paced[name][figure], 0) if paced[name] else "–"

    lines = []
    for mark in ("p50_us", "p99_us"):
        lines.append([mark.removesuffix("_us"), *(cell(name, mark) for name in names)])
    return "Latency at 1,000 requests/s, µs: of no proxy, then what each pair adds in the same round:\n\n" + grid(
        ["", *names], lines)


def rest(short, names):
    measured = [name for name in names if short["rest"].get(name)]
    if not measured:
        return ""

    def line(title, figure):
        return [title, *(figure(name, short["rest"][name]) for name in measured)]

    return "At rest, both proxies:\n\n" + grid(["", *measured], [
        line("`Anonymous`, KiB, fresh", lambda _, r: f"{r['idle']['anonymous']:,}"),
        line("of it RSS, KiB", lambda _, r: f"{r['idle']['rss']:,}"),
        line("`Anonymous` for each of 1,000 idle connections, KiB", lambda _, r: f"{r['kib_per_idle_connection']:.1f}"),
        line("`Anonymous`, KiB, after those", lambda _, r: f"{r['after_idle_connections']['anonymous']:,}"),
        line("`Anonymous`, KiB, after all load", lambda name, _: f"{short['after_load'][name]['anonymous']:,}"),
        line("CPU, ms in each second", lambda _, r: f"{r['rest_ms_per_s']:.2f}"),
        line("CPU with 1,000 idle connections, ms/s", lambda _, r: f"{r['rest_ms_per_s_with_connections']:.2f}"),
        line("binary, stripped, MB", lambda name, _: f"{short['subjects'][name]['bytes'] / 1e6:.1f}"),
    ])


def span(figure, digits):
    return f"{figure['median']:,.{digits}f} ({figure['min']:,.{digits}f}–{figure['max']:,.{digits}f})"


def failures(figures):
    worst = figures["errors"]["max"]
    return f", up to {worst:.0f} errors" if worst else ""


def grid(head, lines):
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *lines])
