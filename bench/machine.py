"""What all benchmarks are told and say: options, where they ran, and where the figures are."""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path


def options(doc, name, rounds):
    """A parser of what each of them can be told."""
    parser = argparse.ArgumentParser(description=doc,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--json", type=Path, help="where to write everything "
                        f"(default: {name}_results.json beside the binaries)")
    parser.add_argument("--strict", action="store_true", help="exit 1 if a bar is missed")
    return parser


def selected(everything, wanted, name=lambda each: each.name):
    """Those that `wanted` names, comma-separated; None: all of them."""
    if wanted is None:
        return list(everything)
    names = [each for each in wanted.split(",") if each not in ("", "none")]
    unknown = set(names) - {name(each) for each in everything}
    if unknown:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}")
    return [each for each in everything if name(each) in names]


def progress(text):
    print(text, file=sys.stderr, flush=True)


def cmake_cache(bin_dir):
    """Compiler and flags of the build the binaries come from."""
    wanted = ("CMAKE_BUILD_TYPE", "CMAKE_CXX_COMPILER", "CMAKE_CXX_FLAGS",
              "CMAKE_CXX_FLAGS_RELEASE", "CMAKE_CXX_FLAGS_RELWITHDEBINFO")
    cache = bin_dir.parent / "CMakeCache.txt"
    lines = cache.read_text().splitlines() if cache.exists() else []
    found = {}
    for line in lines:
        name, _, value = line.partition("=")
        if name.split(":")[0] in wanted:
            found[name.split(":")[0]] = value
    compiler = found.pop("CMAKE_CXX_COMPILER", None)
    if compiler:
        said = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
        found["compiler"] = said.stdout.partition("\n")[0]
    return found


def describe(bin_dir):
    models = [line.partition(":")[2].strip()
              for line in Path("/proc/cpuinfo").read_text().splitlines()
              if line.startswith("model name")]
    return {"kernel": platform.release(), "cpu": models[0] if models else platform.machine(),
            "cpus": os.cpu_count(), "load_average": os.getloadavg()[0],
            "build": cmake_cache(bin_dir)}


def heading(machine, plan):
    """The line above the figures."""
    return (f"kernel {machine['kernel']}, {machine['cpus']} x {machine['cpu']}, "
            f"{machine['build'].get('compiler', 'compiler unknown')}, "
            f"load average at the start {machine['load_average']:.2f}; {plan}")


def print_verdicts(rows):
    """Rows of (passed, text); passed is None where the measurement cannot tell."""
    print("\nbars")
    for passed, text in rows:
        print(f"  {'n/a ' if passed is None else 'PASS' if passed else 'MISS'}  {text}")
    if not rows:
        print("  none could be judged: ouro was not measured")


def keep(target, results):
    target.write_text(json.dumps(results, indent=1) + "\n")
    progress(f"everything is in {os.path.relpath(target)}")
