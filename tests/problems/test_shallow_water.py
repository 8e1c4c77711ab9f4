import itertools
import math

import pytest
import torch

from laws import problem_laws
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.problems.shallow_water import RadialDam, ShallowWater, radial_dam_break

SHORT = tuple(i / 10 for i in range(5))


def box(*points, sides="open"):
    return Domain.box([5.0] * len(points), points, sides, "cells", [-2.5] * len(points))


def stoker(x, t, high, low, g=1.0):
    """Height and velocity after a dam at x = 0 broke, water at rest: a rarefaction, a plateau and a bore (Stoker 1957)."""
    c_high = math.sqrt(g * high)

    def gap(h):
        bore = (h - low) * math.sqrt(g / 2 * (1 / h + 1 / low))
        return 2 * (c_high - math.sqrt(g * h)) - bore

    one = torch.ones_like(x)
    a, b = low, high
    for _ in range(200):
        a, b = ((a + b) / 2, b) if gap((a + b) / 2) > 0 else (a, (a + b) / 2)
    middle = (a + b) / 2
    v = 2 * (c_high - math.sqrt(g * middle))
    fan_c, fan_v = (2 * c_high - x / t) / 3, 2 / 3 * (c_high + x / t)
    places = [x < -c_high * t, x < (v - math.sqrt(g * middle)) * t, x < v * middle / (middle - low) * t]
    h = torch.where(
        places[0], high * one, torch.where(places[1], fan_c**2 / g, torch.where(places[2], middle * one, low * one))
    )
    return h, torch.where(places[0], 0.0, torch.where(places[1], fan_v, torch.where(places[2], v * one, 0.0)))


def broken(points, *, axis=0, dim=1, inner=2.0, gravity=1.0):
    """L1 errors of height and momentum 0.8 after a straight dam across `axis` broke."""
    shape = [4] * dim
    shape[axis] = points
    domain = box(*shape)
    x = domain.mesh()[axis]
    problem = ShallowWater(RadialDam(inner=inner), (0.0, 0.8), gravity=gravity)
    h = torch.where(x < 0, inner, 1.0)[None, None, None]
    given = {"radius": torch.ones(1, 1), "h": h, "momentum": torch.zeros(1, 1, dim, *domain.shape, dtype=torch.float64)}
    answer = problem.solve(given, domain)
    h_exact, v_exact = stoker(x, 0.8, inner, 1.0, gravity)
    m_exact = h_exact * v_exact
    return (
        float((answer["h"][0, 1, 0] - h_exact).abs().mean() * 5),
        float((answer["momentum"][0, 1, axis] - m_exact).abs().mean() * 5),
    )


def test_the_middle_state_of_the_oracle_joins_rarefaction_and_bore():
    h, v = stoker(torch.tensor([-2.0, 0.0, 0.5, 2.0], dtype=torch.float64), 0.8, 2.0, 1.0)
    assert h[0] == 2.0
    assert h[3] == 1.0
    # Rankine-Hugoniot across the bore: s [h] = [h v], s [h v] = [h v² + h² / 2]
    s = float(h[2] * v[2] / (h[2] - 1))
    assert s * float(h[2] * v[2]) == pytest.approx(float(h[2] * v[2] ** 2 + h[2] ** 2 / 2 - 0.5), rel=1e-12)
    assert float(v[2] + 2 * h[2].sqrt()) == pytest.approx(2 * math.sqrt(2.0), rel=1e-12)


def test_a_straight_dam_breaks_as_stoker_says_at_first_order_in_l1():
    coarse, fine = broken(100), broken(400)
    for kind in (0, 1):
        # measured 0.98 for both; where the bore stands between two cells moves single doublings by 0.2
        assert math.log2(coarse[kind] / fine[kind]) / 2 == pytest.approx(1.0, abs=0.2)
        assert fine[kind] < 0.01


def test_another_gravity_and_height_break_as_stoker_says():
    assert max(broken(150, inner=5.0, gravity=0.3)) < 0.2


def test_a_dam_across_the_other_axis_is_the_same_dam():
    assert broken(60, axis=1, dim=2) == pytest.approx(broken(60, axis=0, dim=2), rel=1e-9)


def test_velocity_along_a_dam_is_carried_by_the_water_and_jumps_where_both_waters_meet():
    domain, problem = box(200, 4), ShallowWater(RadialDam(), (0.0, 0.8))
    x = domain.mesh()[0]
    left = (x < 0).double()
    momentum = torch.stack([0 * x, 0.5 * (1 + left)])[None, None]
    answer = problem.solve({"radius": torch.ones(1, 1), "h": (1 + left)[None, None, None], "momentum": momentum}, domain)
    h, v = stoker(x, 0.8, 2.0, 1.0)
    middle = float(v[(x > 0.3) & (x < 0.4)].mean())
    # 0.5 everywhere: carried along without a trace
    assert torch.allclose(answer["momentum"][:, 1, 1], 0.5 * answer["h"][:, 1, 0], atol=1e-12)
    marked = momentum * left
    answer = problem.solve({"radius": torch.ones(1, 1), "h": (1 + left)[None, None, None], "momentum": marked}, domain)
    expected = 0.5 * h * (x < middle * 0.8)
    assert float((answer["momentum"][0, 1, 1] - expected).abs().mean() * 5) < 0.03


def simple_wave_errors(points, sides="open"):
    """Mean errors of height and momentum."""
    problem, domain = ShallowWater(RadialDam(), (0.0, 1.0)), box(points, sides=sides)
    given, exact = problem.exact(domain)
    answer = problem.solve(given, domain)
    return [float((answer[name] - exact[name])[:, 1].abs().mean()) for name in ("h", "momentum")]


def test_a_simple_wave_is_solved_at_second_order():
    found = [simple_wave_errors(n) for n in (120, 240, 480)]
    for kind in (0, 1):
        slopes = [math.log2(a[kind] / b[kind]) for a, b in itertools.pairwise(found)]
        assert slopes == pytest.approx([2.0, 2.0], abs=0.2)


def test_a_wave_away_from_the_sides_does_not_know_them():
    assert simple_wave_errors(60, "periodic") == pytest.approx(simple_wave_errors(60), rel=1e-6)


def test_the_simple_wave_obeys_the_equation():
    problem = ShallowWater(RadialDam(), tuple(0.5 + i / 200 for i in range(5)))
    _, exact = problem.exact(box(800))
    h, m = exact["h"][0, :, 0], exact["momentum"][0, :, 0]

    def rate(u):
        return (u[0] - 8 * u[1] + 8 * u[3] - u[4]) * 200 / 12

    def slope(u):
        return (u.roll(2) - 8 * u.roll(1) + 8 * u.roll(-1) - u.roll(-2))[10:-10] * 160 / 12

    assert (rate(h)[10:-10] + slope(m[2])).abs().max() < 1e-5 * rate(h).abs().max()
    assert (rate(m)[10:-10] + slope(m[2] ** 2 / h[2] + h[2] ** 2 / 2)).abs().max() < 1e-5 * rate(m).abs().max()


def test_a_round_hump_converges_at_second_order_in_two_dimensions():
    problem = ShallowWater(RadialDam(), (0.0, 0.5))

    def height(points):
        domain = box(points, points)
        x, y = domain.mesh()
        # cell means of a smooth function, as four by four Gauss points would give them to the digits needed here
        q = torch.zeros(points, points, dtype=torch.float64)
        s = 5 / points / 2 / math.sqrt(3)
        for dx, dy in itertools.product((-s, s), (-s, s)):
            q += (1 + 0.2 * torch.exp(-((x + dx) ** 2 + (y + dy) ** 2))) / 4
        given = {
            "radius": torch.ones(1, 1),
            "h": q[None, None, None],
            "momentum": torch.zeros(1, 1, 2, points, points).double(),
        }
        return problem.solve(given, domain)["h"][0, 1, 0]

    def coarser(q):
        n = q.shape[0] // 2
        return q.reshape(n, 2, n, 2).mean((1, 3))

    grids = [height(n) for n in (20, 40, 80, 160)]
    gaps = [float((a - coarser(b)).abs().mean()) for a, b in itertools.pairwise(grids)]
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(gaps)]
    assert slopes == pytest.approx([2.0, 2.0], abs=0.2)


def radial_reference(radius, time, cells=800):
    """Heights at cell middles of r in [0, 2.5]: r h_t + (r h v)_r = 0 and its momentum, by the local Lax-Friedrichs flux."""
    r = (torch.arange(cells, dtype=torch.float64) + 0.5) * 2.5 / cells
    edge = torch.arange(cells + 1, dtype=torch.float64) * 2.5 / cells
    dr = 2.5 / cells
    h, m, t = torch.where(r <= radius, 2.0, 1.0).double(), torch.zeros_like(r), 0.0
    while t < time:
        dt = min(0.4 * dr / float(((m / h).abs() + h.sqrt()).max()), time - t)
        left = (torch.cat([h[:1], h]), torch.cat([-m[:1], m]))
        right = (torch.cat([h, h[-1:]]), torch.cat([m, m[-1:]]))
        s = torch.maximum((left[1] / left[0]).abs() + left[0].sqrt(), (right[1] / right[0]).abs() + right[0].sqrt())
        mass = (left[1] + right[1]) / 2 - s / 2 * (right[0] - left[0])
        push = sum(q[1] ** 2 / q[0] + q[0] ** 2 / 2 for q in (left, right)) / 2 - s / 2 * (right[1] - left[1])
        h, m = (
            h - dt / dr / r * (edge * mass).diff(),
            m - dt / dr / r * (edge * push).diff() + dt / r * h**2 / 2,
        )
        t += dt
    return h


def test_a_round_dam_breaks_as_the_radial_equation_says():
    domain = box(128, 128)
    problem = ShallowWater(RadialDam(radius=(0.5, 0.5)), (0.0, 0.6))
    given = problem.draw(domain, Seeds(1, range(1)))
    h = problem.solve(given, domain)["h"][0, 1, 0]
    reference = radial_reference(0.5, 0.6)
    x, y = domain.mesh()
    away = (x**2 + y**2).sqrt()
    place = (away / 2.5 * 800 - 0.5).clamp(0, 798.999)
    below = place.floor().long()
    expected = torch.lerp(reference[below], reference[below + 1], place - below)
    inside = away < 2.4
    # the bore, smeared over some three cells of height 0.3 on a circle of 7.5
    assert float((h - expected)[inside].abs().sum() * (5 / 128) ** 2) < 0.1
    assert float((h - 1).abs().sum() * (5 / 128) ** 2) > 1.0


def test_a_round_dam_keeps_the_symmetries_of_the_square_and_the_volume():
    domain, problem = box(40, 40), radial_dam_break(101)
    given = problem.draw(domain, Seeds(5, range(2)))
    fields = given | problem.solve(given, domain)
    h, m = fields["h"][:, -1, 0], fields["momentum"][:, -1]
    assert torch.allclose(h, h.flip(-1), atol=1e-12)
    assert torch.allclose(h, h.mT, atol=1e-12)
    assert torch.allclose(m[:, 0], m[:, 1].mT, atol=1e-12)
    assert torch.allclose(m[:, 0], -m[:, 0].flip(-2), atol=1e-12)
    for change in problem.conserved(fields, domain).values():
        assert (change < 1e-13).all()
    fastest = ((fields["momentum"] / fields["h"]).abs().amax(2) + fields["h"][:, :, 0].sqrt()).max()
    assert float(fastest) < 2 * math.sqrt(2.0)


def test_the_published_law_has_its_radii_and_heights():
    problem, domain = radial_dam_break(2), box(64, 64)
    given = problem.draw(domain, Seeds(2, range(300)))
    radius = given["radius"]
    assert 0.3 <= float(radius.min()) < 0.31
    assert 0.69 < float(radius.max()) < 0.7
    assert set(given["h"].unique().tolist()) == {1.0, 2.0}
    x, y = domain.mesh()
    assert torch.equal(given["h"][:, 0, 0] == 2.0, x**2 + y**2 <= radius[..., None] ** 2)


def test_shallow_water_passes_the_laws_of_problems():
    problem_laws(ShallowWater(RadialDam(), SHORT), box(96, 4), coarse_error=2e-2)


def test_half_the_step_moves_the_answer_by_less_than_the_grid_does():
    domain, problem = box(32, 32), ShallowWater(RadialDam(), (0.0, 0.5))
    given = problem.draw(domain, Seeds(1, range(2)))
    change = problem.solve(given, domain)["h"] - problem.halved().solve(given, domain)["h"]
    assert 0 < float(change[:, 1].abs().mean()) < 2e-3


def test_heights_can_be_differentiated_with_respect_to_the_first_instant():
    domain, problem = box(24), ShallowWater(RadialDam(), (0.0, 0.2))
    x = domain.coordinates()[0]  # nowhere flat: there the limiter has a kink
    momentum = (0.1 * torch.cos(0.7 * x))[None, None, None]
    given = {"radius": torch.ones(1, 1), "h": (1.5 + 0.2 * torch.sin(1.1 * x))[None, None, None], "momentum": momentum}
    weights = torch.linspace(0, 1, 24, dtype=torch.float64)

    def value(h):
        return (problem.solve(given | {"h": h}, domain)["h"][0, 1, 0] * weights).sum()

    direction = torch.cos(torch.arange(24, dtype=torch.float64)).reshape(1, 1, 1, 24)
    leaf = given["h"].clone().requires_grad_()
    (slope,) = torch.autograd.grad(value(leaf), leaf)
    difference = (value(given["h"] + 1e-6 * direction) - value(given["h"] - 1e-6 * direction)) / 2e-6
    assert float((slope * direction).sum()) == pytest.approx(float(difference), rel=1e-5)


def test_single_precision_is_double_precision_rounded():
    domain, problem = box(32, 32), ShallowWater(RadialDam(), (0.0, 0.2))
    given = problem.draw(domain, Seeds(1, range(2)))
    single = problem.solve({name: v.float() for name, v in given.items()}, domain)["h"]
    assert single.dtype == torch.float32
    assert (single - problem.solve(given, domain)["h"]).abs().max() < 100 * torch.finfo(torch.float32).eps


def test_what_the_scheme_cannot_take_is_refused_with_what_would_work():
    domain, problem = box(8), ShallowWater(RadialDam(), (0.0, 0.2), dim=1)
    given = problem.draw(domain, Seeds(1, range(1)))
    with pytest.raises(ValueError, match="h: got -2"):
        problem.solve(given | {"h": -given["h"]}, domain)
    with pytest.raises(ValueError, match=r"a dam with inner = 2\.5 allows it"):
        problem.solve(given | {"h": 10 * torch.ones_like(given["h"])}, domain)
    with pytest.raises(ValueError, match=r"courant: got 1\.5, unstable beyond 1; 0\.75 works"):
        ShallowWater(RadialDam(), (0.0, 1.0), courant=1.5)
    with pytest.raises(ValueError, match="open or periodic"):
        problem.solve(given, Domain.box((5.0,), (8,), "dirichlet", "cells"))
    with pytest.raises(ValueError, match=r"got 1 axes.* need 2; or a problem with dim = 1"):
        radial_dam_break().draw(domain, Seeds(1, range(1)))
    with pytest.raises(ValueError, match="inner, outer"):
        RadialDam(inner=0.5)
