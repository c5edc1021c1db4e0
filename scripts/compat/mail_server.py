"""As much of an SMTP server (RFC 5321) on 127.0.0.1:PORT as smtplib needs. It speaks first, and tells the SHA-256 of what it got."""

import hashlib
import socketserver
import sys


class Mail(socketserver.StreamRequestHandler):
    def say(self, line):
        self.wfile.write(line.encode() + b"\r\n")

    def handle(self):
        self.say("220 compat ESMTP")
        while line := self.rfile.readline(1000):
            command = line.split()[0].upper() if line.split() else b""
            if command == b"EHLO":
                self.say("250-compat\r\n250 SIZE 100000000")
            elif command == b"DATA":
                self.say("354 go on")
                digest = hashlib.sha256()
                while (text := self.rfile.readline()) not in (b".\r\n", b""):
                    digest.update(text)
                self.say(f"250 {digest.hexdigest()}")
            elif command == b"QUIT":
                self.say("221 bye")
                return
            elif command == b"VRFY":
                self.say("421 going down")
                return
            else:
                self.say("250 ok")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


with Server(("127.0.0.1", int(sys.argv[1])), Mail) as server:
    server.serve_forever()
