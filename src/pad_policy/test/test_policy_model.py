"""Kp-RDT: what must not matter does not matter, and what is lost is not looked at."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pad_policy.config import SIZES
from pad_policy.errors import ConfigError
from pad_policy.model import KpRdt, PlainMlp, PolicyNetwork, make_network
from pad_policy.muon import Muon, orthogonalise
from pad_policy.objective import Ddpm, FlowMatching, Regression, make_objective
from pad_policy.observation import InputLayout
from pad_policy.onnx_export import TOLERANCE, example_inputs, export

LAYOUT = InputLayout(keypoints=11, history=3, features=9, proprioception=60, horizon=8, groups=4)
PROPERTY = settings(derandomize=True, max_examples=25, deadline=None)
GROUPS = [0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3]


@pytest.fixture(scope="module")
def model() -> KpRdt:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = KpRdt(LAYOUT, "tiny", GROUPS).eval()
        torch.nn.init.normal_(model.head[-1].weight, std=0.1)  # its zeros would make every test pass
    return model


@pytest.fixture(scope="module")
def plain() -> PlainMlp:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = PlainMlp(LAYOUT, "tiny").eval()
        torch.nn.init.normal_(plain.head.weight, std=0.1)
    return plain


def answer(model: PolicyNetwork, inputs: list[np.ndarray]) -> np.ndarray:
    with torch.no_grad():
        return model(*(torch.from_numpy(x) for x in inputs)).numpy()


@st.composite
def orders_within_groups(draw: st.DrawFn) -> list[int]:
    """Exchanges of points that stay in their group."""
    members = ([i for i, g in enumerate(GROUPS) if g == group] for group in sorted(set(GROUPS)))
    return [i for mine in members for i in draw(st.permutations(mine))]


@PROPERTY
@given(order=orders_within_groups(), seed=st.integers(0, 2**32 - 1))
def test_order_within_a_group_does_not_matter(model: KpRdt, order: list[int], seed: int) -> None:
    inputs = example_inputs(model, 2, np.random.default_rng(seed))
    shuffled = answer(model, [inputs[0][:, order], inputs[1][:, order], *inputs[2:]])
    np.testing.assert_allclose(shuffled, answer(model, inputs), atol=1e-5)


def test_the_group_of_a_point_matters(model: KpRdt) -> None:
    inputs = example_inputs(model, 2, np.random.default_rng(1))
    across = [8, *range(1, 8), 0, 9, 10]
    changed = answer(model, [inputs[0][:, across], inputs[1][:, across], *inputs[2:]])
    assert np.abs(changed - answer(model, inputs)).max() > 1e-3


@PROPERTY
@given(seed=st.integers(0, 2**32 - 1), size=st.floats(-1e3, 1e3))
@pytest.mark.parametrize("network", ["kp_rdt", "mlp"])
def test_lost_points_are_not_looked_at(model: KpRdt, plain: PlainMlp, network: str, seed: int, size: float) -> None:
    chosen = model if network == "kp_rdt" else plain
    rng = np.random.default_rng(seed)
    inputs = example_inputs(chosen, 2, rng)
    lost = (1 - inputs[1][..., None]) * size * rng.standard_normal(inputs[0].shape, dtype=np.float32)
    moved = (inputs[0] + lost).astype(np.float32)
    np.testing.assert_array_equal(answer(chosen, [moved, *inputs[1:]]), answer(chosen, inputs))
    kept = inputs[1].copy()
    kept[:, 1] = 1.0 - kept[:, 1]  # that a point is lost says something, unlike where it was
    assert np.abs(answer(chosen, [inputs[0], kept, *inputs[2:]]) - answer(chosen, inputs)).max() > 1e-6


def test_a_point_lost_throughout_is_as_if_absent(model: KpRdt) -> None:
    inputs = example_inputs(model, 1, np.random.default_rng(3))
    inputs[1][:, 4] = 0.0
    with torch.random.fork_rng():
        smaller = KpRdt(InputLayout(10, 3, 9, 60, 8, 4), "tiny", GROUPS[:4] + GROUPS[5:])
    smaller.load_state_dict(model.state_dict())
    keep = [i for i in range(11) if i != 4]
    without = answer(smaller.eval(), [inputs[0][:, keep], inputs[1][:, keep], *inputs[2:]])
    np.testing.assert_allclose(answer(model, inputs), without, atol=1e-5)


def test_nothing_visible_is_defined(model: KpRdt) -> None:
    inputs = example_inputs(model, 1, np.random.default_rng(4))
    inputs[1][:] = 0.0
    assert np.all(np.isfinite(answer(model, inputs)))


@pytest.mark.parametrize(("network", "size"), [*(("kp_rdt", size) for size in SIZES), ("mlp", "tiny")])
def test_export_answers_the_same(network: str, size: str, tmp_path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        other = make_network(network, LAYOUT, size, GROUPS)
        torch.nn.init.normal_(list(other.parameters())[-2], std=0.1)  # the last layer's weights start at zero
    assert export(other, tmp_path / "model.onnx") <= TOLERANCE


@pytest.mark.parametrize("objective", [FlowMatching(), Ddpm(), Regression()])
def test_a_perfect_network_recovers_the_data(objective) -> None:
    rng = np.random.default_rng(0)
    clean = rng.standard_normal((3, 8, 20)).astype(np.float32)
    noise = rng.standard_normal(clean.shape).astype(np.float32)
    for steps in (1, 4, 10):
        sampled = objective.sample(lambda x, times: clean, noise, steps)
        np.testing.assert_allclose(sampled, clean, atol=1e-5)


@pytest.mark.parametrize("objective", [FlowMatching(), Ddpm(), Regression()])
def test_corruption_is_the_same_in_numpy_and_torch(objective) -> None:
    rng = np.random.default_rng(0)
    clean, noise = (rng.standard_normal((4, 8, 20)).astype(np.float32) for _ in range(2))
    times = objective.draw_times(4, rng)
    assert np.all((times >= 0) & (times <= 1))
    mixed, target = objective.corrupt(clean, noise, times)
    mixed_torch, target_torch = objective.corrupt(torch.from_numpy(clean), torch.from_numpy(noise), times)
    np.testing.assert_allclose(mixed_torch.numpy(), mixed, atol=1e-6)
    np.testing.assert_allclose(target_torch.numpy(), target, atol=1e-6)


def test_unknown_objective_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="flow_matching, ddpm, regression"):
        make_objective("gan")


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 16, 8), (3, 8, 16)])
def test_muon_steps_are_nearly_orthogonal(shape: tuple[int, ...]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    answer = orthogonalise(matrices)
    values = torch.linalg.svdvals(answer)
    assert values.min() > 0.6 and values.max() < 1.3
    # The singular vectors stay: in their basis the answer is diagonal.
    inner = left.mT @ answer @ right.mT
    assert (inner - torch.diag_embed(torch.diagonal(inner, dim1=-2, dim2=-1))).abs().max() < 1e-3


def test_muon_descends_and_refuses_vectors() -> None:
    target = torch.randn((6, 4), generator=torch.Generator().manual_seed(0))
    weight = torch.nn.Parameter(torch.zeros(6, 4))
    optimiser = Muon([weight], lr=0.1, weight_decay=0.0)
    start = float(target.square().sum())
    for step in range(80):
        optimiser.param_groups[0]["lr"] = 0.1 * (1 - step / 80)
        optimiser.zero_grad()
        (weight - target).square().sum().backward()
        optimiser.step()
    assert float((weight - target).detach().square().sum()) < 0.05 * start
    with pytest.raises(ValueError, match="matrices"):
        Muon([torch.nn.Parameter(torch.zeros(3))], lr=0.1)
