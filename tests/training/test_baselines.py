import sys
import warnings

import pytest
import torch

from sciml.numerics.domain import Domain
from sciml.numerics.ghosts import pyramid
from sciml.numerics.resolution import resample
from sciml.training.baselines import NeuralOperatorFNO, mean_of_training, ridge
from sciml.training.checkpoint import Field, load, save
from sciml.training.evaluate import evaluate
from sciml.training.fit import fit
from sciml.training.objectives import RelativeL2
from sciml.training.optimisers import Adam
from training.small_runs import DOMAIN, MemoryStream

FIELDS = {"inputs": [Field("a")], "targets": [Field("u")]}


def draw(number, seed=0, channels=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(number, channels, 8, generator=generator, dtype=torch.float64)


def streamed(a, u, batch_size=7):
    return MemoryStream({"a": a, "u": u}, batch_size)


def kept(model, tmp_path):
    """The same model, from a file."""
    save(tmp_path / "m.pt", model, domain=DOMAIN, **FIELDS)
    return load(tmp_path / "m.pt")


def test_the_mean_is_the_mean_of_all_samples_of_uneven_batches(tmp_path):
    u = draw(23)
    model = mean_of_training(streamed(draw(23, 1), u))
    assert torch.allclose(model(draw(5)), u.mean(0).expand(5, 1, 8), rtol=1e-14)
    assert torch.equal(kept(model, tmp_path)(draw(5)), model(draw(5)))


@pytest.mark.parametrize("number", [6, 60])
def test_ridge_with_one_penalty_is_the_solution_of_the_normal_equations(number, tmp_path):
    a, u, penalty = draw(number), draw(number, 1, channels=2), 0.3
    model = ridge(streamed(a, u), penalties=[penalty])
    x, y = a.flatten(1), u.flatten(1)
    eigenvalues = torch.linalg.eigvalsh((x - x.mean(0)).T @ (x - x.mean(0)))
    # The constant is one more input, which is not penalised; the penalty is in units of the mean eigenvalue of the
    # smaller of the two matrices, which have the same sum.
    scale = eigenvalues.sum() / min(number, 8)
    design = torch.cat([x, torch.ones(number, 1, dtype=x.dtype)], 1)
    free = torch.diag(torch.tensor([1.0] * 8 + [0.0], dtype=x.dtype)) * penalty * scale
    weights = torch.linalg.solve(design.T @ design + free, design.T @ y)
    new = draw(4, 2)
    expected = torch.cat([new.flatten(1), torch.ones(4, 1, dtype=x.dtype)], 1) @ weights
    assert torch.allclose(model(new).flatten(1), expected, rtol=1e-10)
    assert model(new).shape == (4, 2, 8)
    assert torch.equal(kept(model, tmp_path)(new), model(new))


@pytest.mark.parametrize("number", [7, 30])
def test_ridge_takes_the_penalty_of_least_error_on_samples_left_out_one_by_one(number):
    """Against fits that really leave each sample out; noise makes neither end of the grid the best."""
    a = draw(number)
    u = 2 * a.roll(1, -1) + draw(number, 1)
    penalties = [10.0**k for k in (-6, -3, -2, -1, 0, 1, 2, 4)]
    x = a.flatten(1) - a.flatten(1).mean(0)
    scale = x.square().sum() / min(number, 8)

    def left_out(penalty):
        total = 0.0
        for i in range(number):
            rest = [j for j in range(number) if j != i]
            design = torch.cat([a[rest].flatten(1), torch.ones(number - 1, 1, dtype=a.dtype)], 1)
            free = torch.diag(torch.tensor([1.0] * 8 + [0.0], dtype=a.dtype)) * penalty * scale
            weights = torch.linalg.solve(design.T @ design + free, design.T @ u[rest].flatten(1))
            total += (torch.cat([a[i].flatten(), torch.ones(1, dtype=a.dtype)]) @ weights - u[i].flatten()).square().sum()
        return float(total)

    best = min(penalties, key=left_out)
    assert best not in (penalties[0], penalties[-1])
    new = draw(4, 2)
    chosen, expected = (ridge(streamed(a, u), penalties=given)(new) for given in (penalties, [best]))
    assert torch.allclose(chosen, expected, rtol=1e-9)


# Without any one sample 8 weights and a constant must still be determined, or left-out errors say nothing of the penalty.
@pytest.mark.parametrize("number", [12, 40])
def test_ridge_finds_a_linear_map_that_has_no_noise(number):
    a = draw(number)
    model = ridge(streamed(a, 3 * a.roll(2, -1) + 5))
    new = draw(4, 2)
    assert torch.allclose(model(new), 3 * new.roll(2, -1) + 5, atol=1e-5)


def test_ridge_works_in_float64_and_gives_what_the_stream_has():
    model = ridge(streamed(draw(9).float(), draw(9, 1).float()))
    assert model(draw(2).float()).dtype == torch.float32


def test_baselines_name_what_they_cannot_do():
    a = draw(9)
    model = ridge(streamed(a, a))
    with pytest.raises(ValueError, match=r"a: got shape \(1, 4\) per sample, the linear map was fitted on \(1, 8\)"):
        model(a[..., :4])
    with pytest.raises(ValueError, match="input a: is the same in all 9 samples"):
        ridge(streamed(torch.ones_like(a), a))
    with pytest.raises(ValueError, match="got 2 samples"):
        ridge(streamed(a[:2], a[:2]))


@pytest.fixture(scope="module")
def fno():
    filters = list(warnings.filters)
    torch.manual_seed(0)
    model = NeuralOperatorFNO(1, 1, modes=(6,), width=8, layers=2)
    assert warnings.filters == filters
    return model


def test_the_fno_learns_by_the_same_fit_and_is_kept_like_ours(fno, tmp_path):
    """The shift by one point is a Fourier multiplier; the mean and a pointwise map cannot do it."""
    a = draw(64).float()
    train = streamed(a, a.roll(1, -1), 16)
    rule, out = Adam(1e-2, clip=1.0), tmp_path / "run"
    run = fit(
        fno, RelativeL2(DOMAIN, ("a",), ("u",)), train, steps=150, every=75, validation=train, optimiser=rule, ema=0.9, out=out
    )
    assert run.best < 0.3
    back = load(tmp_path / "run" / "best.pt", kind=NeuralOperatorFNO)
    assert (back.modes, back.width, back.layers, back.padding) == ((6,), 8, 2, None)
    new = draw(3, 1).float()
    fno.eval()
    assert torch.equal(back(new), fno(new))
    table = evaluate(fno, train, baselines={"mean": mean_of_training(train), "ridge": ridge(train)})
    assert table.rows[0].statistic("relative_l2", "mean") == pytest.approx(run.best, rel=1e-5)
    assert table.rows[2].statistic("relative_l2", "mean") < 1e-3 < 0.9 < table.rows[1].statistic("relative_l2", "mean")
    complex_weights = sum(w.numel() for w in fno.parameters() if w.is_complex())
    assert table.rows[0].parameters == sum(w.numel() for w in fno.parameters()) + complex_weights


@pytest.mark.parametrize("points", [(65, 64), (64, 65), (65, 65)])
def test_the_fno_answers_alike_on_even_and_odd_grids(points):
    torch.manual_seed(0)
    model = NeuralOperatorFNO(1, 1, modes=(8, 8), width=8, layers=2).eval()
    with torch.no_grad():
        for weight in (w for w in model.parameters() if w.is_complex()):
            weight *= 20  # the spectra, not the paths around them, decide

    def answer(*points):
        domain = Domain.box((1.0, 1.0), points, "neumann")
        x, y = domain.mesh()
        u = torch.cos(2 * torch.pi * x) * torch.cos(torch.pi * y) + x
        with torch.no_grad():
            return model(u.float()[None, None]), pyramid(domain, points, 1)[0]

    (found, grid), (expected, even) = answer(*points), answer(64, 64)
    expected = resample(expected, even, grid)
    assert (found - expected).norm() < 0.1 * expected.norm()


def test_the_fno_refuses_other_channels_and_axes(fno):
    with pytest.raises(ValueError, match=r"a: got shape \(2, 3, 8\), this FNO needs \(batch, 1, \*grid\) on 1 axes"):
        fno(torch.zeros(2, 3, 8))


def test_without_the_library_the_fno_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "neuralop.models", None)
    with pytest.raises(ImportError, match="pip install neuraloperator"):
        NeuralOperatorFNO(1, 1, modes=(6,), width=8)
