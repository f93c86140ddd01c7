"""Which servers are measured under which loads, and which bars they are held to."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Server:
    name: str
    binary: str
    arguments: tuple = ()
    bulk_arguments: tuple = ()  # added where the workload moves large messages
    bulk_only: bool = False


@dataclass(frozen=True)
class Workload:
    name: str
    what: str
    connections: int
    size: int = 64
    pipeline: int = 1
    unix: bool = False
    mode: str = "echo"
    bulk: bool = False

    def load_arguments(self):
        return ["--connections", str(self.connections), "--size", str(self.size),
                "--pipeline", str(self.pipeline), "--mode", self.mode]

    def cost_key(self):
        """Bulk transfers are compared per byte, everything else per request."""
        return "cpu_us_per_mb" if self.bulk else "cpu_us_per_request"


LARGE_BUFFER = ("--recv-buffer", "262144")

SERVERS = [
    Server("raw_uring", "raw_uring_echo", bulk_arguments=LARGE_BUFFER),
    Server("raw_uring_inc", "raw_uring_echo", ("--inc",), LARGE_BUFFER, bulk_only=True),
    Server("raw_epoll", "raw_epoll_echo", bulk_arguments=LARGE_BUFFER),
    Server("asio", "asio_echo", bulk_arguments=LARGE_BUFFER),
    Server("libuv", "uv_echo", bulk_arguments=LARGE_BUFFER),
    Server("protocol", "echo_server", ("--mode", "protocol")),
    # The size of the protocol's own memory; the other two of ours choose theirs themselves.
    Server("buffered", "echo_server", ("--mode", "buffered"), LARGE_BUFFER),
    Server("streams", "echo_server", ("--mode", "streams")),
]

OURS = ("protocol", "buffered", "streams")
RAW = ("raw_uring", "raw_uring_inc", "raw_epoll")
RIVALS = ("asio", "libuv")

WORKLOADS = [
    Workload("tcp_1", "1 connection, 64 B", 1),
    Workload("tcp_64", "64 connections, 64 B", 64),
    Workload("tcp_1000", "1,000 connections, 64 B", 1000),
    Workload("pipelined", "64 connections, 16 x 64 B in flight", 64, pipeline=16),
    Workload("tcp_4k", "64 connections, 4 KiB", 64, size=4096),
    Workload("bulk_64k", "16 connections, 64 KiB", 16, size=65536, bulk=True),
    Workload("bulk_1m", "8 connections, 1 MiB", 8, size=1 << 20, bulk=True),
    Workload("churn", "connect, echo 64 B, close; 16 at a time", 16, mode="churn"),
    Workload("unix_64", "AF_UNIX, 64 connections, 64 B", 64, unix=True),
]

NOISE = 1.03  # two runs of one program differ by so much here
BURSTS_TO_JUDGE = 10  # fewer say nothing about a few per cent: such bars are shown, not judged

# CPU per request or byte, as a multiple of the raw server's.
CPU_BARS = [
    ("tcp_64", "protocol", 1.02),
    ("tcp_64", "streams", 1.04),
    ("unix_64", "protocol", 1.05),
    ("unix_64", "streams", 1.09),
    ("bulk_64k", "protocol", NOISE),
    ("bulk_64k", "buffered", NOISE),
    ("bulk_64k", "streams", NOISE),
    ("bulk_1m", "protocol", NOISE),
    ("bulk_1m", "buffered", NOISE),
    ("bulk_1m", "streams", NOISE),
]

# Counted figures: (figure, server, limit). See counted.py for what each figure is.
COUNTED_BARS = [
    ("user_instructions", "protocol", 350),
    ("user_instructions", "streams", 500),
    ("allocations", "protocol", 0),
    ("allocations", "buffered", 0),
    ("allocations", "streams", 0),
    ("idle_bytes", "protocol", 256),
    ("idle_bytes", "streams", 768),
    ("syscalls_1", "protocol", 1.05),
    ("syscalls_1", "streams", 1.05),
]

# Figures that are differences of two runs carry a little of what happened outside the requests.
COUNTED_SLACK = {"allocations": 0.001}
