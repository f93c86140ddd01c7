"""What a benchmark says about where it ran: kernel, processor, compiler and flags."""

import os
import platform
import subprocess
from pathlib import Path


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
