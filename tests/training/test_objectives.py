import pytest
import torch
from torch import nn

from sciml.metrics.fields import relative_h1, relative_h1_spectral, relative_l2
from sciml.numerics.domain import Domain
from sciml.training.objectives import RelativeH1, RelativeH1Spectral, RelativeL2, joined

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


def test_a_variable_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="variable b: not in the batch, which has a, f, u, p"):
        joined(BATCH, ("a", "b"))
