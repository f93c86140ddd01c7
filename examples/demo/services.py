"""The second part of the demo: services, each asked by clients that others wrote.

To add one, write a module with its checks and append it to SERVICES. A check is a coroutine that
takes a Step and returns a line for the report; raising means it failed. tools.py runs clients.
"""

from dataclasses import dataclass
from pathlib import Path

import chat
import forward
import key_value
import proxy_checks
import socks
import udp
from child import Server


@dataclass(frozen=True)
class Service:
    """One example program: what it is, and what is asked of it."""

    name: str
    about: str
    checks: dict
    folder: str = ""                     # of the program, below that of all examples
    arguments: tuple[str, ...] = ("0",)  # it then prints "listening on 127.0.0.1:PORT"
    is_started: bool = True              # False: the checks start it themselves


SERVICES = [
    Service("25_chat", "a chat: nc, socat and Python talk", chat.CHECKS),
    Service("26_kv", "Redis' protocol: redis-cli, redis-benchmark, nc and Python ask",
            key_value.CHECKS, folder="26_kv"),
    Service("27_socks5", "a SOCKS5 proxy: curl and Python go through it", socks.CHECKS),
    Service("28_forward", "a forwarder: curl, socat and Python go through it", forward.CHECKS,
            is_started=False),
    Service("20_udp_echo_server", "a UDP echo: socat, nc and Python send datagrams", udp.CHECKS,
            is_started=False),
    Service("proxy", "a proxy that copies nothing: curl and Python go through it",
            proxy_checks.CHECKS, folder="proxy", is_started=False),
]


class ServiceServer(Server):
    """A service under test. What the echo servers learn by an echo, it learns by a visit."""

    def __init__(self, service: Service, binaries: Path):
        super().__init__(binaries / service.folder / service.name, 0, service.arguments)
        self.service, self.folder = service, binaries

    async def start(self) -> None:
        if self.service.is_started:
            await super().start()

    async def learn_idle_state(self) -> None:
        if self.child:
            (await self.target.open_streams())[1].close()
            await self.is_settled(fd_count=1 << 20)
            self.take_as_idle()
