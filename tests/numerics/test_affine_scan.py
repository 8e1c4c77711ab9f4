"""Linear recurrences solved in a tree."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sciml.numerics.affine_scan import affine_scan


def one_after_the_other(matrices, shifts, start):
    x, found = start, []
    for t in range(shifts.shape[-2]):
        x = (matrices[..., t, :, :] @ x[..., None]).squeeze(-1) + shifts[..., t, :]
        found.append(x)
    return torch.stack(found, -2) if found else shifts


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 40), st.integers(1, 7), st.lists(st.integers(1, 3), max_size=2), st.integers(0, 2**31))
def test_it_is_the_recurrence(steps, size, batch, seed):
    draw = torch.Generator().manual_seed(seed)
    matrices = 0.7 * torch.randn(*batch, steps, size, size, generator=draw, dtype=torch.float64)
    shifts, start = (torch.randn(*batch, *s, generator=draw, dtype=torch.float64) for s in ((steps, size), (size,)))
    truth = one_after_the_other(matrices, shifts, start)
    size_of = truth.abs().amax() if truth.numel() else 1.0
    assert torch.allclose(affine_scan(matrices, shifts, start), truth, rtol=0, atol=1e-12 * float(size_of))


def test_a_constant_map_goes_to_its_fixed_point():
    matrix = torch.tensor([[0.5, 0.2], [-0.1, 0.6]], dtype=torch.float64)
    shift = torch.tensor([1.0, -1.0], dtype=torch.float64)
    found = affine_scan(matrix.expand(1000, 2, 2), shift.expand(1000, 2), torch.zeros(2, dtype=torch.float64))
    fixed = torch.linalg.solve(torch.eye(2, dtype=torch.float64) - matrix, shift)
    assert torch.allclose(found[-1], fixed, rtol=1e-14, atol=0)


def test_gradients_pass_through_it():
    draw = torch.Generator().manual_seed(0)
    given_ = [torch.randn(*s, generator=draw, dtype=torch.float64, requires_grad=True) for s in ((5, 2, 2), (5, 2), (2,))]
    assert torch.autograd.gradcheck(affine_scan, given_)
