"""Symmetries against the_well's own, as groups, on the operators they commute with."""

import json
from itertools import permutations, product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from the_well.data.augmentation import RandomAxisFlip, RandomAxisPermute, RandomAxisRoll
from torch import Tensor

from lilas.data.augment import (
    Augmentation,
    Symmetries,
    Transformation,
    _draw_batch,
    _mixing,
    apply,
    apply_batch,
    draw_distinct,
    move_codes,
    symmetries,
)
from lilas.data.channels import Channel
from lilas.data.preprocess import Preprocessing
from lilas.data.transforms import Transform
from lilas.draws import Draws
from lilas.errors import LilasError
from lilas.models.latents import _labels

AXES = "xyz"


def channels(spatial: int, orders: tuple[int, ...] = (0, 1, 2)) -> tuple[Channel, ...]:
    """One field of each order, vectors before scalars so that channels are not in file order."""
    return tuple(
        Channel(f"t{order}", order, axes, tuple(AXES[i] for i in axes))
        for order in reversed(orders)
        for axes in product(range(spatial), repeat=order)
    )


def states(spatial: int, shape: tuple[int, ...], seed: int = 0, steps: int = 2) -> Tensor:
    """Returns states (time, channel, *space)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(steps, len(channels(spatial)), *shape, generator=generator)


def preprocessing(spatial: int, seed: int = 0) -> Preprocessing:
    """Every component has its own mean and std; the scalar has a logarithm."""
    rng = np.random.default_rng(seed)
    names = [channel.name for channel in channels(spatial)]
    count = len(names)
    return Preprocessing(
        names=tuple(names),
        transforms=(*[Transform()] * (count - 1), Transform("log", 9.0)),
        mean=tuple(rng.normal(0, 2, count)),
        std=tuple(rng.uniform(0.5, 2, count)),
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[tuple[int, ...], Transformation]:
    spatial = draw(st.sampled_from([2, 3]))
    shape = tuple(draw(st.sampled_from([(4, 4, 4), (4, 4, 6), (6, 4, 4)]))[:spatial])
    orders = [p for p in permutations(range(spatial)) if all(shape[p[i]] == shape[i] for i in p)]
    return shape, Transformation(
        flips=tuple(draw(st.booleans()) for _ in shape),
        rolls=tuple(draw(st.integers(0, size - 1)) for size in shape),
        permutation=draw(st.sampled_from(orders)),
    )


def the_well(x: Tensor, boundaries: Tensor, t: Transformation) -> tuple[Tensor, Tensor]:
    """Rolls, flips and permutes states (time, channel, *space) with the_well's functions."""
    spatial = len(t.flips)
    start, fields = 0, {}
    for order in (2, 1, 0):
        count = spatial**order
        field = x[:, start : start + count].movedim(1, -1)
        fields[order] = {"f": field.reshape(*field.shape[:-1], *[spatial] * order)}
        start += count
    data = {
        "variable_fields": fields,
        "constant_fields": {},
        "boundary_conditions": boundaries,
    }
    data = RandomAxisRoll.roll(data, dict(enumerate(t.rolls)))
    data = RandomAxisFlip.flip(data, torch.tensor(t.flips))
    data = RandomAxisPermute.permute(data, torch.tensor(t.permutation))
    parts = [
        data["variable_fields"][order]["f"].flatten(1 + spatial).movedim(-1, 1)
        if order
        else data["variable_fields"][order]["f"][:, None]
        for order in (2, 1, 0)
    ]
    return torch.cat(parts, 1), data["boundary_conditions"]


@settings(max_examples=40, deadline=None)
@given(cases())
def test_equals_the_well(case: tuple[tuple[int, ...], Transformation]) -> None:
    shape, t = case
    x = states(len(shape), shape)
    boundaries = torch.arange(2 * len(shape)).view(-1, 2)
    expected, codes = the_well(x, boundaries, t)
    assert torch.equal(apply(x, t, channels(len(shape)), None), expected)
    label = torch.cat([torch.tensor([-1.0]), boundaries.flatten()])[None]
    moved = move_codes(label, torch.tensor([t.flips]), torch.tensor([t.permutation]))
    assert moved[0].tolist() == [-1, *codes.flatten().tolist()]


@settings(max_examples=25, deadline=None)
@given(cases())
def test_commutes_with_preprocessing(case: tuple[tuple[int, ...], Transformation]) -> None:
    shape, t = case
    spatial = len(shape)
    x, seen = states(spatial, shape), preprocessing(spatial)
    through = apply(seen.forward(x, 1), t, channels(spatial), seen)
    assert torch.allclose(through, seen.forward(apply(x, t, channels(spatial), None), 1), atol=1e-5)


@pytest.mark.parametrize(("shape", "time"), [((4, 6), True), ((4, 4, 4), False)])
def test_batch_equals_sample_by_sample(shape: tuple[int, ...], time: bool) -> None:
    spatial, count = len(shape), 12
    group = Symmetries(
        shape=shape,
        flip=tuple(range(spatial)),
        roll=tuple(range(spatial)),
        permutations=tuple(permutations(range(spatial))) if len(set(shape)) == 1 else ((0, 1),),
    )
    drawn = draw_distinct(count, group, seed=3)
    x = torch.stack([states(spatial, shape, seed) for seed in range(count)])
    parts = [
        torch.tensor([getattr(t, name) for t in drawn])
        for name in ("flips", "rolls", "permutation")
    ]
    seen = preprocessing(spatial)
    windows = x.transpose(1, 2) if time else x[:, 0]
    found = apply_batch(windows, *parts, channels(spatial), seen)
    for i, t in enumerate(drawn):
        expected = apply(x[i], t, channels(spatial), seen)
        assert torch.equal(found[i], expected.transpose(0, 1) if time else expected[0])


def gathered(
    x: Tensor, flips: Tensor, rolls: Tensor, orders: Tensor, fields: tuple, seen: Preprocessing
) -> Tensor:
    """The twin of `apply_batch`: every point fetched from where it was, every channel mixed."""
    origin, factor, shift = _mixing(flips, orders, fields, seen)
    samples = []
    for i, sample in enumerate(x):
        where = [None] * flips.shape[1]
        for axis, source in enumerate(orders[i].tolist()):
            size = sample.shape[axis - len(where)]
            point = torch.arange(size)
            point = size - 1 - point if flips[i, source] else point
            place = [size if other == axis else 1 for other in range(len(where))]
            where[source] = ((point - rolls[i, source]) % size).view(place)
        moved = sample[origin[i]][(..., *where)]
        parts = (part[i].float().view(-1, *[1] * (moved.ndim - 1)) for part in (factor, shift))
        samples.append(moved * next(parts) + next(parts))
    return torch.stack(samples)


@pytest.mark.parametrize("time", [True, False])
@pytest.mark.parametrize("shape", [(4, 6), (6, 6), (4, 4, 4), (4, 6, 4)])
def test_blocks_have_the_bits_of_a_gather(shape: tuple[int, ...], time: bool) -> None:
    spatial, count = len(shape), 24
    orders = tuple(
        p for p in permutations(range(spatial)) if all(shape[p[i]] == shape[i] for i in p)
    )
    group = Symmetries(shape, tuple(range(spatial)), tuple(range(spatial)), orders)
    drawn = _draw_batch(group, Draws(4, range(count)))
    x = torch.stack([states(spatial, shape, seed) for seed in range(count)]).transpose(1, 2)
    x = x if time else x[:, :, 0]
    before, fields, seen = x.clone(), channels(spatial), preprocessing(spatial)
    found = apply_batch(x, *drawn, fields, seen)
    assert torch.equal(found, gathered(x, *drawn, fields, seen))
    assert found.is_contiguous()
    assert torch.equal(x, before)


def test_flip_twice_and_roll_back_are_the_identity() -> None:
    x, fields = states(2, (4, 6)), channels(2)
    flip = Transformation((True, True), (0, 0), (0, 1))
    roll, back = (Transformation((False, False), (r, s), (0, 1)) for r, s in ((1, 5), (3, 1)))
    swap = Transformation((False, False), (0, 0), (1, 0))
    square = states(2, (4, 4))
    assert torch.equal(apply(apply(x, flip, fields, None), flip, fields, None), x)
    assert torch.equal(apply(apply(x, roll, fields, None), back, fields, None), x)
    assert torch.equal(apply(apply(square, swap, fields, None), swap, fields, None), square)
    assert torch.equal(apply(x, Transformation.identity(2), fields, None), x)
    assert not torch.equal(apply(x, flip, fields, None), x)


@settings(max_examples=25, deadline=None)
@given(cases())
def test_divergence_commutes(case: tuple[tuple[int, ...], Transformation]) -> None:
    shape, t = case
    spatial = len(shape)
    velocity, scalar = channels(spatial, (1,)), channels(spatial, (0,))
    generator = torch.Generator().manual_seed(1)
    u = torch.randn(spatial, *shape, generator=generator, dtype=torch.double)

    def divergence(u: Tensor) -> Tensor:
        parts = (u[i].roll(-1, i) - u[i].roll(1, i) for i in range(spatial))
        return sum(parts)[None]

    moved = divergence(apply(u, t, velocity, None))
    assert torch.allclose(moved, apply(divergence(u), t, scalar, None), atol=1e-12)


def test_leading_axes_and_argument_are_kept() -> None:
    x = states(2, (4, 6), steps=6)
    before = x.clone()
    t = Transformation((True, False), (2, 3), (0, 1))
    found = apply(x.view(2, 3, *x.shape[1:]), t, channels(2), None)
    assert torch.equal(found.flatten(0, 1), apply(x, t, channels(2), None))
    assert torch.equal(x, before)


def file(
    shape=(8, 4), ends=((2, 2), (0, 0)), grid="cartesian", name="a.hdf5", trajectories=1
) -> SimpleNamespace:
    """What of a file decides its symmetries; ends are wall 0, open 1, periodic 2."""
    return SimpleNamespace(
        path=Path(name),
        grid=grid,
        axes=tuple(AXES[: len(shape)]),
        shape=shape,
        boundaries=np.array(ends),
        trajectories=trajectories,
        channels=channels(len(shape)),
    )


ALL = {"flip": ["x", "y"], "roll": ["x", "y"], "permute": False, "copies": 4}


def test_only_axes_periodic_in_the_file_roll() -> None:
    half = file(ends=((2, 2), (2, 1)))
    whole = file(ends=((2, 2), (2, 2)))
    assert symmetries(ALL, half).roll == (0,)
    assert symmetries(ALL, whole).roll == (0, 1)
    assert symmetries(ALL | {"roll": ["y"], "flip": ["x"]}, whole).roll == (1,)
    assert symmetries(ALL | {"roll": ["y"], "flip": ["x"]}, whole).flip == (0,)


def test_only_equal_axes_are_permuted() -> None:
    box = file((4, 6, 4), ends=[(1, 1)] * 3)
    assert set(symmetries(ALL | {"permute": True}, box).permutations) == {(0, 1, 2), (2, 1, 0)}
    with pytest.raises(LilasError, match=r"permute: no two axes of a 8x4 grid"):
        symmetries(ALL | {"permute": True}, file())


def test_what_cannot_be_augmented_is_refused() -> None:
    with pytest.raises(LilasError, match=r"augment\.flip: unknown axis 'z'; allowed: x, y"):
        symmetries(ALL | {"flip": ["z"]}, file())
    with pytest.raises(LilasError, match=r"a\.hdf5 has a spherical grid"):
        symmetries(ALL, file(grid="spherical"))
    with pytest.raises(LilasError, match=r"augment\.roll: axis 'y' is not periodic in a\.hdf5"):
        Augmentation(ALL, [file()], preprocessing(2))
    swap = Transformation((False, False), (0, 0), (1, 0))
    with pytest.raises(LilasError, match="different sizes"):
        apply(states(2, (4, 6)), swap, channels(2), None)
    with pytest.raises(LilasError, match="t1_x would become a component of t1 that is not among"):
        apply(torch.ones(1, 4, 4), swap, channels(2, (1,))[:1], None)


def test_a_vector_with_a_logarithm_only_rolls() -> None:
    velocity = channels(2, (1,))
    seen = Preprocessing(
        ("t1_x", "t1_y"), (Transform("log", 1.0), Transform()), (0.0, 0.0), (1.0, 1.0)
    )
    x = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(0))
    roll = Transformation((False, False), (1, 0), (0, 1))
    assert torch.equal(apply(x, roll, velocity, seen), x.roll(1, 1))
    for t in (
        Transformation((True, False), (0, 0), (0, 1)),
        Transformation((False, False), (0, 0), (1, 0)),
    ):
        with pytest.raises(LilasError, match=r"t1_x is a component that log\(x \+ 1\) is taken of"):
            apply(x, t, velocity, seen)


def test_distinct_draws() -> None:
    group = Symmetries((3, 4), flip=(0, 1), roll=(0,), permutations=((0, 1),))
    drawn = draw_distinct(12, group, seed=5)
    assert drawn[0] == Transformation.identity(2)
    # All 2 x 2 flips and 3 rolls, each once.
    assert {(t.flips, t.rolls) for t in drawn} == set(
        product(product([False, True], repeat=2), [(0, 0), (1, 0), (2, 0)])
    )
    assert len(drawn) == 12
    assert drawn == draw_distinct(12, group, seed=5) != draw_distinct(12, group, seed=6)
    assert draw_distinct(4, group, seed=5) == drawn[:4]
    with pytest.raises(LilasError, match=r"copies 13: .* at most 12"):
        draw_distinct(13, group, seed=5)
    assert [Transformation(**_tuples(json.loads(json.dumps(t.describe())))) for t in drawn] == drawn


def test_labels_tell_where_the_boundaries_came_to_lie() -> None:
    """Two parameters, then the codes of both ends of x and of y, all different."""
    maps = [
        Transformation.identity(2),
        Transformation((True, False), (0, 0), (0, 1)),
        Transformation((False, True), (0, 0), (1, 0)),
    ]
    moved = _labels(np.tile(np.arange(6.0), (3, 1)), maps)
    assert moved.tolist() == [[0, 1, 2, 3, 4, 5], [0, 1, 3, 2, 4, 5], [0, 1, 5, 4, 2, 3]]


def _tuples(values: dict[str, list]) -> dict[str, tuple]:
    return {key: tuple(value) for key, value in values.items()}


def test_augmentation_draws_every_symmetry_and_only_those() -> None:
    augment = Augmentation(
        {"flip": ["x"], "roll": ["x"], "permute": False}, [file()], seen := preprocessing(2)
    )
    x = states(2, (8, 4), steps=1)
    batch = x.repeat(400, 1, 1, 1)
    label, rows = torch.zeros(400, 4), np.zeros(400, int)
    found, _ = augment(batch, label, rows, Draws(0, range(400)))
    expected = [
        apply(x[0], Transformation((flip, False), (roll, 0), (0, 1)), channels(2), seen)
        for flip in (False, True)
        for roll in range(8)
    ]
    counts = [sum(torch.equal(sample, image) for sample in found) for image in expected]
    assert sum(counts) == 400
    # 25 expected of each of the 16; five standard deviations are 24.
    assert min(counts) > 1
    again, _ = augment(batch, label, rows, Draws(0, range(400)))
    assert torch.equal(found, again)
    none = Augmentation({"flip": [], "roll": [], "permute": False}, [file()], seen)
    assert torch.equal(none(batch, label, rows, Draws(0, range(400)))[0], batch)


def test_each_sample_of_a_batch_has_the_symmetries_of_its_own_file() -> None:
    """Euler's two datasets in one: open trajectories are not rolled, periodic ones are."""
    files = [file((4, 4), [(1, 1)] * 2, trajectories=2), file((4, 4), [(2, 2)] * 2)]
    augment = Augmentation(ALL | {"permute": True}, files, seen := preprocessing(2))
    x, rows = states(2, (4, 4), steps=1).repeat(600, 1, 1, 1), np.arange(600) % 3
    label = torch.tensor([[7.0, 1, 1, 1, 1], [8, 1, 1, 1, 1], [9, 2, 2, 2, 2]])[rows]
    found, labels = augment(x, label, rows, Draws(3, range(600)))
    assert torch.equal(labels, label)
    flips, orders = list(product([False, True], repeat=2)), ((0, 1), (1, 0))
    whole = list(product(range(4), repeat=2))
    for places, rolls in ((rows < 2, [(0, 0)]), (rows == 2, whole)):
        images = [
            apply(x[0], Transformation(*parts), channels(2), seen)
            for parts in product(flips, rolls, orders)
        ]
        same = torch.tensor(
            [[torch.equal(one, image) for image in images] for one in found[places]]
        )
        assert same.any(1).all()
        # 400 draw among 8, 200 among 128.
        assert same.any(0).sum() >= min(len(images), 80)
    # What a sample draws does not depend on the files beside its own.
    alone = Augmentation(ALL | {"permute": True}, files[1:], seen)
    periodic = np.flatnonzero(rows == 2)
    again, _ = alone(x[periodic], label[periodic], np.zeros(200, int), Draws(3, periodic))
    assert torch.equal(found[periodic], again)


def test_boundary_codes_of_a_batch_go_with_its_axes() -> None:
    """The wall lies where the states that lie at it have come."""
    walls = file((6, 6), ends=((0, 1), (2, 2)))
    settings_ = {"flip": ["x", "y"], "roll": [], "permute": True}
    augment = Augmentation(settings_, [walls], None)
    scalar = Channel("u", 0, (), ())
    augment.channels = (scalar,)
    # 5 at the wall, 3 at the open end, 1 elsewhere.
    x = torch.ones(64, 1, 6, 6)
    x[:, :, 0], x[:, :, -1] = 5, 3
    label = torch.tensor([0.5, 0, 1, 2, 2]).repeat(64, 1)
    moved, labels = augment(x, label, np.zeros(64, int), Draws(1, range(64)))
    known = {5.0: 0, 3.0: 1, 1.0: 2}
    for state, codes in zip(moved[:, 0], labels, strict=True):
        ends = [state[0, 2:4], state[-1, 2:4], state[2:4, 0], state[2:4, -1]]
        assert codes.tolist() == [0.5, *(known[end.mean().item()] for end in ends)]
    assert len({tuple(codes.tolist()) for codes in labels}) == 4
