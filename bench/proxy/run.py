#!/usr/bin/env python3
"""What does a proxy cost with ouro's leases and relays, a raw io_uring loop, splice and HAProxy?

A source sends through each proxy to a sink, in short bursts and in turn. The proxy has a core of
its own; source and sink share the other one, send from a file (sendfile) and drop what they get
(MSG_TRUNC), so that they copy nothing. What counts is the processor time of the proxy per megabyte;
the rate says as much about source and sink.
"""

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[:2]]
sys.dont_write_bytecode = True

from machine import describe, heading, keep  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
PROXY_CPU, LOAD_CPU = 1, 0
MEGABYTE = 1_000_000
BLOCK = 4 << 20
PATIENCE_SECONDS = 60
HAPROXY = """global
    nbthread 1
    maxconn 1000
defaults
    mode tcp
    timeout connect 5s
    timeout client 1m
    timeout server 1m
    %s
listen it
    bind 127.0.0.1:%d
    server sink 127.0.0.1:%d
"""


def pin_to(cpu):
    if cpu not in os.sched_getaffinity(0):
        return None
    return lambda: os.sched_setaffinity(0, {cpu})


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class Sink:
    """Takes everything and drops it; counts bytes."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.taken = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self._drop, args=(connection,), daemon=True).start()

    def _drop(self, connection):
        room = bytearray(BLOCK)
        with connection:
            while count := connection.recv_into(room, 0, socket.MSG_TRUNC):
                self.taken += count


class Proxy:
    def __init__(self, name, command, ready):
        self.name = name
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, preexec_fn=pin_to(PROXY_CPU))
        self.port = ready(self.process)

    def cpu_ns(self):
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks)

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def said_port(process):
    """`ready PORT` or `listening on HOST:PORT`."""
    return int(process.stdout.readline().decode().strip().replace(":", " ").split()[-1])


def answers_at(port):
    def wait(process):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return port
            except OSError:
                time.sleep(0.02)
        sys.exit(f"{process.args[0]} does not answer")
    return wait


def start_all(bin_dir, sink, folder, wanted):
    commands = {
        "uring": [[str(bin_dir / "raw_proxy"), "--target", str(sink.port), "--port", "0"],
                  said_port],
        "splice": [[str(bin_dir / "raw_proxy"), "--splice", "--target", str(sink.port), "--port",
                    "0"], said_port],
        "ouro": [[str(bin_dir / "ouro_proxy"), "0", f"127.0.0.1:{sink.port}"], said_port],
        "ouro-relay": [[str(bin_dir / "ouro_relay"), "0", f"127.0.0.1:{sink.port}"], said_port],
    }
    for name, option in (("haproxy", ""), ("haproxy-splice", "option splice-auto")):
        port = free_port()
        config = folder / f"{name}.cfg"
        config.write_text(HAPROXY % (option, port, sink.port))
        commands[name] = [["haproxy", "-db", "-q", "-f", str(config)], answers_at(port)]
    running = []
    for name, (command, ready) in commands.items():
        if wanted and name not in wanted:
            continue
        try:
            running.append(Proxy(name, command, ready))
        except FileNotFoundError:
            print(f"{name}: not there, left out", file=sys.stderr)
    return running


class Load:
    """Connections that send blocks of zeros from a file, as fast as they are taken."""

    def __init__(self, proxy, count, file):
        self.sockets = [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(count)]
        self._stopping = False
        self._file = file
        self._threads = [threading.Thread(target=self._send, args=(each,)) for each in self.sockets]
        for thread in self._threads:
            thread.start()

    def _send(self, connection):
        while not self._stopping:
            os.sendfile(connection.fileno(), self._file.fileno(), 0, BLOCK)

    def stop(self):
        self._stopping = True
        for thread in self._threads:
            thread.join()
        for each in self.sockets:
            each.close()


def burst(proxy, sink, connections, seconds, file):
    load = Load(proxy, connections, file)
    time.sleep(min(0.1, seconds / 3))
    began, cpu_before, taken_before = time.monotonic_ns(), proxy.cpu_ns(), sink.taken
    cpu = taken = 0
    while not (cpu and taken) and time.monotonic_ns() - began < PATIENCE_SECONDS * 10**9:
        time.sleep(seconds)  # once, but on a machine that has no time for us
        lasted = time.monotonic_ns() - began
        cpu, taken = proxy.cpu_ns() - cpu_before, sink.taken - taken_before
    load.stop()
    left = sink.taken
    while True:  # what is under way is not the next one's
        time.sleep(0.05)
        if sink.taken == left:
            break
        left = sink.taken
    if not (cpu and taken):
        sys.exit(f"{proxy.name} passed nothing on")
    return {"us_per_mb": cpu / 1000 / (taken / MEGABYTE), "gb_per_s": taken / lasted}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path, default=None)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--connections", default="1,16")
    parser.add_argument("--proxies", default="", help="comma-separated: uring, splice, ouro, "
                        "ouro-relay, haproxy, haproxy-splice")
    parser.add_argument("--quick", action="store_true", help="a smoke run")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    bin_dir = (arguments.bin or ROOT / "build/release/bench").resolve()
    rounds, seconds = (2, 0.2) if arguments.quick else (arguments.rounds, arguments.seconds)
    if LOAD_CPU in os.sched_getaffinity(0):
        os.sched_setaffinity(0, {LOAD_CPU})
    machine, sink, results = describe(bin_dir), Sink(), {}
    with tempfile.TemporaryDirectory(prefix="ouro_bench_") as folder, \
            tempfile.TemporaryFile(dir="/dev/shm") as file:
        file.write(bytes(BLOCK))
        file.flush()
        proxies = start_all(bin_dir, sink, Path(folder), arguments.proxies.split(",")
                            if arguments.proxies else [])
        try:
            for connections in map(int, arguments.connections.split(",")):
                runs = {proxy.name: [] for proxy in proxies}
                for number in range(rounds):
                    first = number % len(proxies)
                    for proxy in proxies[first:] + proxies[:first]:
                        runs[proxy.name].append(burst(proxy, sink, connections, seconds, file))
                results[connections] = runs
        finally:
            for proxy in proxies:
                proxy.stop()
    print(heading(machine, f"{rounds} bursts of {seconds:g} s each"))
    for connections, runs in results.items():
        print(f"\n{connections} connections, one way\n"
              f"{'proxy':<16}{'CPU us/MB':>10}{'min':>8}{'x uring':>9}{'GB/s':>8}")
        base = runs.get("uring")
        for name, bursts in runs.items():
            costs = [each["us_per_mb"] for each in bursts]
            ratio = statistics.median(mine / other["us_per_mb"]
                                      for mine, other in zip(costs, base)) if base else 0
            print(f"{name:<16}{statistics.median(costs):>10.1f}{min(costs):>8.1f}{ratio:>9.2f}"
                  f"{statistics.median(each['gb_per_s'] for each in bursts):>8.2f}")
    keep(arguments.json or bin_dir / "proxy_results.json",
         {"machine": machine, "results": results})


if __name__ == "__main__":
    main()
