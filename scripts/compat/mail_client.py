"""Sends mail to 127.0.0.1:PORT by smtplib and checks the server's digests; with `goodbye`, has the server end the session."""

import hashlib
import smtplib
import sys

port = int(sys.argv[1])


def send(server, body):
    server.mail("a@example.org")
    server.rcpt("b@example.org")
    code, digest = server.data(body)
    assert (code, digest.decode()) == (250, hashlib.sha256(body).hexdigest()), (code, digest)


if sys.argv[2:] == ["goodbye"]:
    server = smtplib.SMTP("127.0.0.1", port, timeout=10)
    print(server.verify("x"))
    try:
        server.noop()
        print("still there")
    except smtplib.SMTPServerDisconnected:
        print("421, then the end")
else:
    for _ in range(10):
        with smtplib.SMTP("127.0.0.1", port, timeout=60) as server:
            print(server.ehlo())
            for number in range(10):
                send(server, b"a line of text\r\n" * (1 + 100 * number))
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as server:
        send(server, b"0123456789abcdef0123456789abcdef0123456789abcd\r\n" * 1_000_000)
    print("101 messages, the same digests")
