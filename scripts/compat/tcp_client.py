"""The client's side of `tcp_server.py`: PORT CASE; prints what it saw."""

import hashlib
import socket
import struct
import sys
import time

port, case = int(sys.argv[1]), sys.argv[2]


def connect(what):
    connection = socket.create_connection(("127.0.0.1", port), timeout=50)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(what.encode() + b"\n")
    return connection


def everything(connection):
    pieces = []
    while piece := connection.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def what_it_saw():
    # The server's thread may still be at it.
    for _ in range(250):
        answer = everything(connect("what-was-it")).decode()
        if answer != "nothing yet":
            return answer
        time.sleep(0.02)
    return "nothing"


def until_ready(connection):
    assert connection.recv(6) == b"ready\n"


connection = connect(case)
if case == "half-close":
    connection.sendall(b"question" * 1000)
    connection.shutdown(socket.SHUT_WR)
    answer = everything(connection)
    print(len(answer), hashlib.sha256(answer).hexdigest()[:16], "the answer came after the FIN")
elif case == "server-first-fin":
    assert everything(connection) == b"that was all\n"
    connection.sendall(bytes(range(256)) * 195_313)
    connection.shutdown(socket.SHUT_WR)
    time.sleep(0.5)
    print("server saw", what_it_saw())
elif case == "reset-by-server":
    assert connection.recv(4) == b"part"
    connection.sendall(b"x")
    try:
        print("end", connection.recv(10))
    except ConnectionResetError:
        print("part, then a reset")
elif case == "reset-by-client":
    until_ready(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    time.sleep(0.5)
    print("server saw", what_it_saw())
elif case in ("urgent", "urgent-mark"):
    until_ready(connection)
    connection.sendall(b"ab")
    time.sleep(0.1)
    connection.send(b"X", socket.MSG_OOB)
    time.sleep(0.1)
    connection.sendall(b"cd")
    connection.shutdown(socket.SHUT_WR)
    print("server read", everything(connection).decode())
elif case == "byte-by-byte":
    for number in range(5000):
        connection.sendall(bytes([number % 256]))
    connection.shutdown(socket.SHUT_WR)
    print(everything(connection).decode())
elif case == "silent":
    time.sleep(1)
    connection.shutdown(socket.SHUT_WR)
    print(everything(connection).decode(), "and the end")
