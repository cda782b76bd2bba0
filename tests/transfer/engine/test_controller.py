"""The controller on wires in virtual time: nothing here opens a socket or looks at a clock."""

import random
from itertools import product
from math import inf

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulkpresign.transfer.engine.controller import ConcurrencyController
from bulkpresign.transfer.engine.part_sizes import usual_part_size
from tests.transfer.engine.wires import GIB, KIB, MIB, Result, Simulation, Wire, best_fixed, run

LATENCIES = (0.0002, 0.01, 0.05, 0.2)
RATES = (20e6, 80e6, inf)
SIZES = (4 * KIB, MIB, 64 * MIB, GIB)
#: For a small object the rate of a connection makes no difference.
GRID = [each for each in product(LATENCIES, RATES, SIZES) if each[1] == inf or each[2] > 4 * KIB]


def traced(wire: Wire, sizes: list[int], until: float = inf, **options: int) -> tuple[Result, ConcurrencyController]:
    controller = ConcurrencyController(**options)
    return Simulation(wire, sizes, controller, trace=True).run(until), controller


def objects_for(wire: Wire, size: int, seconds: float) -> list[int]:
    """As many objects as take about so long with the best fixed number."""
    rate = 1 / (wire.cpu_request + size * wire.cpu_byte)
    if size <= MIB:
        rate = min(rate, 1024 / (wire.latency + size / wire.connection_rate))
    return [size] * max(1, int(seconds * rate))


def ratio(wire: Wire, sizes: list[int], numbers: tuple[int, ...]) -> float:
    """The seconds of the best fixed number over those of the controller."""
    number, seconds = best_fixed(wire, sizes, numbers)
    result, controller = traced(wire, sizes)
    found = seconds / result.seconds
    print(
        f"{wire.latency * 1e3:6.1f} ms {wire.connection_rate / 1e6:4.0f} MB/s "
        f"{len(sizes):6d} x {sizes[0] // KIB:8d} KiB: {found:.2f} x best fixed "
        f"({number}: {seconds:.1f} s); limit {controller.limit}, by {controller.bound_by}"
    )
    return found


def wire_for(latency: float, rate: float, size: int, slower: float) -> Wire:
    chunk = min(MIB, max(size // 4, 4 * KIB))
    return Wire(latency, connection_rate=rate, chunk=chunk, cpu_request=slower * 100e-6, cpu_byte=slower * 0.6e-9)


@pytest.mark.parametrize(("latency", "rate", "size"), GRID)
def test_a_run_of_three_seconds_is_near_the_best_fixed_number(latency: float, rate: float, size: int) -> None:
    wire = wire_for(latency, rate, size, 1.0)
    assert ratio(wire, objects_for(wire, size, 3.0), (8, 32, 128, 256, 512, 1024)) >= 0.8


@pytest.mark.slow
@pytest.mark.parametrize(("latency", "rate", "size"), GRID[::3])
def test_a_run_of_ten_seconds_is_nearer(latency: float, rate: float, size: int) -> None:
    wire = wire_for(latency, rate, size, 2.0)  # a slower machine: fewer events for as many seconds
    assert ratio(wire, objects_for(wire, size, 11.0), (8, 32, 128, 256, 512, 1024)) >= 0.9


@pytest.mark.parametrize("latency", [0.005, 0.02, 0.1])
@pytest.mark.parametrize("capacity", [500, 2000])
def test_a_server_of_a_fixed_capacity_is_used_and_not_flooded(latency: float, capacity: int) -> None:
    wire = Wire(latency, server_requests=capacity)
    sizes = [4 * KIB] * capacity * 10
    assert ratio(wire, sizes, (8, 32, 128, 512)) >= 0.9
    result, _ = traced(wire, sizes)
    settled = [limit for time, limit, _, _ in result.limits if 7 < time < 9]
    assert sum(settled) / len(settled) <= max(16, 4 * capacity * latency)


@pytest.mark.parametrize("size", [MIB, GIB])
def test_a_full_link_keeps_its_throughput_and_has_no_crowd(size: int) -> None:
    wire = Wire(0.02, total_rate=125e6)
    sizes = [size] * max(1, 1500 * MIB // size)
    assert ratio(wire, sizes, (4, 8, 32, 128)) >= 0.9
    result, _ = traced(wire, sizes)
    assert min(limit for time, limit, _, _ in result.limits if time > 5) <= 160


def test_one_gibibyte_has_sixteen_parts_in_flight_in_a_third_of_a_second() -> None:
    result, _ = traced(Wire(0.05, connection_rate=80e6), [GIB])
    assert max(in_flight for time, _, _, in_flight in result.limits if time <= 0.35) >= 16


def test_slow_connections_get_more_parts() -> None:
    wire = Wire(0.03, connection_rate=20e6)
    result, _ = traced(wire, [GIB // 2])
    assert max(in_flight for time, _, _, in_flight in result.limits if time <= 0.35) >= 32
    assert result.seconds <= run(wire, [GIB // 2], fixed=16).seconds


def test_one_large_object_beside_small_ones_takes_all_of_the_wire_at_the_end() -> None:
    wire = Wire(0.03, connection_rate=20e6)
    result, _ = traced(wire, [4 * KIB] * 5000 + [GIB])
    assert max(in_flight for *_, in_flight in result.limits[-10:]) >= 16


@pytest.mark.parametrize(("size", "most"), [(4 * KIB, 48), (64 * KIB, 16)])
def test_a_fast_link_gets_few_connections(size: int, most: int) -> None:
    """Responses to small objects take less CPU where some come together, which this wire does not know."""
    wire = Wire(0.0003)
    result, controller = traced(wire, [size] * 30_000)
    assert controller.limit <= most
    assert controller.bound_by == "cpu"
    assert result.cpu <= 1.01 * run(wire, [size] * 30_000, fixed=8).cpu


def test_a_fast_link_has_small_objects_in_flight_that_come_together() -> None:
    result, _ = traced(Wire(0.0003), [4 * KIB] * 30_000)
    settled = [limit for _, limit, _, _ in result.limits[len(result.limits) // 2 :]]
    assert sorted(settled)[len(settled) // 4] == 48  # fewer in a probe
    assert traced(Wire(0.0003), [4 * KIB] * 30_000, maximum=10)[1].limit <= 10
    assert traced(Wire(0.0003), [4 * KIB] * 30_000, minimum=100)[1].limit >= 100


def test_one_large_object_on_a_fast_link_gets_few_parts() -> None:
    _, controller = traced(Wire(0.0003), [GIB])
    assert controller.parts <= 4


@pytest.mark.parametrize("latency", [0.001, 0.02, 0.1])
@pytest.mark.parametrize("limit", [100, 1000])
@pytest.mark.parametrize("size", [4 * KIB, MIB])
def test_a_server_that_refuses_above_a_rate_refuses_few(latency: float, limit: int, size: int) -> None:
    result, controller = traced(Wire(latency, throttle=limit), [size] * limit * 12)
    print(f"{latency * 1e3:.0f} ms, {limit}/s: {result.refused_share(2.0):.4f} refused after two seconds")
    assert result.refused_share(2.0) <= 0.05
    assert result.attempts <= 5
    assert result.seconds <= 16.0
    assert controller.slowed > 0


def test_a_server_that_refuses_a_fixed_number_as_well() -> None:
    result, _ = traced(Wire(0.02, throttle=100), [4 * KIB] * 1000, fixed=256)
    assert result.refused_share(2.0) <= 0.05


def test_a_server_that_refuses_everything_for_ten_seconds_is_used_again() -> None:
    wire = Wire(0.03, throttle=2000, slow=(5.0, 15.0, 0.0))
    result, _ = traced(wire, [4 * KIB] * 100_000, until=40.0)
    assert sum(30 < time < 40 for time in result.sent) >= 0.75 * 2000 * 10


def test_a_server_that_slows_down_in_the_middle_and_recovers() -> None:
    wire = Wire(0.03, server_requests=3000, slow=(3.0, 8.0, 0.1))
    result, _ = traced(wire, [4 * KIB] * 100_000, until=15.0)
    assert sum(10 < time < 14 for time in result.sent) >= 0.9 * 3000 * 4


def test_a_server_with_few_connections_is_used_by_as_many() -> None:
    result, controller = traced(Wire(0.03, max_connections=16), [4 * KIB] * 5000)
    assert result.refused_share(2.0) <= 0.05
    assert result.attempts <= 5
    assert result.seconds <= 1.1 * run(Wire(0.03, max_connections=16), [4 * KIB] * 5000, fixed=16).seconds
    assert controller.bound_by == "throttled"


@pytest.mark.parametrize("timeout", [3.0, 60.0])
def test_a_stall_of_ten_seconds_leaves_no_mark(timeout: float) -> None:
    wire = Wire(0.03, stall=(2.0, 12.0), timeout=timeout)
    result, _ = traced(wire, [4 * KIB] * 400_000, until=26.0)
    before = sum(1 < time < 2 for time in result.sent)
    assert sum(24 < time < 25 for time in result.sent) >= 0.9 * before
    assert result.attempts <= 5


def test_latency_that_grows_for_good_is_learned() -> None:
    controller = ConcurrencyController()
    now = closed_loop(controller, 0.0, 0.01, 5.0)
    now = closed_loop(controller, now, 0.1, 20.0)
    assert controller.latency is not None
    assert controller.latency > 0.05
    assert controller.limit == controller.maximum


def closed_loop(controller: ConcurrencyController, now: float, latency: float, seconds: float) -> float:
    """A server that answers each request after the same time."""
    end = now + seconds
    while now < end:
        for _ in range(controller.limit - controller.in_flight):
            controller.sent(now)
        now += latency
        for _ in range(controller.in_flight):
            controller.completed(now, latency, 4 * KIB)
    return now


def test_says_what_bounds_the_run() -> None:
    _, by_latency = traced(Wire(0.2), [4 * KIB] * 100_000, until=3.0)
    _, by_connection = traced(Wire(0.01, connection_rate=1e6), [MIB] * 100_000, until=3.0, maximum=64)
    _, by_server = traced(Wire(0.01, server_requests=300), [4 * KIB] * 100_000, until=3.0)
    assert by_latency.bound_by == "latency"
    assert by_connection.bound_by == "connection"
    assert by_server.bound_by == "capacity"


@pytest.mark.parametrize("cause", ["disk", "rate limit"])
def test_says_what_requests_wait_for(cause: str) -> None:
    controller = ConcurrencyController(maximum=8)
    for step in range(1, 300):
        now = step * 0.01
        controller.sent(now)
        controller.note_wait("disk" if cause == "disk" else "rate limit", 0.01)
        controller.completed(now + 0.01, 0.01, 0)
    assert controller.bound_by == cause


def test_a_fixed_number_stays() -> None:
    result, controller = traced(Wire(0.05), [4 * KIB] * 5000, fixed=100)
    assert {limit for _, limit, _, _ in result.limits} == {100}
    assert controller.parts == 100


def test_a_clock_that_stands_still() -> None:
    controller = ConcurrencyController()
    for _ in range(1000):
        controller.sent(5.0)
        controller.connected(5.0, 0.0)
        controller.answered(5.0, 0.0)
        controller.body_began(5.0)
        controller.moved(5.0, 10)
        controller.body_ended(5.0)
        controller.finished(5.0)
        controller.note_cpu(5.0, 1.0)
    assert 8 <= controller.limit <= 1024


WIRES = st.builds(
    Wire,
    latency=st.sampled_from([0.0, 1e-6, 0.001, 0.03, 0.3, 30.0]),
    jitter=st.floats(0, 3),
    connection_rate=st.sampled_from([1e3, 1e6, 1e8, inf]),
    total_rate=st.sampled_from([1e5, 1e8, inf]),
    server_requests=st.sampled_from([5.0, 1000.0, inf]),
    throttle=st.sampled_from([3.0, 100.0, inf, inf]),
    max_connections=st.sampled_from([1, 16, 10_000]),
    setup=st.floats(0, 4),
    slow_start=st.booleans(),
    stall=st.sampled_from([(inf, inf), (0.0, 10.0), (1.0, 3.0)]),
    slow=st.sampled_from([(inf, inf, 1.0), (0.5, 3.0, 0.05)]),
    timeout=st.sampled_from([1.0, 60.0, 60.0]),
)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(
    WIRES,
    st.lists(st.sampled_from([0, 1, 4 * KIB, MIB, 40 * MIB]), min_size=1, max_size=60),
    st.sampled_from([None, None, 1, 5, 64]),
)
def test_any_wire_keeps_the_limit_within_its_bounds(wire: Wire, sizes: list[int], fixed: int | None) -> None:
    controller = ConcurrencyController(fixed=fixed)
    result = Simulation(wire, sizes, controller, trace=True).run(until=300.0)
    assert all(1 <= limit <= controller.maximum and 1 <= parts <= limit for _, limit, parts, _ in result.limits)
    assert max((in_flight for *_, in_flight in result.limits), default=0) <= controller.maximum
    assert controller.in_flight >= 0


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.integers(0, 2**32))
def test_any_order_of_failures_is_recovered_from(seed: int) -> None:
    """A minute without failures after any kind of failures: the limit is not stuck at one request."""
    source, controller, now = random.Random(seed), ConcurrencyController(), 0.0
    for _ in range(source.randrange(1, 300)):
        controller.sent(now)
        now += source.choice([0.0, 0.001, 0.1, 2.0])
        controller.finished(now, source.choice(["throttled", "timeout", "refused", None]))
    end = now + 60
    while now < end:
        while controller.in_flight < controller.limit and controller.delay(now) == 0 and controller.in_flight < 64:
            controller.sent(now)
        now += 0.02
        for _ in range(controller.in_flight):
            controller.completed(now, 0.02, 4 * KIB)
    assert controller.limit >= 8
    assert controller.delay(now) < 0.01


@given(size=st.integers(1, 50 * 10**12))
@example(50 * 10**12)
def test_parts_are_powers_of_two_and_neither_too_many_nor_too_large(size: int) -> None:
    part = usual_part_size(size)
    assert part.bit_count() == 1 or part == 5 * GIB
    assert 8 * MIB <= part <= 5 * GIB
    assert -(-size // part) <= 10_000


@pytest.mark.parametrize(
    ("size", "part"), [(16 * MIB, 8), (256 * MIB, 8), (512 * MIB, 16), (GIB, 32), (2 * GIB, 64), (600 * GIB, 64)]
)
def test_some_32_parts_of_8_to_64_mib(size: int, part: int) -> None:
    assert usual_part_size(size) == part * MIB
