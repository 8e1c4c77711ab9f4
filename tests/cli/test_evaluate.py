"""`sciml evaluate` on sets that hold the variables in another order than the checkpoint."""

import h5py
import pytest
import torch
from torch import nn

from sciml.cli.models import run_evaluate
from sciml.data.set import open_set
from sciml.data.variables import VariableInfo
from sciml.data.writer import ShardWriter
from sciml.numerics.domain import Domain
from sciml.operators.mgno import MgNO
from sciml.training.baselines import LinearMap
from sciml.training.checkpoint import Field, save

DOMAIN = Domain.box((1.0, 1.0), (8, 8), "periodic")


def write_set(path, roles):
    """Each variable from its name alone, whatever the order; u = 1.1 a - 0.5 b."""
    fields = {n: torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(ord(n)), dtype=torch.float64) for n in "abc"}
    fields["u"] = 1.1 * fields["a"] - 0.5 * fields["b"]
    infos = [VariableInfo(name, role, "1", name, (1, 8, 8), torch.float64) for name, role in roles.items()]
    with ShardWriter(path, infos, range(5), DOMAIN, {}) as shard:
        shard.append({name: fields[name] for name in roles})
        shard.finish({})
    return path


@pytest.fixture
def checkpoint(tmp_path):
    """u = a - 0.5 b, the channels in this order."""
    left = torch.cat([torch.eye(64), -0.5 * torch.eye(64)])
    model: nn.Module = LinearMap(left, None, torch.zeros(1, 8, 8), (2, 8, 8))
    save(tmp_path / "m.pt", model, domain=DOMAIN, inputs=[Field("a"), Field("b")], targets=[Field("u")])
    return tmp_path / "m.pt"


def test_the_order_of_the_set_and_what_else_it_holds_change_no_error(checkpoint, tmp_path, capsys):
    printed = []
    for number, names in enumerate(("abu", "bau", "cbua")):
        roles = {name: "target" if name == "u" else "input" for name in names}
        run_evaluate(checkpoint, write_set(tmp_path / f"{number}.h5", roles), 2, "cpu")
        (line,) = [line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("m ")]
        printed.append(line.split()[:-1])  # the last is the time
    assert printed[0] == printed[1] == printed[2]


def test_a_set_in_which_an_input_is_a_target_is_refused(checkpoint, tmp_path):
    path = write_set(tmp_path / "test.h5", {"a": "input", "b": "target", "u": "target"})
    with pytest.raises(ValueError, match="variable b: is an input of the model and a target of the set"):
        run_evaluate(checkpoint, path, 2, "cpu")


def test_a_model_in_double_precision_is_given_doubles(tmp_path, capsys):
    path = write_set(tmp_path / "test.h5", {"a": "input", "u": "target"})
    model = MgNO(1, 1, width=2, layers=1, domain=DOMAIN, smoothing=((1, 0),)).double()
    save(tmp_path / "m.pt", model, domain=DOMAIN, inputs=[Field("a")], targets=[Field("u")])
    run_evaluate(tmp_path / "m.pt", path, 2, "cpu")
    assert "m " in capsys.readouterr().out


def test_a_file_with_a_mapping_is_a_set_like_any_other(tmp_path, capsys):
    ours = open_set(write_set(tmp_path / "ours.h5", {"a": "input", "b": "input", "u": "target"}))
    mapping = ""
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        for name, info in ours.variables.items():
            file[f"deep/{name}"] = ours.read(name, slice(None)).squeeze(1).numpy()
            mapping += f'[{name}]\narray = "deep/{name}"\naxes = ["sample", "x", "y"]\nrole = "{info.role}"\n'
    (tmp_path / "map.toml").write_text(mapping)
    made_up = open_set(tmp_path / "mine.h5", mapping=tmp_path / "map.toml").domain
    left = torch.cat([torch.eye(64), -0.5 * torch.eye(64)])
    printed = []
    for path, domain, mapped in ((ours.path, DOMAIN, None), (tmp_path / "mine.h5", made_up, tmp_path / "map.toml")):
        model: nn.Module = LinearMap(left, None, torch.zeros(1, 8, 8), (2, 8, 8))
        save(tmp_path / "m.pt", model, domain=domain, inputs=[Field("a"), Field("b")], targets=[Field("u")])
        run_evaluate(tmp_path / "m.pt", path, 2, "cpu", mapping=mapped)
        (line,) = [line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("m ")]
        printed.append(line.split()[1])  # the relative error, which no grid changes
    assert printed[0] == printed[1]
