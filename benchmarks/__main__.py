"""`python -m benchmarks NAME [--quick]`."""

import argparse

from benchmarks import copying, get, head, inventory, large, listing, manifest, put, resume, scale, sign, wires

BENCHMARKS = {
    "sign": sign.main,
    "manifest": manifest.main,
    "head": head.main,
    "list": listing.main,
    "inventory": inventory.main,
    "get": get.main,
    "put": put.main,
    "copy": copying.main,
    "large": large.main,
    "resume": resume.main,
    "scale": scale.main,
    "wires": wires.main,
}
#: Those that take options of their own, such as --only.
WITH_OPTIONS = frozenset({"get", "put", "wires"})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Ours beside peers, as ratios.")
    parser.add_argument("name", choices=BENCHMARKS)
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the work or less: shows that it runs, proves nothing"
    )
    arguments, others = parser.parse_known_args()
    if others and arguments.name not in WITH_OPTIONS:
        parser.error(f"unknown: {' '.join(others)}")
    options = {"arguments": others} if others else {}
    BENCHMARKS[arguments.name](quick=arguments.quick, **options)


if __name__ == "__main__":
    main()
