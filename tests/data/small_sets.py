"""Sets of a few samples whose values are known by formula: a = sample + x, u = 100 sample + 10 x + y (x, y on a 4 x 3 grid)."""

from pathlib import Path

import torch

from sciml.data.variables import VariableInfo
from sciml.data.writer import ShardWriter
from sciml.numerics.domain import Domain

DOMAIN = Domain.box((3.0, 2.0), (4, 3), "dirichlet")
VARIABLES = (
    VariableInfo("a", "coefficient", "m", "permeability", (1, 4, 3), torch.float32),
    VariableInfo("u", "target", "Pa", "pressure", (1, 4, 3), torch.float32),
)


def values_of(samples):
    number = torch.as_tensor(list(samples), dtype=torch.float64).view(-1, 1, 1, 1)
    x, y = DOMAIN.mesh()
    return {"a": number + x, "u": 100 * number + 10 * x + y}


def write_shard(path: Path, samples: range, *, attributes=None, values=None, variables=VARIABLES, domain=DOMAIN, card=None):
    with ShardWriter(path, variables, samples, domain, attributes or {"seed": 3}) as shard:
        shard.append(values or values_of(samples))
        place = {key: value for key, value in (attributes or {}).items() if key in ("shard", "shards", "split")}
        about = {"card": card or {}, "code_version": "0", "residual": 0.0, "residuals": [0.0] * len(samples)}
        return shard.finish(about | place)


def write_set(folder: Path, sizes=(5, 5, 3), first=0, split="train", card=None) -> Path:
    """A folder of shards."""
    start = first
    for number, size in enumerate(sizes):
        about = {"shard": number, "shards": len(sizes), "split": split}
        write_shard(folder / f"shard-{number:05d}.h5", range(start, start + size), attributes=about, card=card)
        start += size
    return folder
