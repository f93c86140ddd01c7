"""Sends SIGTERM to a server that has been asked something, and sees that it answers before it ends.

usage: graceful_once.py SERVER
"""

import signal
import socket
import subprocess
import sys
import time

PATIENCE_SECONDS = 60


class Server:
    def __init__(self, binary):
        self.process = subprocess.Popen([binary, "0"], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        place = self.process.stdout.readline().removeprefix("listening on ").strip()
        self.host, port = place.split(":")
        self.port = int(port)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def connect(self):
        return socket.create_connection((self.host, self.port), PATIENCE_SECONDS)

    def refuses(self):
        try:
            self.connect().close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:  # it came while the listener was being closed
            pass
        return False

    def has_accepted_all(self):
        """Whoever comes last is answered, so those before are in."""
        with self.connect() as last:
            last.sendall(b"x\n")
            assert last.makefile("rb").read() == b"X\n"

    def end(self):
        out, errors = self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode, out, errors


def answers_what_it_was_asked(binary):
    with Server(binary) as server, server.connect() as client:
        client.sendall(b"half of a ")
        server.has_accepted_all()
        server.process.send_signal(signal.SIGTERM)
        while not server.refuses():
            time.sleep(0.01)
        client.sendall(b"line\n")
        answer = client.makefile("rb").read()
        assert answer == b"HALF OF A LINE\n", answer
        code, out, errors = server.end()
        assert (code, errors) == (0, ""), (code, errors)
        assert "cancelled" in out, out


def the_second_signal_ends_it_at_once(binary):
    with Server(binary) as server, server.connect() as client:
        client.sendall(b"half of a ")
        server.has_accepted_all()
        server.process.send_signal(signal.SIGTERM)
        while not server.refuses():
            time.sleep(0.01)
        server.process.send_signal(signal.SIGINT)
        code, _, errors = server.end()
        assert code == 128 + signal.SIGINT, code
        assert "the second signal; still there:" in errors, errors
        assert "14_graceful.cpp:" in errors, errors


# Ignored by what a shell runs in the background, and then by what that starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
answers_what_it_was_asked(sys.argv[1])
the_second_signal_ends_it_at_once(sys.argv[1])
