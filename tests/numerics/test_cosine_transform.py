import math

import numpy as np
import pytest
import scipy.fft
import torch

from sciml.numerics.cosine_transform import cosine_transform, inverse_cosine_transform, neumann_eigenvalues
from sciml.numerics.domain import Domain

EPS = torch.finfo(torch.float64).eps


def random(*shape, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=dtype)


@pytest.mark.parametrize("n", [2, 3, 8, 9, 128, 257, 258, 300])
def test_the_transform_is_that_of_scipy(n):
    u = random(3, n)
    expected = torch.from_numpy(np.asarray(scipy.fft.dct(u.numpy(), type=2, norm="ortho")))
    assert (cosine_transform(u, [-1]) - expected).norm() <= 4 * EPS * math.sqrt(n) * u.norm()


@pytest.mark.parametrize("shape", [(2, 3), (9, 8), (128, 128), (260, 5), (5, 263)])
def test_the_inverse_gives_the_values_back(shape):
    u = random(2, *shape)
    assert (inverse_cosine_transform(cosine_transform(u, [-2, -1]), [-2, -1]) - u).norm() <= 30 * EPS * u.norm()
    assert (cosine_transform(inverse_cosine_transform(u, [-2, -1]), [-2, -1]) - u).norm() <= 30 * EPS * u.norm()


def test_the_transform_along_several_axes_is_that_of_scipy():
    u = random(2, 6, 7)
    expected = torch.from_numpy(np.asarray(scipy.fft.dctn(u.numpy(), type=2, norm="ortho", axes=(1, 2))))
    assert torch.allclose(cosine_transform(u, [-2, -1]), expected, atol=1e-14)
    assert torch.allclose(inverse_cosine_transform(expected, [1, 2]), u, atol=1e-14)


def test_a_cosine_has_one_component():
    u = torch.cos(math.pi * 3 * (torch.arange(10, dtype=torch.float64) + 0.5) / 10)
    expected = torch.zeros(10, dtype=torch.float64)
    expected[3] = math.sqrt(5.0)
    assert torch.allclose(cosine_transform(u, [-1]), expected, atol=1e-14)


@pytest.mark.parametrize("shape", [(7, 9), (2, 261)])
def test_the_transform_is_orthogonal_so_its_gradient_is_its_inverse(shape):
    u, v = random(*shape).requires_grad_(), random(*shape)
    (slope,) = torch.autograd.grad((cosine_transform(u, [-2, -1]) * v).sum(), u)
    assert torch.allclose(slope, inverse_cosine_transform(v, [-2, -1]), atol=1e-13)
    w = random(*shape).requires_grad_()
    (slope,) = torch.autograd.grad((inverse_cosine_transform(w, [-2, -1]) * v).sum(), w)
    assert torch.allclose(slope, cosine_transform(v, [-2, -1]), atol=1e-13)


@pytest.mark.parametrize("n", [64, 512])
def test_single_precision_keeps_its_digits(n):
    u = random(4, n)
    single = cosine_transform(u.float(), [-1])
    assert single.dtype == torch.float32
    assert (single - cosine_transform(u, [-1])).norm() <= 10 * torch.finfo(torch.float32).eps * u.norm()


def test_eigenvalues_are_those_of_the_second_difference_without_flux():
    domain = Domain.box((2.0, 1.0), (6, 5), "neumann", "cells")
    u = random(6, 5)

    def second(u, h):  # along the last axis, the ghost beyond a side equal to its cell
        wide = torch.cat([u[:, :1], u, u[:, -1:]], 1)
        return (wide[:, 2:] - 2 * u + wide[:, :-2]) / h**2

    expected = second(u, 0.2) + second(u.mT, 1 / 3).mT
    components = cosine_transform(u, [-2, -1]) * neumann_eigenvalues(domain, exact=False)
    assert torch.allclose(inverse_cosine_transform(components, [-2, -1]), expected, atol=1e-12)


def test_exact_eigenvalues_are_those_of_the_laplacian():
    domain = Domain.box((2.0, 1.0), (16, 12), "neumann", "cells")
    x, y = domain.mesh()
    u = torch.cos(math.pi * 3 * x / 2) * torch.cos(math.pi * 5 * y)
    components = cosine_transform(u, [-2, -1]) * neumann_eigenvalues(domain, exact=True)
    expected = -((1.5**2 + 25) * math.pi**2) * u
    assert torch.allclose(inverse_cosine_transform(components, [-2, -1]), expected, atol=1e-10)


@pytest.mark.parametrize(("sides", "layout"), [("neumann", "both_ends"), ("dirichlet", "cells")])
def test_other_domains_are_refused(sides, layout):
    with pytest.raises(ValueError, match="needs neumann sides and layout cells"):
        neumann_eigenvalues(Domain.box((1.0,), (8,), sides, layout), exact=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_components():
    u = random(2, 32, 301)
    assert torch.allclose(cosine_transform(u.cuda(), [-2, -1]).cpu(), cosine_transform(u, [-2, -1]), atol=1e-13)
