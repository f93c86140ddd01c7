"""The programs of the runtime benchmark: ours and its rivals, how they are made and asked."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Failure(Exception):
    """A program that cannot be had, or that did not do what it was asked to."""


def said_by(command, timeout, environment=None, folder=None):
    """Standard output and standard error of a command that must succeed."""
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                              timeout=timeout, env={**os.environ, **(environment or {})},
                              cwd=folder, check=False)
    except subprocess.TimeoutExpired as late:
        raise Failure(f"{' '.join(map(str, command))}: no end after {timeout} s") from late
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "said nothing").splitlines()[-1]
        raise Failure(f"{' '.join(map(str, command))}: exit code {done.returncode}: {last}")
    return done.stdout, done.stderr


class Program:
    """One binary. `lines` is what it can measure."""

    counts = True  # it has --count, and its allocations go through malloc

    def __init__(self, name, path):
        self.name = name
        self.path = path
        self.lines = said_by([path, "--list"], 60)[0].split()

    def run_only(self, line, count):
        said_by([self.path, "--count", line, count], 300)


class GoogleBenchmark(Program):
    """Ours and Asio's."""

    def nanoseconds(self, line, seconds, _batch):
        found = json.loads(said_by([self.path, f"--benchmark_filter=^{line}/",
                                    f"--benchmark_min_time={seconds}",
                                    "--benchmark_format=json"], 300)[0])["benchmarks"]
        if len(found) != 1 or found[0]["time_unit"] != "ns":
            raise Failure(f"{self.path.name} did not measure {line}")
        return found[0]["real_time"] / found[0]["batch"]


class Timed(Program):
    """Those that time themselves: --time LINE N prints JSON."""

    def nanoseconds(self, line, _seconds, batch):
        return json.loads(said_by([self.path, "--time", line, batch], 300)[0])["ns"]


class Go(Timed):
    counts = False  # neither callgrind nor a preloaded malloc can follow it

    def run_only(self, line, count):
        self.nanoseconds(line, 0, count)

    def mallocs(self, line, count):
        return json.loads(said_by([self.path, "--time", line, count], 300)[0])["mallocs"]


def make_go(bin_dir):
    if shutil.which("go") is None:
        raise Failure("no go here (Debian: golang-go)")
    target = bin_dir / "go_runtime_bench"
    said_by(["go", "build", "-o", target, "."], 300, folder=HERE / "go",
            environment={"GOCACHE": str(bin_dir / "go_cache"), "GOPROXY": "off",
                         "GOFLAGS": "-mod=mod"})
    return Go("go", target)


def make_tokio(bin_dir):
    if shutil.which("cargo") is None:
        raise Failure("no cargo here (Debian: cargo)")
    if not any(Path("/usr/share/cargo/registry").glob("tokio-[0-9]*")):
        raise Failure("no source of tokio here (Debian: librust-tokio-dev)")
    # cargo writes a lock file beside what it builds, so it builds a copy.
    source = bin_dir / "tokio_runtime_bench.d"
    shutil.copytree(HERE / "tokio", source, dirs_exist_ok=True)
    said_by(["cargo", "build", "--release", "--offline", "--quiet"], 900, folder=source,
            environment={"CARGO_TARGET_DIR": str(source / "target")})
    return Timed("tokio", source / "target/release/tokio_runtime_bench")


def make_cpp(name):
    def make(bin_dir):
        path = bin_dir / f"{name}_runtime_bench"
        if not path.exists():
            raise Failure(f"{path.name} is not built (Debian: libbenchmark-dev, libasio-dev)")
        return GoogleBenchmark(name, path)
    return make


MAKERS = {"ouro": make_cpp("ouro"), "asio": make_cpp("asio"), "go": make_go, "tokio": make_tokio}


def instructions(program, line, count):
    """Instructions in user space for one: what 3N take more than N, divided by 2N."""
    if shutil.which("valgrind") is None:
        raise Failure("valgrind is not installed")

    def collected(total):
        with tempfile.TemporaryDirectory(prefix="ouro_callgrind_") as folder:
            said = said_by(["valgrind", "--tool=callgrind",
                            f"--callgrind-out-file={Path(folder) / 'out'}",
                            program.path, "--count", line, total], 300)[1]
        found = re.search(r"Collected : (\d+)", said)
        if found is None:
            raise Failure("valgrind gave no count: " + said.strip()[-200:])
        return int(found.group(1))

    return round((collected(3 * count) - collected(count)) / (2 * count), 1)


def mallocs(bin_dir, program, line, count):
    """Calls of malloc and its family for one, likewise; Go counts its own."""
    if not program.counts:
        return round(program.mallocs(line, count), 3)
    library = bin_dir / "alloc_count.so"
    if not library.exists():
        raise Failure("alloc_count.so is not built")

    def counted(total):
        said = said_by([program.path, "--count", line, total], 300,
                       {"LD_PRELOAD": str(library)})[1]
        return int(re.search(r"allocations (\d+)", said).group(1))

    return round((counted(3 * count) - counted(count)) / (2 * count), 3)
