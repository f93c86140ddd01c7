"""Drives a proxy with real sockets: bytes both ways, half-close, a slow reader, a reset, and a
server that is not there.

usage: proxy_test.py PROXY [--reports]

--reports: it says of every connection what it moved, where the others count leases at their end.
"""

import hashlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

MEBIBYTE = 1 << 20
PATIENCE = 60


class Upstream:
    """A server that treats every connection with `serve(connection)`."""

    def __init__(self, serve):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self._serve = serve
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)  # whoever waits in accept would keep it open
        self.listener.close()


def receive_all(connection):
    pieces = []
    while piece := connection.recv(256 * 1024):
        pieces.append(piece)
    return b"".join(pieces)


class Proxy:
    def __init__(self, binary, target_port):
        self.process = subprocess.Popen([binary, "0", f"127.0.0.1:{target_port}"],
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().strip().rpartition(":")[2])

    def connect(self):
        client = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        return client

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return 1024 * int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])

    def __enter__(self):
        return self

    def stop(self):
        """Ends it, and returns what it said."""
        self.process.terminate()
        said = self.process.communicate(timeout=PATIENCE)[0]
        check(self.process.returncode == 0, f"exit code {self.process.returncode}")
        return said

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def check(holds, what):
    if not holds:
        sys.exit(f"proxy_test: {what}")


def digest(connection):
    """Serves a client: a digest of all it has to say, once it has said it."""
    with connection:
        connection.sendall(hashlib.sha256(receive_all(connection)).digest())


def ask_for_digest(proxy, size):
    data = os.urandom(size)
    with proxy.connect() as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        answer = receive_all(client)
    check(answer == hashlib.sha256(data).digest(), f"wrong answer to {size} bytes")


def an_answer_comes_after_half_a_close(binary):
    upstream = Upstream(digest)
    with Proxy(binary, upstream.port) as proxy:
        for size in (0, 1, 1000, 300_000, 8 * MEBIBYTE):
            ask_for_digest(proxy, size)
        proxy.stop()


def it_says_what_it_moved(binary):
    upstream = Upstream(digest)
    with Proxy(binary, upstream.port) as proxy:
        ask_for_digest(proxy, 300_000)
        # The client sees the end a moment before the proxy is done.
        said = proxy.process.stdout.readline()
        check(said == "300000 bytes there, 32 back: done\n", said)


def it_copies_nothing(binary):
    upstream = Upstream(digest)
    with Proxy(binary, upstream.port) as proxy:
        ask_for_digest(proxy, 8 * MEBIBYTE)
        said = proxy.stop()
        leases = re.search(r"(\d+) leases passed on, (\d+) copied", said)
        check(leases and int(leases[1]) > 0 and leases[2] == "0", said)


def bytes_cross_both_ways_at_once(binary):
    def echo(connection):
        with connection:
            while piece := connection.recv(65536):
                connection.sendall(piece)

    upstream = Upstream(echo)
    data = os.urandom(16 * MEBIBYTE)
    with Proxy(binary, upstream.port) as proxy:
        def one(outcomes):
            with proxy.connect() as client:
                def send():
                    client.sendall(data)
                    client.shutdown(socket.SHUT_WR)
                sender = threading.Thread(target=send)
                sender.start()
                outcomes.append(receive_all(client) == data)
                sender.join()

        outcomes = []
        clients = [threading.Thread(target=one, args=(outcomes,)) for _ in range(4)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        check(outcomes == [True] * 4, f"echoes: {outcomes}")


def a_slow_reader_slows_the_sender_down(binary):
    """What is sent faster than it is read waits at the sender, not in the proxy."""
    total = 256 * MEBIBYTE
    sent = [0]

    def flood(connection):
        block = bytes(MEBIBYTE)
        with connection:
            while sent[0] < total:
                connection.sendall(block)
                sent[0] += len(block)

    upstream = Upstream(flood)
    with Proxy(binary, upstream.port) as proxy:
        with proxy.connect() as client:
            before = -1
            while before != sent[0]:
                before = sent[0]
                time.sleep(0.3)
            check(sent[0] < total, "everything was taken although nobody reads")
            check(proxy.resident_bytes() < 64 * MEBIBYTE,
                  f"the proxy holds {proxy.resident_bytes()} bytes")
            received = 0
            while piece := client.recv(MEBIBYTE):
                received += len(piece)
            check(received == total, f"{received} of {total} bytes came")


def a_stop_loses_nothing(binary):
    """Nor does a debugger, or a machine that sleeps: a send that waits is interrupted by them."""
    total = 32 * MEBIBYTE

    def flood(connection):
        with connection:
            receive_all(connection)
            connection.sendall(bytes(total))

    upstream = Upstream(flood)
    with Proxy(binary, upstream.port) as proxy, proxy.connect() as client:
        client.shutdown(socket.SHUT_WR)  # for such a peer a worker of the kernel waits for room
        time.sleep(0.5)
        for _ in range(3):
            for how in (signal.SIGSTOP, signal.SIGCONT):
                proxy.process.send_signal(how)
                time.sleep(0.2)
        received = len(receive_all(client))
        check(received == total, f"{received} of {total} bytes came")


def a_reset_of_one_side_is_one_of_the_other(binary):
    begun, ended = threading.Event(), threading.Event()

    def wait(connection):
        begun.set()
        with connection:
            try:
                connection.recv(1)
            except ConnectionResetError:
                ended.set()  # an end or a time-out goes past this

    upstream = Upstream(wait)
    with Proxy(binary, upstream.port) as proxy:
        client = proxy.connect()
        check(begun.wait(PATIENCE), "the server did not hear of the client")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()  # a reset
        check(ended.wait(PATIENCE), "the server did not hear of the client's reset")
    upstream.stop()
    with socket.socket() as nobody:  # holds a port on which nobody listens
        nobody.bind(("127.0.0.1", 0))
        refuses(binary, nobody.getsockname()[1])


def refuses(binary, port):
    with Proxy(binary, port) as proxy:
        try:
            with proxy.connect() as client:  # the reset may come as early as here
                heard = client.recv(1)
        except ConnectionResetError:
            return
        check(False, f"{heard!r} where a reset was due")


def main():
    binary, *options = sys.argv[1:]
    of_its_kind = it_says_what_it_moved if options == ["--reports"] else it_copies_nothing
    for test in (an_answer_comes_after_half_a_close, bytes_cross_both_ways_at_once,
                 a_slow_reader_slows_the_sender_down, a_stop_loses_nothing,
                 a_reset_of_one_side_is_one_of_the_other, of_its_kind):
        test(binary)
        print(test.__name__.replace("_", " "))


if __name__ == "__main__":
    main()
