import numpy as np
import pytest
import scipy.sparse.linalg
import torch

from sciml.numerics.krylov import conjugate_gradients


def system(samples=3, n=40):
    """Symmetric positive matrices of different conditions, and sources."""
    random = np.random.default_rng(0)
    turns = [np.linalg.qr(random.standard_normal((n, n)))[0] for _ in range(samples)]
    matrices = [q @ np.diag(np.geomspace(1, 10.0 ** (k + 1), n)) @ q.T for k, q in enumerate(turns)]
    return torch.from_numpy(np.stack(matrices)), torch.from_numpy(random.standard_normal((samples, n)))


def times(matrices):
    return lambda x: (matrices * x[:, None]).sum(-1)


def test_steps_are_those_of_scipy():
    matrices, b = system()
    diagonal = matrices.diagonal(dim1=1, dim2=2)
    for steps in (1, 2, 5, 9):
        ours = conjugate_gradients(times(matrices), b, precondition=lambda r: r / diagonal, tolerance=0.0, max_iterations=steps)
        assert ours.iterations.tolist() == [steps] * 3
        for k, (matrix, source) in enumerate(zip(matrices.numpy(), b.numpy(), strict=True)):
            jacobi = scipy.sparse.linalg.aslinearoperator(np.diag(1 / matrix.diagonal()))
            theirs, _ = scipy.sparse.linalg.cg(matrix, source, rtol=0.0, maxiter=steps, M=jacobi)
            assert np.linalg.norm(ours.solution[k].numpy() - theirs) <= 1e-11 * np.linalg.norm(theirs)


def test_every_sample_arrives_and_takes_its_own_number_of_steps():
    matrices, b = system()
    found = conjugate_gradients(times(matrices), b, tolerance=1e-10)
    assert (found.residual <= 1e-10).all()
    expected = torch.linalg.solve(matrices, b)
    assert ((found.solution - expected).norm(dim=1) <= 1e-7 * expected.norm(dim=1)).all()
    assert found.iterations.tolist() == sorted(set(found.iterations.tolist()))
    for k in range(3):
        alone = conjugate_gradients(times(matrices[k : k + 1]), b[k : k + 1], tolerance=1e-10)
        assert int(alone.iterations) == int(found.iterations[k])
        assert (alone.solution[0] - found.solution[k]).norm() <= 1e-10 * alone.solution.norm()


def test_the_exact_inverse_needs_one_step():
    matrices, b = system()
    inverse = torch.linalg.inv(matrices)
    found = conjugate_gradients(times(matrices), b, precondition=times(inverse), tolerance=1e-9)
    assert found.iterations.tolist() == [1, 1, 1]


def test_a_source_of_zero_has_the_answer_zero():
    matrices, b = system()
    b[1] = 0
    found = conjugate_gradients(times(matrices), b, tolerance=1e-10)
    assert found.iterations[1] == 0
    assert (found.solution[1] == 0).all()
    assert found.residual[1] == 0


@pytest.mark.parametrize("sample", [0, 2])
def test_a_matrix_that_is_not_positive_stops_its_own_sample_only(sample):
    matrices, b = system()
    matrices[sample] *= -1
    found = conjugate_gradients(times(matrices), b, tolerance=1e-10)
    assert found.residual[sample] == 1
    assert (found.residual <= 1e-10).sum() == 2


def test_what_is_not_reached_is_said():
    matrices, b = system()
    found = conjugate_gradients(times(matrices), b, tolerance=1e-10, max_iterations=5)
    assert found.iterations.tolist() == [5, 5, 5]
    gap = (times(matrices)(found.solution) - b).norm(dim=1) / b.norm(dim=1)
    assert (found.residual > 1e-10).all()
    assert torch.allclose(found.residual, gap, rtol=1e-12)
