"""A server on 127.0.0.1:PORT whose clients say in their first line what it is to do; `tcp_client.py` knows the names."""

import hashlib
import socket
import struct
import sys
import threading

BULK = bytes(range(256)) * 195_313  # 50 MB
seen_last = ["nothing yet"]


def rest_of(connection):
    digest, count = hashlib.sha256(), 0
    while piece := connection.recv(65536):
        digest.update(piece)
        count += len(piece)
    return f"{count} bytes {digest.hexdigest()[:16]}"


def first_line(connection):
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            return line.decode()
        line += byte
    return line.decode().strip()


def serve(connection):
    try:
        what = first_line(connection)
    except ConnectionResetError:
        return  # a health check of lb
    if what == "half-close":
        seen = rest_of(connection)
        connection.sendall(BULK + seen.encode())
    elif what == "server-first-fin":
        connection.sendall(b"that was all\n")
        connection.shutdown(socket.SHUT_WR)
        seen_last[0] = rest_of(connection)
    elif what == "reset-by-server":
        connection.sendall(b"part")
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif what == "reset-by-client":
        connection.sendall(b"ready\n")
        try:
            seen_last[0] = rest_of(connection)
        except ConnectionResetError:
            seen_last[0] = "reset"
    elif what == "urgent":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        connection.sendall(b"ready\n")
        seen = b""
        while piece := connection.recv(100):
            seen += piece
        connection.sendall(seen)
    elif what == "urgent-mark":
        connection.sendall(b"ready\n")
        seen = b""
        while piece := connection.recv(100):
            seen += piece
        connection.sendall(seen)
    elif what in ("byte-by-byte", "silent"):
        connection.sendall(rest_of(connection).encode())
    elif what == "what-was-it":
        connection.sendall(seen_last[0].encode())
    connection.close()


def served(connection):
    try:
        serve(connection)
    except OSError as error:
        seen_last[0] = f"error {error.errno}"
        connection.close()


with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=128) as listener:
    while True:
        accepted, _ = listener.accept()
        accepted.settimeout(50)
        threading.Thread(target=served, args=(accepted,), daemon=True).start()
