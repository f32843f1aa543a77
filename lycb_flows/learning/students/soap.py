"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner (Vyas et al., arXiv:2409.11321).

Descriptors are strongly correlated, so that Adam, which scales each weight by itself, advances
slowly. With G a matrix of derivatives, L and R running means of G G^T and G^T G, and Q_L, Q_R
their eigenvectors, the step is Adam's on Q_L^T G Q_R, turned back. A rotation follows its matrix
by one step of orthogonal iteration every few updates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

_MOMENTUM, _SQUARES, _PRODUCTS = 0.95, 0.99, 0.95
_EVERY = 10  # updates between two steps of the rotations
_TINY = 1e-8
_MATRICES = (3, 4)  # dimensions of what is turned; rows have Adam's own step


class Soap(torch.optim.Optimizer):
    """The optimizer of a NEP's numbers.

    Parameters
    ----------
    parameters
        Shape (..., a, b): a batch of matrices; (n, k, s, t): a matrix (n, k) for each pair of
        species; or (s, n): rows, which are not turned.
    lr
        Learning rate.
    weight_decay
        Share of a number, times the learning rate, that an update takes away.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take a step along the parameters' gradients."""
        del closure
        for group in self.param_groups:
            for parameter in group["params"]:
                change = _matrices(_change(_matrices(parameter.grad), self.state[parameter]))
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.sub_(group["lr"] * change)


def _matrices(values: Tensor) -> Tensor:
    """Return (n, k, s, t) as (s, t, n, k), which is its own inverse; others as they are."""
    return values.permute(2, 3, 0, 1) if values.dim() == 4 else values  # noqa: PLR2004


def _change(gradient: Tensor, state: dict[str, Any]) -> Tensor:
    """Return the step before the learning rate, and keep what the next one needs."""
    if not state:
        state.update(updates=0, mean=torch.zeros_like(gradient), squares=torch.zeros_like(gradient))
    state["updates"] += 1
    if gradient.dim() in _MATRICES:
        _turn(gradient, state)
    state["mean"].lerp_(gradient, 1 - _MOMENTUM)
    turned = _into(gradient, state)
    state["squares"].lerp_(turned * turned, 1 - _SQUARES)
    mean = _into(state["mean"], state) / (1 - _MOMENTUM ** state["updates"])
    squares = state["squares"] / (1 - _SQUARES ** state["updates"])
    change: Tensor = mean / (squares.sqrt() + _TINY)
    if "left" in state:
        change = state["left"] @ change @ state["right"].mT
    return change


def _into(matrices: Tensor, state: dict[str, Any]) -> Tensor:
    return state["left"].mT @ matrices @ state["right"] if "left" in state else matrices


def _turn(gradient: Tensor, state: dict[str, Any]) -> None:
    """Follow the eigenvectors of both products; the squares go with the vectors' order."""
    for side, product, axis in (
        ("left", gradient @ gradient.mT, -2),
        ("right", gradient.mT @ gradient, -1),
    ):
        name = f"{side} products"
        if side not in state:
            state[name] = (1 - _PRODUCTS) * product
            state[side] = torch.linalg.eigh(product).eigenvectors
            continue
        state[name].lerp_(product, 1 - _PRODUCTS)
        if state["updates"] % _EVERY == 0:
            moved = state[name] @ state[side]
            order = (state[side] * moved).sum(-2).argsort(-1, descending=True)
            state[side] = torch.linalg.qr(_ordered(moved, order, -1)).Q
            state["squares"] = _ordered(state["squares"], order, axis)


def _ordered(values: Tensor, order: Tensor, axis: int) -> Tensor:
    index = order.unsqueeze(-1 if axis == -2 else -2)  # noqa: PLR2004 - rows or columns
    return values.gather(axis, index.expand_as(values))
