"""Helmholtz on 100 x 100 elements: one solve against scipy's sparse LU, and the published samples solved again.

python benchmarks/helmholtz.py [--quick] [--device cuda] [--published FOLDER] [--out docs/results/helmholtz.json]

FOLDER holds, at any depth, pairs NAME_input_save.npy and NAME_output_save.npy of Helmholtz/nn in the repository
Zhengyu-Huang/Operator-Learning: three wave speeds at the nodes, and in the first three channels of the output their answers.
They have no licence and do not come with this package. One thread.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

import numpy as np
import scipy.sparse
import torch
from _report import Figure, print_table, report, seconds
from scipy.sparse.linalg import splu
from torch import Tensor

from sciml.numerics.domain import Domain
from sciml.numerics.finite_elements import ElementMatrix
from sciml.numerics.random_fields import Seeds
from sciml.problems.helmholtz import Helmholtz
from sciml.problems.problem import relative_distance

SEED, BLOCK = 20261201, 20

problem = Helmholtz()
square = Domain.box((1.0, 1.0), (101, 101), "neumann")


def sparse(matrix: ElementMatrix) -> scipy.sparse.csc_matrix:
    """The matrix of the first sample, nodes row by row."""
    rows, columns = matrix.centre.shape[1:]
    node = np.arange(rows * columns).reshape(rows, columns)
    links = [
        (matrix.down, node[:-1], node[1:]),
        (matrix.right, node[:, :-1], node[:, 1:]),
        (matrix.cross, node[:-1, :-1], node[1:, 1:]),
        (matrix.cross, node[:-1, 1:], node[1:, :-1]),
    ]
    values = np.concatenate(
        [matrix.centre[0].numpy().ravel(), *[part[0].numpy().ravel() for part, _, _ in links for _ in (0, 1)]]
    )
    first = np.concatenate([node.ravel(), *[n.ravel() for _, a, b in links for n in (a, b)]])
    second = np.concatenate([node.ravel(), *[n.ravel() for _, a, b in links for n in (b, a)]])
    return scipy.sparse.csc_matrix((values, (first, second)))


def one_solve(device: str, quick: bool) -> list[Figure]:
    """Time per sample in a block and alone, assembly included; splu is given the matrix."""
    given = problem.draw(square, Seeds(SEED, range(BLOCK)))
    moved = {"c": given["c"].to(device)}
    block, alone = ({"c": moved["c"][:n]} for n in (BLOCK, 1))
    repeats = 1 if quick else 5
    ours = seconds(partial(problem.solve, block, square), repeats) / BLOCK
    single = seconds(partial(problem.solve, alone, square), repeats)
    matrix, load = problem.system(given["c"][:1, 0], square)
    system, right = sparse(matrix), load.numpy().ravel()
    theirs = seconds(lambda: splu(system).solve(right), repeats)
    expected = torch.from_numpy(splu(system).solve(right)).view(1, 1, 101, 101)
    answer = {name: u.cpu() for name, u in problem.solve(alone, square).items()}
    print("One solve in milliseconds, one thread")
    print_table(
        (f"ours, {BLOCK} together", "ours, alone", "splu", "difference"),
        [[f"{t * 1e3:.0f}" for t in (ours, single, theirs)] + [f"{float(relative_distance(answer['u'], expected)):.0e}"]],
    )
    return [Figure("seconds per Helmholtz solve on 100 x 100 elements", ours, 0.2, f"scipy splu {theirs:.3f} s", device)]


def read_published(folder: Path) -> tuple[Tensor, Tensor]:
    """Wave speeds and answers, (sample, 1, 101, 101), each sample once."""
    found = {}
    for inputs in sorted(folder.rglob("*_input_save.npy")):
        outputs = inputs.with_name(inputs.name.replace("_input_", "_output_"))
        for c, u in zip(*(np.moveaxis(np.load(file)[..., :3], 2, 0) for file in (inputs, outputs)), strict=True):
            found[c.tobytes()] = (c, u)
    if not found:
        raise SystemExit(f"{folder}: holds no *_input_save.npy")
    c, u = (torch.from_numpy(np.stack(fields))[:, None] for fields in zip(*found.values(), strict=True))
    return c, u


def published(folder: Path, device: str) -> list[Figure]:
    """How far the published answers are from ours."""
    c, u = read_published(folder)
    gaps = torch.cat(
        [
            relative_distance(problem.solve({"c": some.to(device)}, square)["u"].cpu(), v)
            for some, v in zip(c.split(BLOCK), u.split(BLOCK), strict=True)
        ]
    )
    print("Published samples solved again, relative L2 difference")
    print_table(("samples", "median", "largest"), [[str(len(gaps)), f"{float(gaps.median()):.0e}", f"{float(gaps.max()):.0e}"]])
    return [
        Figure(f"relative L2 difference of the published answers, largest of {len(gaps)}", float(gaps.max()), 1e-3, "", device)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one repeat, a few seconds")
    parser.add_argument("--device", default="cpu", help="where our solves run")
    parser.add_argument("--published", type=Path, help="folder with the published samples")
    parser.add_argument("--out", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    torch.set_num_threads(1)
    figures = one_solve(given.device, given.quick)
    if given.published is not None:
        figures += published(given.published, given.device)
    return report(figures, "helmholtz", given.out, seed=SEED)


if __name__ == "__main__":
    sys.exit(main())
