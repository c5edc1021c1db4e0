"""Prints the SHA-256 of the first COUNT bytes of http://127.0.0.1:PORT/PATH."""

import hashlib
import sys
import urllib.request

port, path, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
digest = hashlib.sha256()
with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
    while count:
        piece = answer.read(min(count, 65536))
        if not piece:
            sys.exit(f"{count} bytes are missing")
        digest.update(piece)
        count -= len(piece)
print(digest.hexdigest())
