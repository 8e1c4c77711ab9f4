"""Numbers of a module that are not trained and lose no digits."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


class Fixed(nn.Module):
    """A module whose own buffers keep their precision: `.float()` and the like convert its weights, not them.

    A model that was float32 for a while and is float64 again has the same fixed numbers as before, not those of float32. Where
    they are used they are cast to what they meet; to another device they move with the rest.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Fixed:
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, values in before.items():
            after = self._buffers[name]
            if values is not None and after is not None:
                self._buffers[name] = values.to(after.device)
        return self


__all__ = ["Fixed"]
