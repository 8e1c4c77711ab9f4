import math

import pytest
import torch

from laws import problem_laws
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.problems.heat import FieldLaw, Heat, cooling

TIMES = (0.0, 0.1, 0.5, 1.0)
BOXES = [
    Domain.box((1.0,), (40,), "periodic"),
    Domain.box((2.0,), (33,), ("dirichlet",)),
    Domain.box((1.0, 1.5), (17, 18), ["neumann", ("dirichlet", "neumann")]),
    Domain.box((1.0, 1.0), (16, 19), ["dirichlet", "periodic"], ["cells", "cells"]),
    Domain.box((1.0, 1.0, 2.0), (12, 11, 10), ["periodic", "dirichlet", "neumann"], ["first_end", "both_ends", "cells"]),
]


def heat(modes=9, diffusivity=0.05, times=TIMES):
    return Heat(diffusivity, times, FieldLaw(modes=modes))


@pytest.mark.parametrize("domain", BOXES, ids=str)
def test_heat_passes_the_laws_of_problems(domain):
    problem_laws(heat(), domain, coarse_error=1e-14)


def bump(x, variance):
    """A Gaussian of unit mass, and its images at all whole numbers."""
    return sum(torch.exp(-((x - m) ** 2) / (2 * variance)) for m in range(-6, 7)) / math.sqrt(2 * math.pi * variance)


@pytest.mark.parametrize(
    ("domain", "mirrored"),
    [
        (Domain.box((1.0,), (64,), "periodic"), 0),
        (Domain.box((0.5,), (33,), "neumann"), 1),
        (Domain.box((0.5,), (33,), "dirichlet"), -1),
        (Domain.box((0.5,), (40,), "dirichlet", "cells"), -1),
    ],
    ids=str,
)
def test_a_gaussian_spreads_as_a_gaussian_and_its_images(domain, mirrored):
    # Between sides half a period apart the field is that of the whole period, even or odd about the sides.
    def field(variance):
        (x,) = domain.coordinates()
        return bump(x - 0.2, variance) + mirrored * bump(x + 0.2, variance)

    variance, diffusivity = 0.05**2, 0.002
    first = field(variance)[None, None, None]
    u = Heat(diffusivity, (0.0, 0.3, 2.0), FieldLaw()).solve({"u": first}, domain)["u"][0, :, 0]
    for frame, time in zip(u, (0.0, 0.3, 2.0), strict=True):
        # 30 half waves on a half period hold all but exp(-(0.05 60π)² / 2) of the bump
        assert (frame - field(variance + 2 * diffusivity * time)).abs().max() < 1e-12


def test_two_axes_cool_by_themselves():
    domain, lines = BOXES[2], [Domain((axis,)) for axis in BOXES[2].axes]
    parts = [heat(modes=5).draw(line, Seeds(i, range(1)))["u"] for i, line in enumerate(lines)]
    ends = [heat().solve({"u": part}, line)["u"][0, -1, 0] for part, line in zip(parts, lines, strict=True)]
    product = parts[0][..., :, None] * parts[1][..., None, :]
    u = heat().solve({"u": product}, domain)["u"][0, -1, 0]
    assert torch.allclose(u, ends[0][:, None] * ends[1], rtol=0, atol=1e-14 * float(product.abs().max()))


def test_a_sample_is_the_same_function_on_every_grid_and_so_is_its_answer():
    coarse, fine = (Domain.box((1.0, 1.0), (n, n), "dirichlet") for n in (17, 65))
    answers = [heat().solve(heat().draw(d, Seeds(5, range(2))), d)["u"] for d in (coarse, fine)]
    assert (answers[0] - answers[1][..., ::4, ::4]).abs().max() < 1e-14


def test_the_mean_stays_where_no_side_is_held_and_no_energy_is_gained():
    insulated, held = BOXES[0], BOXES[1]
    given = heat().draw(insulated, Seeds(2, range(3)))
    fields = {"u": heat().solve(given, insulated)["u"] + 0.4}
    found = heat().conserved(fields, insulated)
    assert set(found) == {"mean", "energy gained"}
    assert all((change < 1e-15).all() for change in found.values())
    fields["u"][1, 2] += 0.01
    assert heat().conserved(fields, insulated)["mean"].gt(1e-3).tolist() == [False, True, False]
    u = heat().solve(heat().draw(held, Seeds(2, range(3))), held)["u"]
    assert set(heat().conserved({"u": u}, held)) == {"energy gained"}
    assert (heat().conserved({"u": u.flip(1)}, held)["energy gained"] > 0.1).all()


def test_single_precision_and_gradients_work():
    domain = BOXES[3]
    given = heat().draw(domain, Seeds(2, range(2)))["u"]
    double, single = (heat().solve({"u": u}, domain)["u"] for u in (given, given.float()))
    assert single.dtype == torch.float32
    assert (single - double).norm() < 4 * torch.finfo(torch.float32).eps * double.norm()
    # Linear, so the gradient of <w, solve(u)> is the same everywhere and exact by one difference.
    w, direction = (
        torch.randn(*s, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) for s in (double.shape, given.shape)
    )
    leaf = given.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((w * heat().solve({"u": leaf}, domain)["u"]).sum(), leaf)
    change = heat().solve({"u": direction}, domain)["u"]
    assert float((gradient * direction).sum()) == pytest.approx(float((w * change).sum()), rel=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: heat(diffusivity=0.0), "diffusivity: got 0.0, need"),
        (lambda: heat(times=(0.0,)), "times: got"),
        (lambda: heat(modes=32).draw(Domain.box((1.0,), (33,), "dirichlet"), Seeds(0, range(1))), "need 34"),
        (lambda: heat().draw(Domain.box((1.0,), (33,), "open"), Seeds(0, range(1))), "got sides"),
        (lambda: heat().solve({"u": torch.ones(1, 1, 1, 33)}, BOXES[1]), "u: got a field that is no sum"),
    ],
)
def test_what_cannot_be_solved_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_presets_have_the_instants_they_name():
    assert cooling(frames=5, duration=2.0).times == (0.0, 0.5, 1.0, 1.5, 2.0)
    assert cooling().halved() == Heat(0.01, cooling().times, FieldLaw(), halvings=1)
