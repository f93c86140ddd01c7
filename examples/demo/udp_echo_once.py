"""Starts the UDP echo server of the examples, lets the client talk to it, and reads what both said.

usage: udp_echo_once.py SERVER CLIENT
"""

import re
import subprocess
import sys

CLIENT_SAYS = 'Send: Hello World!\nReceived: Hello World!\nClose the socket\nConnection closed\n'
SERVER_SAYS = r"Received 'Hello World!' from (127\.0\.0\.1:\d+)\nSend 'Hello World!' to \1\n"

server_binary, client_binary = sys.argv[1:]
server = subprocess.Popen([server_binary, '0'], stdout=subprocess.PIPE, text=True)
try:
    first = server.stdout.readline() + server.stdout.readline()
    port = re.fullmatch(r'Starting UDP server\nlistening on 127\.0\.0\.1:(\d+)\n', first).group(1)
    client = subprocess.run([client_binary, port], timeout=60, capture_output=True, text=True)
    server.terminate()
    server_said = server.communicate(timeout=60)[0]
finally:
    server.kill()
    server.wait()
print(client.stdout, client.stderr, server_said, sep='')
assert client.returncode == 0, client.returncode
assert client.stdout == CLIENT_SAYS, client.stdout
assert re.fullmatch(SERVER_SAYS, server_said), server_said
