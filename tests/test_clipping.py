"""The gradient's norm and clipping, beside torch's own."""

import math

import pytest
import torch
from torch import Tensor

from unrolled.training.clipping import ROW, clip, is_clipped


def gradients_of(seed: int, scale: float = 1.0) -> dict[str, list[Tensor]]:
    torch.manual_seed(seed)
    groups: dict[str, list[Tensor]] = {"embedding": [torch.zeros(9, 4)], "head": [torch.zeros(3), torch.zeros(2, 2)]}
    for parameter in (parameter for group in groups.values() for parameter in group):
        parameter.grad = torch.randn(parameter.shape) * scale
    return groups


@pytest.mark.parametrize("clip_norm", [1e-3, 0.25, 5.0, 1e6])
def test_clip_scales_as_torchs_own(clip_norm: float) -> None:
    ours, theirs = gradients_of(1), gradients_of(1)
    norms = clip(ours, clip_norm)
    flat = [parameter for group in theirs.values() for parameter in group]
    before = torch.nn.utils.clip_grad_norm_(flat, clip_norm).item()
    assert norms.before == pytest.approx(before, rel=1e-6)
    after = torch.cat([parameter.grad.flatten() for parameter in flat]).norm().item()
    assert norms.after == pytest.approx(after, rel=1e-5)
    for mine, other in zip((p for group in ours.values() for p in group), flat, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-6, atol=0)


def test_measuring_alone_changes_nothing_and_reports_each_group() -> None:
    groups = gradients_of(2)
    kept = {name: [parameter.grad.clone() for parameter in group] for name, group in groups.items()}
    norms = clip(groups, None)
    for name, group in groups.items():
        assert all(torch.equal(parameter.grad, copy) for parameter, copy in zip(group, kept[name], strict=True))
        flat = torch.cat([copy.flatten() for copy in kept[name]])
        assert norms.groups[name] == pytest.approx(flat.norm().item(), rel=1e-6)
    assert norms.before == norms.after == pytest.approx(math.hypot(*norms.groups.values()), rel=1e-12)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_norm_that_is_not_finite_leaves_the_gradients_alone(poison: float) -> None:
    groups = gradients_of(3)
    groups["head"][0].grad[1] = poison
    kept = groups["embedding"][0].grad.clone()
    norms = clip(groups, 0.25)
    assert not math.isfinite(norms.before)
    assert not math.isfinite(norms.after)
    assert math.isfinite(norms.groups["embedding"])
    assert torch.equal(groups["embedding"][0].grad, kept)


@pytest.mark.parametrize("clip_norm", [0, 0.0, -1.0, math.nan])
def test_a_threshold_that_would_zero_the_gradient_is_an_error(clip_norm: float) -> None:
    with pytest.raises(ValueError, match=f"clip_norm.*{clip_norm}"):
        clip(gradients_of(4), clip_norm)


def test_a_norm_whose_square_overflows_float32_is_measured_and_clipped() -> None:
    parameter = torch.zeros(4, requires_grad=True)
    parameter.grad = torch.full((4,), 1e25)
    assert clip({"head": [parameter]}, 0.5).before == pytest.approx(2e25, rel=1e-6)
    assert parameter.grad.tolist() == pytest.approx([0.25] * 4, rel=1e-5)


def test_clip_measures_and_scales_sparse_gradients_as_dense_ones() -> None:
    weights = [torch.arange(12.0).view(4, 3).requires_grad_() for _ in range(2)]
    for weight, sparse in zip(weights, (True, False), strict=True):
        torch.nn.functional.embedding(torch.tensor([1, 3, 1]), weight, sparse=sparse).square().sum().backward()
    sparse, dense = (clip({"embedding": [weight]}, 0.5) for weight in weights)
    assert sparse.before == pytest.approx(dense.before, rel=1e-6)
    torch.testing.assert_close(weights[0].grad.to_dense(), weights[1].grad)


def test_clip_skips_parameters_without_gradient_and_refuses_a_shared_one() -> None:
    parameter = torch.zeros(2)
    assert clip({"head": [parameter]}, 1.0) == (0.0, 0.0, {"head": 0.0})
    with pytest.raises(ValueError, match="two groups"):
        clip({"embedding": [parameter], "head": [parameter]}, 1.0)


@pytest.mark.parametrize("size", [0, 1, ROW - 1, ROW, ROW + 1, 3 * ROW, 5 * ROW + 7])
@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e25])
def test_a_norm_is_that_of_double_precision_at_any_size_and_scale(size: int, scale: float) -> None:
    parameter = torch.zeros(size)
    parameter.grad = torch.randn(size, generator=torch.Generator().manual_seed(size)) * scale
    expected = parameter.grad.double().norm().item()
    assert clip({"head": [parameter]}, None).before == pytest.approx(expected, rel=1e-6)


def test_the_norm_does_not_depend_on_the_threads() -> None:
    parameter = torch.zeros(50 * ROW + 3)
    parameter.grad = torch.randn(len(parameter), generator=torch.Generator().manual_seed(1))
    before, threads = [], torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            before.append(clip({"head": [parameter]}, None).before)
    finally:
        torch.set_num_threads(threads)
    assert len(set(before)) == 1


@pytest.mark.parametrize("clip_norm", [None, 0.25])
def test_the_steps_called_clipped_are_those_whose_gradient_was_scaled_down(clip_norm: float | None) -> None:
    norms = []
    for norm in (0.0, 0.1, 0.25, 0.26, 0.3, 1e20, math.inf, math.nan):
        parameter = torch.zeros(1)
        parameter.grad = torch.tensor([norm])
        norms.append(clip({"all": [parameter]}, clip_norm))
    shortened = [each.after < each.before * (1 - 1e-5) for each in norms]  # by more than the 1e-6 beside the norm
    assert is_clipped([each.before for each in norms], clip_norm).tolist() == shortened
    assert any(shortened) == (clip_norm is not None)
