"""How time and memory grow with the number of objects: signing, a transfer, and the finished run again.

Up to 400,000 objects are moved: those of a million would take 12 GB of memory. A million are signed, and a finished
run of a million is asked for again.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks import nginx, resume
from benchmarks.measuring import KIB, Cost, goal, run, scratch_folder
from benchmarks.transfers import BUCKET, BY_MD5, OURS, Files, Transfer, Work, environment

SIZE = 4 * KIB
AGAIN = "finished run again"
_KEYS = {"AWS_ACCESS_KEY_ID": "growth", "AWS_SECRET_ACCESS_KEY": "growth", "AWS_REGION": "eu-west-1"}


@dataclass(frozen=True)
class Point:
    """The cost of a step for a number of objects."""

    step: str
    count: int
    cost: Cost

    @property
    def time_of_each(self) -> float:
        """CPU seconds an object."""
        return self.cost.cpu / self.count


def measure(verb: str, *, quick: bool) -> list[Point]:
    """All points of a verb. Transfers are left out where nginx is missing."""
    counts = (100, 1_000) if quick else (1_000, 10_000, 100_000)
    moved = counts if quick else (*counts, 400_000)
    most = 10_000 if quick else 1_000_000
    points = [Point("sign", count, _sign(verb, count)) for count in (*counts, most)]
    if nginx.missing() is None:
        points += [point for count in moved for point in _transfer(verb, count)]
    if verb == "GET":
        points.append(Point(AGAIN, most, resume.again(most)))
    return points


def show(points: Sequence[Point]) -> None:
    """A table by step, and a goal for each: the last two numbers of objects cost the same time and memory."""
    print(f"\nGrowth, objects of {SIZE:,} bytes, nginx, http\n  {'':<20} {'objects':>10} {'wall, s':>10}", end=" ")
    print(f"{'CPU, us an object':>18} {'peak memory, MiB':>17}")
    for point in sorted(points, key=lambda point: (point.step, point.count)):
        cost = point.cost
        print(f"  {point.step:<20} {point.count:>10,} {cost.wall:>10.2f}", end=" ")
        print(f"{point.time_of_each * 1e6:>18,.1f} {cost.memory:>17,.0f}")
    print()
    for step in dict.fromkeys(point.step for point in points):
        _goals([point for point in points if point.step == step])
    sys.stdout.flush()


def _goals(points: Sequence[Point]) -> None:
    """Points of one step, from few objects to many."""
    for fewer, more in zip(points[-2:-1], points[-1:], strict=True):
        what = f"{more.step}, {more.count:,} objects against {fewer.count:,}"
        goal(f"{what}: time of each", more.time_of_each / fewer.time_of_each, most=1.1)
        goal(f"{what}: peak memory", more.cost.memory / fewer.cost.memory, most=1.1)


def _sign(verb: str, count: int) -> Cost:
    with scratch_folder() as folder:
        with (folder / "keys.csv").open("w") as table:
            table.write("bucket,key,size\n")
            table.writelines(f"{BUCKET},{SIZE}/{number:07d},{SIZE}\n" for number in range(count))
        command = [*OURS, "sign", "keys.csv", "--method", verb, "-o", "links.csv"]
        return run(command, environment(_KEYS), folder)


def _transfer(verb: str, count: int) -> Iterator[Point]:
    with scratch_folder() as folder:
        files = Files(Work(verb, SIZE, count), folder)
        with nginx.started(folder / "nginx", files.etags()) as (server, _):
            if verb == "GET":
                files.upload(server)
            transfer = Transfer(files, server)
            yield Point(verb.lower(), count, transfer.run(BY_MD5))
            yield Point(AGAIN, count, transfer.run(BY_MD5, again=True))
