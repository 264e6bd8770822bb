"""CR-MOGM: TorchJD's average of the inner method's weights."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from assertions import answer
from families import jacobian, jacobians, losses_of
from torchjd import aggregation as torchjd

from mtlbench import UsageError, get_method


@pytest.mark.parametrize("inner", ["mgda", "cagrad", "excess-mtl", "log-mgda", "modo", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.5, 0.9])
def test_cr_mogm_is_torchjds_average_of_the_inner_methods_weights(inner: str, smoothing: float) -> None:
    class Constant(torchjd.Weighting[Any]):
        def forward(self, stat: Any, /) -> torch.Tensor:
            return cast(torch.Tensor, stat)

    ours, plain = get_method(f"cr-mogm-{inner}", smoothing=smoothing), get_method(inner)
    theirs = torchjd.CRMOGMWeighting(Constant(), alpha=smoothing)
    for step, rows in enumerate(jacobians(13, 4, 9)):
        losses, cross = losses_of(step, 4), rows @ jacobian(step, 4, 9).T
        wanted = theirs(torch.from_numpy(answer(plain, torch.from_numpy(rows), losses, cross))).numpy()
        assert answer(ours, torch.from_numpy(rows), losses, cross) == pytest.approx(wanted, rel=1e-12)


def test_cr_mogm_drops_what_averages_lose() -> None:
    assert get_method("cr-mogm-mgda").properties == {"homogeneous"}
    assert get_method("cr-mogm-mgda").state == "K" and get_method("cr-mogm-excess-mtl").state == "K × P"
    assert get_method("cr-mogm-excess-mtl").heads == "weighted" and get_method("cr-mogm-log-mgda").heads == "log"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("cr-mogm-graddrop", "graddrop gives no weights"),
        ("cr-mogm-stl", "stl gives no weights"),
        ("cr-mogm-cr-mogm-mgda", "smoothed already"),
        ("cr-mogm-mgda[smoothing=1]", "parameter smoothing=1 should be less than 1"),
    ],
)
def test_methods_that_cannot_be_wrapped_are_refused(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        get_method(spec)
