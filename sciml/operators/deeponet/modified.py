"""The DeepONet whose branch and trunk are mixed in every layer (Wang, Wang & Perdikaris, J. Sci. Comput. 92 (2022) 35).

    U = φ(W_U u + b_U),  V = φ(W_V y + b_V),
    u_{l+1} = B_l U + (1 - B_l) V,  B_l = φ(W_l u_l + b_l),  and the same of y,

and the answer is the product of the last layers. What it costs: branch and trunk depend on both u and y, so nothing is a sum of
products any more. Every layer is worked through for every pair of function and point, where the others need functions plus
points; losses without predictions and derivatives of the basis alone do not exist. It is meant for training by equations at a
few thousand pairs a step.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from sciml.operators.deeponet.factorised import check_layout
from sciml.operators.deeponet.networks import MLP, Activation, act


class ModifiedDeepONet(nn.Module):
    """That operator; call it as a `DeepONet`, in any layout.

    Args:
        sensors, coordinates: numbers of u and of y.
        width: of all layers.
        depth: mixed layers.
        channels: outputs per point, each with `width` terms.
    Raises:
        ValueError: no layer.
    """

    def __init__(
        self,
        sensors: int,
        coordinates: int,
        width: int = 100,
        depth: int = 4,
        channels: int = 1,
        activation: Activation = "tanh",
    ) -> None:
        super().__init__()
        if depth < 1 or channels < 1:
            raise ValueError(f"depth, channels: got {depth}, {channels}, need at least one of each")
        self.sensors, self.coordinates, self.width, self.depth = sensors, coordinates, width, depth
        self.activation: Activation = activation
        self.channels = channels
        self.of_function = MLP((sensors, width), activation, last_activation=True)
        self.of_point = MLP((coordinates, width), activation, last_activation=True)
        widths = list(pairwise((sensors, *[width] * depth))), list(pairwise((coordinates, *[width] * depth)))
        self.branch, self.trunk = (nn.ModuleList(MLP(w, activation) for w in side) for side in widths)
        self.last_of_function = MLP((width, channels * width), activation)
        self.last_of_point = MLP((width, channels * width), activation)

    def forward(
        self,
        u: Float[Tensor, "function *numbers"],
        y: Float[Tensor, "*points coordinate"],
        function_index: Integer[Tensor, "row"] | None = None,
    ) -> Float[Tensor, "*answers channel"]:
        """The answers at points, in the layouts of `Factorised.forward`."""
        u = u.flatten(1)
        function_index = None if function_index is None else function_index.long()  # bytes would be read as a mask
        check_layout(y, len(u), function_index)
        if function_index is not None:
            u = u[function_index]
        else:
            u, y = u[:, None], y if y.ndim == 3 else y[None]
        gate, other = self.of_function(u), self.of_point(y)
        gap = gate - other
        for branch, trunk in zip(self.branch, self.trunk, strict=True):
            # B U + (1 - B) V
            u, y = (
                torch.addcmul(other, act(self.activation, branch(u)), gap),
                torch.addcmul(other, act(self.activation, trunk(y)), gap),
            )
        products = self.last_of_function(u) * self.last_of_point(y)
        return products.unflatten(-1, (self.channels, self.width)).sum(-1)


__all__ = ["ModifiedDeepONet"]
