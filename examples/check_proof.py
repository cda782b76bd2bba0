"""Checks the proof for one object of a certificate, with nothing but Python.

    bulkpresign verify --certificate certificate.jsonl.gz --prove 2026/report.pdf > proof.json
    python check_proof.py proof.json ROOT [FILE]

ROOT is the root of the certificate, as it was kept apart from the certificate. FILE is a copy of the object.
"""

import hashlib
import json
import re
import sys
from pathlib import Path


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


proof = json.loads(Path(sys.argv[1]).read_text("utf-8"))
# A key may have blanks. With others, the same text would be that of another size and key.
if type(proof["size"]) is not int or not re.fullmatch("[a-z0-9]+:[0-9a-f]+", f"{proof['algorithm']}:{proof['digest']}"):
    sys.exit("the size or the digest of the proof is not valid")
leaf = f"{proof['algorithm']}:{proof['digest']} {proof['size']} {proof['key']}"
found = sha256(b"\0" + leaf.encode("utf-8"))
for step in proof["path"]:
    side, sibling = step.split(" ")
    other = bytes.fromhex(sibling)
    found = sha256(b"\1" + (other + found if side == "left" else found + other))
if found.hex() != sys.argv[2]:
    sys.exit("the proof does not lead to the root")
if len(sys.argv) > 3:
    if proof["algorithm"] not in hashlib.algorithms_available:
        sys.exit(
            f"Python can't compute {proof['algorithm']}: compare the file with {proof['digest']} by another program"
        )
    data = Path(sys.argv[3]).read_bytes()
    if (len(data), hashlib.new(proof["algorithm"], data).hexdigest()) != (proof["size"], proof["digest"]):
        sys.exit("the file is not the object")
print(f"{proof['key']} belongs to the certificate: {proof['size']} bytes, {proof['algorithm']} {proof['digest']}")
