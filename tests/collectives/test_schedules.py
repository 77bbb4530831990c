"""Every algorithm's schedule, for every number of ranks, by an interpreter that knows nothing of algorithms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opmux.core.collectives.layout import INPUT, OUTPUT, Layout, cut
from opmux.core.collectives.schedule import Schedule, Step, Transfer
from opmux.core.kernel import CANONICAL_ORDER, Reason, Rejection
from opmux.opset.collectives.algorithms import ALGORITHMS, Algorithm, canonical_tree
from tests.collectives.interpreter import chunks_of, compute, leaves, run, tree

RANKS = (*range(1, 18), 32, 33)
EVERY = [a for found in ALGORITHMS.values() for a in found]
REDUCTIONS = [a for c in ("all_reduce", "reduce_scatter", "reduce") for a in ALGORITHMS[c]]
each = pytest.mark.parametrize("algorithm", EVERY, ids=lambda a: f"{a.collective}-{a.name}")
each_reduction = pytest.mark.parametrize("algorithm", REDUCTIONS, ids=lambda a: f"{a.collective}-{a.name}")


def named(collective: str, name: str) -> Algorithm:
    return next(a for a in ALGORITHMS[collective] if a.name == name)


def built(algorithm: Algorithm, ranks: Sequence[int] = RANKS) -> Iterator[Schedule]:
    """Build for every number of ranks, every root and every split into groups."""
    rooted = algorithm.collective in ("broadcast", "reduce")
    for n in ranks:
        groups = [(n // i, i) for i in range(2, n) if n % i == 0] if algorithm.name == "hierarchical" else [()]
        for root in range(n) if rooted else (0,):
            for group in groups:
                made = algorithm.build(n, root=root, groups=group, pairs=((0, n - 1),))
                if isinstance(made, Schedule):
                    yield made


def expected_chunks(schedule: Schedule, rank: int) -> Sequence[int]:
    return chunks_of(schedule, rank, OUTPUT)


def check_reduced(schedule: Schedule, blocks: Sequence[int] = (), root: int | None = None) -> None:
    """Check that each chunk of each output has each contribution once, and the tree where one is promised."""
    memory = run(schedule, blocks)
    total = sum(blocks) if blocks else schedule.ranks
    for rank in range(schedule.ranks) if root is None else (root,):
        for chunk in expected_chunks(schedule, rank):
            term = memory[rank][OUTPUT, chunk]
            assert sorted(leaves(term)) == [(block, chunk) for block in range(total)]
            if schedule.order == CANONICAL_ORDER:
                assert tree(term) == canonical_tree(total)


@pytest.mark.parametrize("collective", ["all_reduce", "reduce_scatter"])
def test_every_contribution_is_combined_once(collective: str) -> None:
    for algorithm in ALGORITHMS[collective]:
        for schedule in built(algorithm):
            check_reduced(schedule)


def test_the_root_gets_the_canonical_tree() -> None:
    for n in RANKS:
        for root in range(n):
            schedule = named("reduce", "tree").build(n, root=root)
            assert isinstance(schedule, Schedule)
            check_reduced(schedule, root=root)


@pytest.mark.parametrize("algorithm", ALGORITHMS["all_gather"], ids=lambda a: a.name)
def test_all_chunks_are_gathered(algorithm: Algorithm) -> None:
    for schedule in built(algorithm):
        for memory in run(schedule):
            assert [memory[OUTPUT, c] for c in range(schedule.ranks)] == [(c, c) for c in range(schedule.ranks)]


@pytest.mark.parametrize("algorithm", ALGORITHMS["all_to_all"], ids=lambda a: a.name)
def test_all_chunks_are_exchanged(algorithm: Algorithm) -> None:
    for schedule in built(algorithm):
        for rank, memory in enumerate(run(schedule)):
            assert [memory[OUTPUT, c] for c in range(schedule.ranks)] == [(c, rank) for c in range(schedule.ranks)]


@pytest.mark.parametrize("algorithm", ALGORITHMS["broadcast"], ids=lambda a: a.name)
def test_the_root_is_heard_everywhere(algorithm: Algorithm) -> None:
    for n in RANKS:
        for root in range(n):
            schedule = algorithm.build(n, root=root)
            assert isinstance(schedule, Schedule)
            for memory in run(schedule):
                assert all(memory[OUTPUT, c] == (root, c) for c in range(schedule.chunks))


@pytest.mark.parametrize("algorithm", ALGORITHMS["barrier"], ids=lambda a: a.name)
def test_a_barrier_lets_nobody_go_before_all_have_come(algorithm: Algorithm) -> None:
    for schedule in built(algorithm):
        heard = [{rank} for rank in range(schedule.ranks)]
        for step in schedule.steps:
            before = [set(known) for known in heard]
            for t in step.all():
                heard[t.target] |= before[t.source]
        assert all(len(known) == schedule.ranks for known in heard)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_permute_delivers_and_the_others_are_zeroed(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 9))
    targets = data.draw(st.lists(st.integers(0, n - 1), unique=True))
    pairs = tuple((data.draw(st.integers(0, n - 1)), b) for b in targets)
    schedule = named("permute", "direct").build(n, pairs=pairs)
    assert isinstance(schedule, Schedule)
    arrived = {rank: memory.get((OUTPUT, 0)) for rank, memory in enumerate(run(schedule))}
    assert arrived == {**dict.fromkeys(range(n)), **{b: (a, 0) for a, b in pairs}}
    assert set(schedule.zeroed) == set(range(n)) - set(targets)


# Several contributions per rank


@given(st.lists(st.integers(0, 6), min_size=1, max_size=9).filter(any))
@settings(max_examples=150, deadline=None)
def test_direct_folds_any_spread_of_blocks_canonically(blocks: list[int]) -> None:
    for collective in ("all_reduce", "reduce_scatter"):
        schedule = named(collective, "direct").build(len(blocks), blocks=tuple(blocks))
        assert isinstance(schedule, Schedule)
        assert schedule.order == CANONICAL_ORDER
        check_reduced(schedule, blocks)


@each_reduction
@pytest.mark.parametrize("blocks", [(2,) * 4, (4,) * 8, (3, 3, 3), (3, 3, 2), (5,), (2, 2, 2, 1), (1, 0, 0, 1)])
def test_every_algorithm_takes_blocks_or_says_why_not(algorithm: Algorithm, blocks: tuple[int, ...]) -> None:
    groups = (len(blocks) // 2, 2)
    made = algorithm.build(len(blocks), blocks=blocks, groups=groups)
    if isinstance(made, Rejection):
        assert made.reason in (Reason.DETERMINISM, Reason.SIZE)
        assert algorithm.name != "direct"
    else:
        check_reduced(made, blocks, root=0 if algorithm.collective == "reduce" else None)


def test_even_blocks_keep_the_bandwidth_of_one_contribution() -> None:
    even = named("all_reduce", "rabenseifner").build(4, blocks=(2, 2, 2, 2))
    assert isinstance(even, Schedule)
    assert even.order == CANONICAL_ORDER
    sent = [t.count for step in even.steps for t in step.sent_by(0) if not t.is_local]
    assert sum(sent) / even.chunks == 2 * 3 / 4


@pytest.mark.parametrize("spread", [(8,), (4, 4), (3, 3, 2), (2,) * 4, (1,) * 8, (5, 0, 3), (0, 0, 1, 6, 1)])
def test_the_same_contributions_give_the_same_bits_however_they_are_spread(spread: tuple[int, ...]) -> None:
    blocks = np.random.default_rng(1).standard_normal((8, 37)).astype(np.float32)
    level = list(blocks)
    while len(level) > 1:
        level = [a + b for a, b in zip(level[::2], level[1::2], strict=True)]
    mine = np.split(blocks, list(accumulate(spread))[:-1])
    served = 0
    for algorithm in ALGORITHMS["all_reduce"]:
        made = algorithm.build(len(spread), blocks=spread)
        if isinstance(made, Schedule) and made.order == CANONICAL_ORDER:
            served += 1
            for found in compute(made, Layout(cut(37, len(spread))), mine, np.add):
                assert found.tobytes() == level[0].tobytes()
    assert served


def test_blocks_that_no_collective_takes_are_refused() -> None:
    refused = named("all_gather", "ring").build(2, blocks=(2, 2))
    assert isinstance(refused, Rejection)
    assert refused.reason is Reason.ATTRIBUTE


# Values


@pytest.mark.parametrize("combine", [np.add, np.minimum, np.maximum], ids=lambda f: f.__name__)
@each_reduction
def test_values_are_those_of_numpy(algorithm: Algorithm, combine: np.ufunc) -> None:
    generator = np.random.default_rng(3)
    for schedule in built(algorithm, ranks=(1, 2, 3, 4, 6, 7, 8)):
        n, length = schedule.ranks, 23
        vectors = [generator.integers(-9, 9, length) for _ in range(n)]
        layout = Layout(cut(length, n))
        whole = combine.reduce(vectors)
        for rank, found in enumerate(compute(schedule, layout, [[v] for v in vectors], combine)):
            if algorithm.collective == "reduce" and not any(
                t.target == rank and t.into == OUTPUT for step in schedule.steps for t in step.all()
            ):
                continue
            parts = np.split(whole, list(accumulate(layout.lengths))[:-1])
            np.testing.assert_array_equal(found, parts[rank] if OUTPUT in schedule.own else whole)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=7), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_uneven_parts_are_scattered_and_gathered(lengths: list[int], seed: int) -> None:
    n, generator = len(lengths), np.random.default_rng(seed)
    vectors = [generator.integers(0, 99, sum(lengths)) for _ in range(n)]
    parts = np.split(sum(vectors), list(accumulate(lengths))[:-1])
    for algorithm in ALGORITHMS["reduce_scatter"]:
        made = algorithm.build(n)
        if isinstance(made, Schedule):
            layout = Layout(tuple(lengths), own=frozenset({OUTPUT}))
            for found, part in zip(compute(made, layout, [[v] for v in vectors], np.add), parts, strict=True):
                np.testing.assert_array_equal(found, part)
    for algorithm in ALGORITHMS["all_gather"]:
        made = algorithm.build(n)
        if isinstance(made, Schedule):
            layout = Layout(tuple(lengths), own=frozenset({INPUT}))
            for found in compute(made, layout, [[p] for p in parts], np.add):
                np.testing.assert_array_equal(found, np.concatenate(parts))


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_uneven_exchanges_arrive(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 6))
    pairs = tuple(tuple(data.draw(st.integers(0, 4)) for _ in range(n)) for _ in range(n))
    cells = [[np.full(pairs[i][j], 10 * i + j) for j in range(n)] for i in range(n)]
    for algorithm in ALGORITHMS["all_to_all"]:
        schedule = algorithm.build(n)
        assert isinstance(schedule, Schedule)
        layout = Layout((0,) * n, pairs=pairs)
        found = compute(schedule, layout, [[np.concatenate(row)] for row in cells], np.add)
        for j in range(n):
            np.testing.assert_array_equal(found[j], np.concatenate([cells[i][j] for i in range(n)]))


# Symmetric steps


def test_a_ring_is_the_ring_of_the_textbook() -> None:
    n = 5
    schedule = named("all_reduce", "ring").build(n)
    assert isinstance(schedule, Schedule)
    assert len(schedule.phases) == 4
    chunks = [sorted((t.source, t.target, t.chunk) for t in step.all()) for step in schedule.steps]
    scatter = [[(r, (r + 1) % n, (r - 1 - s) % n) for r in range(n)] for s in range(n - 1)]
    gather = [[(r, (r + 1) % n, (r - s) % n) for r in range(n)] for s in range(n - 1)]
    assert chunks == scatter + gather


def test_doubling_is_an_exclusive_or() -> None:
    schedule = named("all_reduce", "doubling").build(8)
    assert isinstance(schedule, Schedule)
    for step, d in zip(schedule.steps, (1, 2, 4), strict=True):
        assert sorted((t.source, t.target) for t in step.all()) == [(r, r ^ d) for r in range(8)]


@each
def test_a_rank_sees_of_the_schedule_what_is_its_own(algorithm: Algorithm) -> None:
    for schedule in built(algorithm, ranks=(1, 2, 3, 6, 8)):
        views = [schedule.of_rank(rank) for rank in range(schedule.ranks)]
        for i, step in enumerate(schedule.steps):
            every = set(step.all())
            assert {t for view in views for t in view[i][1]} == every
            assert {t for view in views for t in view[i][0]} == {t for t in every if not t.is_local}
            assert all(t.target == rank for rank, view in enumerate(views) for t in view[i][1])


def test_what_takes_powers_of_two_says_so() -> None:
    refused = named("reduce_scatter", "halving").build(6)
    assert isinstance(refused, Rejection)
    assert refused.reason is Reason.SIZE
    assert "power of two" in refused.detail


@pytest.mark.parametrize("pairs", [((0, 1), (2, 1)), ((0, 3),)])
def test_pairs_that_make_no_permute_are_refused(pairs: tuple[tuple[int, int], ...]) -> None:
    refused = named("permute", "direct").build(3, pairs=pairs)
    assert isinstance(refused, Rejection)
    assert refused.reason is Reason.ATTRIBUTE


# The interpreter itself


def _wrong(schedule: Schedule, number: int, **changes: object) -> Schedule:
    steps = list(schedule.steps)
    (first, *rest) = steps[number].all()
    steps[number] = Step((replace(first, **changes), *rest))  # type: ignore[arg-type]
    return replace(schedule, phases=tuple(steps))


@pytest.mark.parametrize(
    ("number", "changes"),
    [
        (1, {"chunk": 0, "at": 0}),  # the wrong chunk
        (0, {"base": None}),  # a contribution overwritten
        (3, {"base": OUTPUT}),  # contributions counted twice
        (1, {"target": 3}),  # the wrong neighbour
    ],
)
def test_the_interpreter_sees_what_is_planted(number: int, changes: dict[str, object]) -> None:
    schedule = named("all_reduce", "ring").build(4)
    assert isinstance(schedule, Schedule)
    check_reduced(schedule)
    with pytest.raises((AssertionError, KeyError)):
        check_reduced(_wrong(schedule, number, **changes))


def test_the_interpreter_sees_a_race_and_another_tree() -> None:
    exchange = Step(tuple(Transfer(r, 1 - r, 0, 1, OUTPUT, OUTPUT, OUTPUT) for r in range(2)))
    fill = Step(tuple(Transfer(r, r, 0) for r in range(2)))
    with pytest.raises(AssertionError, match="another transfer writes"):
        run(Schedule("all_reduce", "racing", 2, 1, 2, (fill, exchange)))
    ring = named("all_reduce", "ring").build(5)
    assert isinstance(ring, Schedule)
    with pytest.raises(AssertionError):
        check_reduced(replace(ring, order=CANONICAL_ORDER))
