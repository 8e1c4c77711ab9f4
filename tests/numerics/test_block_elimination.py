import pytest
import scipy.sparse
import torch
from scipy.sparse.linalg import splu

from sciml.numerics import block_elimination
from sciml.numerics.block_elimination import solve_nine_point
from sciml.numerics.domain import Domain
from sciml.numerics.finite_elements import ElementMatrix, mass, stiffness


def system(shape, shift, batch=3):
    """An indefinite matrix with a coefficient per sample, and a load."""
    generator = torch.Generator().manual_seed(1)
    domain = Domain.box((1.0, 1.0), shape, "neumann")
    gauss = (batch, 3 * (shape[0] - 1), 3 * (shape[1] - 1))
    k = shift * (1 + torch.rand(gauss, dtype=torch.float64, generator=generator))
    matrix = stiffness(torch.ones(1, *gauss[1:], dtype=torch.float64), domain) - mass(k, domain)
    return matrix, torch.randn(batch, *shape, dtype=torch.float64, generator=generator)


def sparse(matrix):
    """Of one sample, column by column, from the products with the unit vectors."""
    rows, columns = matrix.centre.shape[1:]
    units = torch.eye(rows * columns, dtype=torch.float64).view(-1, rows, columns)
    return scipy.sparse.csc_matrix(matrix.apply(units).flatten(1).numpy())


@pytest.mark.parametrize("shape", [(9, 9), (14, 6), (6, 14)])
def test_an_indefinite_system_is_solved_as_scipy_does(shape):
    matrix, load = system(shape, 60.0)
    u = solve_nine_point(matrix, load)
    for k, one in enumerate(matrix.split(1)):
        a = sparse(one)
        values = torch.linalg.eigvalsh(torch.from_numpy(a.toarray()))
        assert values[0] < 0 < values[-1]
        expected = torch.from_numpy(splu(a).solve(load[k].flatten().numpy())).view(shape)
        assert float((u[k] - expected).norm() / expected.norm()) < 1e-11


def test_a_sample_alone_is_the_sample_in_a_block():
    matrix, load = system((12, 10), 60.0)
    u = solve_nine_point(matrix, load)[1]
    alone = solve_nine_point(matrix.split(1)[1], load[1:2])[0]
    assert float((alone - u).norm() / u.norm()) < 1e-12


def test_little_space_is_used_for_a_few_samples_at_a_time(monkeypatch):
    matrix, load = system((12, 10), 60.0)
    together = solve_nine_point(matrix, load)
    monkeypatch.setattr(block_elimination, "WORKING_SPACE", 2 * 12 * 10 * 10)
    assert torch.allclose(solve_nine_point(matrix, load), together, rtol=1e-11)


def test_the_gradient_by_the_matrix_and_the_load_is_that_of_a_dense_solve():
    matrix, load = system((4, 3), 20.0, batch=2)
    leaves = [part.clone().requires_grad_() for part in (matrix.centre, matrix.down, matrix.right, matrix.cross, load)]
    assert torch.autograd.gradcheck(lambda *parts: solve_nine_point(ElementMatrix(*parts[:4]), parts[4]), leaves)


def test_a_resonance_is_an_error_and_no_answer():
    # Constants are solutions of the Laplacian between neumann sides.
    matrix, load = system((6, 5), 0.0)
    with pytest.raises(ArithmeticError, match="resona"):
        solve_nine_point(matrix, load)
