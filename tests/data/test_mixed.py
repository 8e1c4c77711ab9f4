"""Streams of several resolutions as one: whole batches of one grid each, in one keyed order."""

from itertools import chain, islice

import numpy as np
import pytest
import torch

from sciml.data.mixed import mixed
from sciml.data.stream import stream


def written(folder, points, samples, units="1"):
    """x = y = number of the sample, on a line."""
    values = (torch.arange(samples).float() + 100 * points)[:, None].expand(samples, points).contiguous()
    path = folder / f"line{points}.pt"
    torch.save({"x": values, "y": values.clone()}, path)
    return path


@pytest.fixture
def paths(tmp_path):
    return written(tmp_path, 8, 7), written(tmp_path, 16, 10)


def both(paths, **how):
    return mixed([stream(path, batch_size=size, seed=4, **how) for path, size in zip(paths, (3, 2), strict=True)], seed=9)


def seen(batches):
    return [batch["x"][:, 0, 0].int().tolist() for batch, _ in batches]


def test_every_sample_comes_once_per_epoch_in_batches_of_one_grid(paths):
    data = both(paths)
    assert len(data) == 3 + 5
    for _ in range(3):
        batches = seen(islice(data.endless(), 8))
        assert sorted(chain.from_iterable(batches)) == [*range(800, 807), *range(1600, 1610)]
        assert all(len({number // 800 for number in batch}) == 1 for batch in batches)
    first, second = (seen(islice(both(paths).endless(), 16))[i : i + 8] for i in (0, 8))
    assert first != second


def test_the_grid_of_a_batch_is_known(paths):
    data = both(paths)
    for batch, _ in islice(data.endless(), 8):
        assert data.domain_of(batch).shape == tuple(batch["x"].shape[2:])
    with pytest.raises(ValueError, match=r"the grids are \[\(8,\), \(16,\)\]"):
        data.domain_of({"x": torch.zeros(1, 1, 9), "y": torch.zeros(1, 1, 9)})


def test_it_goes_on_from_a_state_and_refuses_those_of_others(paths):
    data = both(paths)
    list(islice(data.endless(), 5))
    state = data.state_dict()
    following = seen(islice(data.endless(), 9))
    again = both(paths)
    again.load_state_dict(state)
    assert seen(islice(again.endless(), 9)) == following
    with pytest.raises(ValueError, match="seed 9, these have 3"):
        mixed([stream(paths[0], batch_size=3)], seed=3).load_state_dict(
            {**state, "fingerprint": mixed([stream(paths[0], batch_size=3)], seed=3).fingerprint}
        )
    with pytest.raises(ValueError, match="fingerprint"):
        mixed([stream(paths[0], batch_size=3)], seed=9).load_state_dict(state)


@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_ranks_share_the_batches_of_one_order(paths, ranks):
    alone = seen(islice(both(paths).endless(), 16))
    parts = [islice(both(paths, rank=rank, ranks=ranks).endless(), 16) for rank in range(ranks)]
    for batch, together in zip(alone, zip(*parts, strict=True), strict=True):
        assert list(chain.from_iterable(seen((local, share) for local, share in together if share > 0))) == batch


def test_streams_that_do_not_go_together_are_refused(tmp_path, paths):
    one = stream(paths[0], batch_size=3)
    with pytest.raises(ValueError, match="need at least one"):
        mixed([])
    with pytest.raises(ValueError, match="need each once"):
        mixed([one, stream(paths[0], batch_size=2)])
    np.savez(tmp_path / "other.npz", a=np.zeros((2, 5), np.float32), u=np.zeros((2, 5), np.float32))
    with pytest.raises(ValueError, match="other variables"):
        mixed([one, stream(tmp_path / "other.npz", batch_size=3)])
