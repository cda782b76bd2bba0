"""Ours beside peers, in one run, as ratios: `python -m benchmarks sign | manifest | get`.

Peers come with `pip install 'bulkpresign[bench]'` and, for `get`, with the system's curl and aria2. One that is missing
is left out and named. Every figure is the best of several rounds in which ours and the peers take turns, for machines
are noisy.
"""
