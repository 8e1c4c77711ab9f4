import pytest
import torch

from sciml.data.batch import joined, whole

GRID = (6, 5)
GENERATOR = torch.Generator().manual_seed(0)


def normal(*shape):
    return torch.randn(3, *shape, generator=GENERATOR)


BATCH = {
    "a": normal(1, *GRID),
    "f": normal(2, *GRID),
    "u": normal(4, 2, *GRID),
    "nu": normal(2),
    "drag": normal(4, 2),
    "other": normal(1, 5, 6),
}


def test_fields_are_joined_along_the_channels_in_the_order_of_the_names():
    both = torch.cat([BATCH["f"], BATCH["a"]], 1)
    assert torch.equal(joined(BATCH, ("f", "a")), both)
    assert torch.equal(joined(BATCH, ("f", "a"), GRID), both)


def test_instants_become_channels_the_channels_of_the_first_instant_first():
    made = joined(BATCH, ("u",), GRID)
    assert made.shape == (3, 8, *GRID)
    for instant in range(4):
        assert torch.equal(made[:, 2 * instant : 2 * instant + 2], BATCH["u"][:, instant])


def test_numbers_become_constant_channels_beside_fields():
    made = joined(BATCH, ("a", "nu", "drag"), GRID)
    assert made.shape == (3, 1 + 2 + 8, *GRID)
    assert torch.equal(made[:, 1:3], BATCH["nu"][:, :, None, None].expand(3, 2, *GRID))
    assert torch.equal(made[:, 3:], BATCH["drag"].reshape(3, 8, 1, 1).expand(3, 8, *GRID))


def test_gradients_pass_through_numbers_and_instants():
    nu, u = BATCH["nu"].clone().requires_grad_(), BATCH["u"].clone().requires_grad_()
    joined({"nu": nu, "u": u}, ("nu", "u"), GRID).sum().backward()
    assert nu.grad is not None
    assert torch.equal(nu.grad, torch.full_like(nu, 30.0))
    assert u.grad is not None
    assert torch.equal(u.grad, torch.ones_like(u))


def test_without_a_grid_a_series_stays_as_it_is():
    assert joined(BATCH, ("drag",)) is BATCH["drag"]


def test_a_variable_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="variable b: not in the batch, which has a, f, u, nu, drag, other"):
        joined(BATCH, ("a", "b"))


def test_a_field_on_another_grid_is_named_with_its_shape():
    with pytest.raises(ValueError, match=r"variable other: got shape \(3, 1, 5, 6\), need a field on \(6, 5\)"):
        joined(BATCH, ("a", "other"), GRID)


def test_a_line_of_another_length_is_not_taken_for_numbers():
    with pytest.raises(ValueError, match=r"variable a: got shape \(3, 1, 16\), need a field on \(8,\)"):
        joined({"a": torch.zeros(3, 1, 16)}, ("a",), (8,))


def test_no_names_are_nothing_to_join():
    with pytest.raises(ValueError, match=r"^names: got none to join, need at least one of a, f, "):
        joined(BATCH, (), GRID)


def test_the_whole_of_a_stream_has_every_sample_in_order_in_float64_and_integers_as_they_are():
    batches = [{"u": torch.ones(2, 3), "k": torch.tensor([1, 2])}, {"u": torch.zeros(1, 3), "k": torch.tensor([3])}]
    made = whole(iter(batches))
    assert made["u"].dtype == torch.float64
    assert made["u"][:, 0].tolist() == [1, 1, 0]
    assert torch.equal(made["k"], torch.tensor([1, 2, 3]))


def test_the_whole_of_nothing_and_of_samples_of_many_shapes_is_an_error():
    with pytest.raises(ValueError, match="batches: got none"):
        whole([])
    with pytest.raises(ValueError, match="variable u: got samples of shapes"):
        whole([{"u": torch.ones(2, 3)}, {"u": torch.ones(2, 4)}])
