"""Fills FOLDER with 10,000 files of 0 to 4 KiB in 100 folders, and one of 1 GiB, `big`: the same bytes each time."""

import pathlib
import random
import sys

GIBIBYTE = 1024 * 1024 * 1024
PIECE = 1024 * 1024

root = pathlib.Path(sys.argv[1])
source = random.Random(1)
for folder in range(100):
    place = root / f"folder{folder:02}"
    place.mkdir()
    for file in range(100):
        (place / f"file{file:02}").write_bytes(source.randbytes(source.randrange(4096)))
with open(root / "big", "wb") as big:
    for _ in range(GIBIBYTE // PIECE):
        big.write(source.randbytes(PIECE))
