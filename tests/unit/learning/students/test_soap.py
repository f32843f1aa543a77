"""SOAP: Adam in a turned basis, where correlated inputs do not slow it down."""

import math

import pytest
import torch

from lycb_flows.learning.students.soap import Soap


def loss_after(make_optimizer, shape, updates=200):
    """Fit a matrix to another one on inputs whose sizes along their axes differ by a thousand."""
    generator = torch.Generator().manual_seed(1)
    n = 12
    turn = torch.linalg.qr(torch.randn(n, n, generator=generator)).Q
    inputs = torch.randn(400, n, generator=generator) * torch.logspace(0, -3, n) @ turn.T
    outputs = inputs @ torch.randn(n, n, generator=generator)
    weights = torch.nn.Parameter(torch.zeros(shape))
    optimizer = make_optimizer([weights])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    for _ in range(updates):
        matrix = weights.flatten()[: n * n].view(n, n)
        loss = ((inputs @ matrix.T - outputs) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return loss.item()


@pytest.mark.parametrize("shape", [(1, 12, 12), (12, 12, 1, 1)])
def test_correlated_inputs_cost_a_matrix_few_updates(shape):
    by_adam = loss_after(lambda p: torch.optim.Adam(p, lr=0.3, betas=(0.95, 0.99)), shape)
    assert loss_after(lambda p: Soap(p, lr=0.3, weight_decay=0.0), shape) < by_adam / 5


def test_rows_have_the_step_of_adam():
    ours = loss_after(lambda p: Soap(p, lr=0.3, weight_decay=0.0), (1, 144))
    theirs = loss_after(lambda p: torch.optim.Adam(p, lr=0.3, betas=(0.95, 0.99)), (1, 144))
    assert math.isclose(ours, theirs, rel_tol=0.02)
