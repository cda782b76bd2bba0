"""Checksums and etags: the digest that an object's bytes must have, hashing, verification, combining parts.

All functions are CPU work without I/O. Callers with many bytes run them in a thread.

S3 has two kinds of values: one of the whole object ("full object"), and one of its parts, which is the hash of the
parts' binary hashes with the number of parts appended ("composite", `...-3`). Etags of multipart uploads are composite
md5s. Source: docs "Checking object integrity". The size of the parts is not part of the value; `part_sizes` lists the
likely ones.
"""

from bulkpresign.checksums.algorithms import (
    ALGORITHMS,
    COMBINABLE,
    Hasher,
    PartsHasher,
    base64_of,
    combine,
    digest_of,
    hasher,
)
from bulkpresign.checksums.blocks import descriptor_blocks
from bulkpresign.checksums.expected import CHANGED, ExpectedDigest
from bulkpresign.checksums.part_size import part_sizes
from bulkpresign.checksums.segments import combined_digest, segment_hasher
from bulkpresign.checksums.sources import checksum_in, checksum_problem, expected_digest, in_base64, part_size_of_row
from bulkpresign.checksums.verifier import Verifier, verify_whole

__all__ = [
    "ALGORITHMS",
    "CHANGED",
    "COMBINABLE",
    "ExpectedDigest",
    "Hasher",
    "PartsHasher",
    "Verifier",
    "base64_of",
    "checksum_in",
    "checksum_problem",
    "combine",
    "combined_digest",
    "descriptor_blocks",
    "digest_of",
    "expected_digest",
    "hasher",
    "in_base64",
    "part_size_of_row",
    "part_sizes",
    "segment_hasher",
    "verify_whole",
]
