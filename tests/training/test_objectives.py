import numpy as np
import pytest
import torch
from torch import nn

from data.made_sets import LINE, WAVES, fields_in_time, values_of, write_folder
from sciml.data.layout import TimeGrid
from sciml.data.stream import stream
from sciml.metrics.fields import relative_h1, relative_h1_spectral, relative_l2
from sciml.numerics.domain import Domain
from sciml.training.objectives import RelativeH1, RelativeH1Spectral, RelativeL2

DOMAIN = Domain.box((1.0, 1.0), (6, 5), "open")
GENERATOR = torch.Generator().manual_seed(0)
BATCH = {name: torch.randn(3, c, 6, 5, generator=GENERATOR) for name, c in (("a", 1), ("f", 2), ("u", 1), ("p", 2))}


class Swap(nn.Module):
    """Gives its channels in reverse: the order in which variables are joined shows."""

    def forward(self, a):
        return a.flip(1)


@pytest.mark.parametrize(
    ("objective", "metric"), [(RelativeL2, relative_l2), (RelativeH1, relative_h1), (RelativeH1Spectral, relative_h1_spectral)]
)
def test_an_objective_is_the_mean_of_its_metric_with_variables_joined_along_channels(objective, metric):
    given, asked = torch.cat([BATCH["a"], BATCH["f"]], 1), torch.cat([BATCH["u"], BATCH["p"]], 1)
    expected = sum(metric(given[i : i + 1].flip(1), asked[i : i + 1], DOMAIN)[0] for i in range(3)) / 3
    assert objective(DOMAIN, ("a", "f"), ("u", "p"))(Swap(), BATCH).item() == pytest.approx(expected.item(), rel=1e-6)


def test_published_scale_and_cutoff_are_parts_of_the_objective():
    other = RelativeH1Spectral(DOMAIN, ("a",), ("u",), scale=2.0, cutoff=2)(nn.Identity(), BATCH)
    assert other == relative_h1_spectral(BATCH["a"], BATCH["u"], DOMAIN, 2.0, 2).mean()


FINE = Domain.box((1.0, 1.0), (12, 10), "open")


def test_of_several_grids_that_of_the_targets_is_used():
    fine = {name: torch.randn(3, 1, 12, 10, generator=GENERATOR) for name in ("a", "u")}
    both = RelativeL2((DOMAIN, FINE), ("a",), ("u",))
    for batch, domain in ((BATCH, DOMAIN), (fine, FINE)):
        assert both(nn.Identity(), batch) == relative_l2(batch["a"], batch["u"], domain).mean()


def test_a_batch_on_none_of_the_grids_is_refused_with_its_shape():
    other = {name: torch.zeros(3, 1, 5, 6) for name in ("a", "u")}
    with pytest.raises(ValueError, match=r"batch: got u \(3, 1, 5, 6\); the grids are \[\(6, 5\), \(12, 10\)\]"):
        RelativeL2((DOMAIN, FINE), ("a",), ("u",))(nn.Identity(), other)


@pytest.mark.parametrize("objective", [RelativeL2, RelativeH1, RelativeH1Spectral])
@pytest.mark.parametrize("grids", [(), (DOMAIN, DOMAIN), (DOMAIN, Domain.box((1.0,), (6,), "open"))])
def test_grids_that_no_batch_could_tell_apart_are_refused(objective, grids):
    with pytest.raises(ValueError, match=r"domain: got grids .*, need at least one, no two of one shape"):
        objective(grids, ("a",), ("u",))


def test_instants_are_channels_and_numbers_are_spread_over_the_grid():
    batch = {
        "u": torch.randn(3, 2, 2, 6, 5, generator=GENERATOR),
        "nu": torch.randn(3, 1, generator=GENERATOR),
        "u_next": torch.randn(3, 1, 5, 6, 5, generator=GENERATOR),
    }
    given = torch.cat([batch["u"].flatten(1, 2), batch["nu"][:, :, None, None].expand(3, 1, 6, 5)], 1)
    expected = relative_l2(given.flip(1), batch["u_next"][:, 0], DOMAIN).mean()
    assert RelativeL2(DOMAIN, ("u", "nu"), ("u_next",))(Swap(), batch) == expected


def test_what_is_masked_counts_as_met():
    good = torch.rand(3, 1, 6, 5, generator=GENERATOR) > 0.3
    batch = BATCH | {"u": torch.where(good, BATCH["u"], 0), "u_mask": good}
    expected = relative_l2(torch.where(good, BATCH["a"], 0), batch["u"], DOMAIN).mean()
    assert RelativeL2(DOMAIN, ("a",), ("u",))(nn.Identity(), batch) == expected
    assert expected < RelativeL2(DOMAIN, ("a",), ("u",))(nn.Identity(), BATCH | {"u": batch["u"]})


def test_padded_samples_of_unequal_length_are_no_channels(tmp_path):
    path = write_folder(tmp_path / "set", WAVES, LINE, values_of(WAVES, 4), TimeGrid(steps=np.array([4, 2, 3, 4])))
    batch = next(iter(stream(path, batch_size=4)))
    with pytest.raises(ValueError, match=r"batch: its samples differ in length and are padded with zeros; .* with a window"):
        RelativeL2(LINE, ("u",), ("u",))(nn.Identity(), batch)


@pytest.mark.parametrize("objective", [RelativeL2, RelativeH1, RelativeH1Spectral])
def test_states_that_are_brought_whole_are_no_targets(objective, tmp_path):
    whole = stream(fields_in_time(tmp_path / "set"), batch_size=2)
    with pytest.raises(ValueError, match=r"^targets: got none, need .*open the stream with window=Window\(1, 1\)"):
        objective(whole.domain, ("u",), whole.targets)
    with pytest.raises(ValueError, match=r"^inputs: got none, need at least one variable"):
        objective(LINE, (), ("u",))


def test_a_sample_whose_truth_is_wholly_bad_does_not_count():
    domain = Domain.box((1.0,), (6,), "periodic")
    generator = torch.Generator().manual_seed(0)
    a, u = (torch.randn(3, 1, 6, generator=generator) for _ in range(2))
    good = torch.ones(3, 1, 6, dtype=torch.bool)
    good[1] = False
    model = torch.nn.Conv1d(1, 1, 1)
    for objective in (RelativeL2(domain, ("a",), ("u",)), RelativeH1(domain, ("a",), ("u",))):
        masked = objective(model, {"a": a, "u": torch.where(good, u, 0), "u_mask": good})
        rest = objective(model, {"a": a[[0, 2]], "u": u[[0, 2]]})
        assert torch.equal(masked, rest)
        assert torch.autograd.grad(masked, model.weight)[0].isfinite().all()
