"""Starts an echo server of the examples, lets the client of the examples check it, and stops it.

usage: echo_once.py SERVER CLIENT
"""

import subprocess
import sys

server_binary, client_binary = sys.argv[1:]
server = subprocess.Popen([server_binary, "0"], stdout=subprocess.PIPE, text=True)
try:
    host, port = server.stdout.readline().removeprefix("listening on ").strip().split(":")
    client = subprocess.run([client_binary, host, port, "4"], timeout=60)
    outcome = client.returncode if server.poll() is None else f"{server_binary} has ended"
finally:
    server.kill()
    server.wait()
sys.exit(outcome)
