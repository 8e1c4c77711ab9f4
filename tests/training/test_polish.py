import pytest
import torch
from torch import nn

from sciml.training.polish import polish


def squared(model, batch):
    return (model(batch["x"]) - batch["y"]).square().mean()


def test_a_quadratic_is_solved_to_rounding_from_float32():
    torch.manual_seed(0)
    x = torch.randn(50, 6, dtype=torch.float64) * torch.logspace(0, 2, 6, dtype=torch.float64)
    batch = {"x": x, "y": x @ torch.arange(6.0, dtype=torch.float64)[:, None] + 2}
    model = nn.Linear(6, 1)
    done = polish(model, squared, batch, evaluations=300)
    assert model.weight.dtype == torch.float64
    assert done.last < 1e-18 * done.first
    assert done.last == float(squared(model, batch).detach())
    assert done.evaluations <= 301


def test_a_batch_in_single_precision_or_no_finite_start_is_named():
    with pytest.raises(ValueError, match=r"variable x: got torch\.float32, need float64"):
        polish(nn.Linear(1, 1), squared, {"x": torch.zeros(2, 1), "y": torch.zeros(2, 1)}, evaluations=3)
    bad = {"x": torch.full((2, 1), torch.inf, dtype=torch.float64), "y": torch.zeros(2, 1, dtype=torch.float64)}
    with pytest.raises(ValueError, match=r"objective: got (nan|inf) at the start"):
        polish(nn.Linear(1, 1), squared, bad, evaluations=3)
