"""The drop-in RNN, GRU and LSTM beside torch's: same arguments, forms, weights, numbers, errors."""

import copy
import io
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import unrolled

T, B, E, H = 4, 3, 3, 4
KINDS = {
    "tanh": (unrolled.RNN, nn.RNN, {"nonlinearity": "tanh"}),
    "relu": (unrolled.RNN, nn.RNN, {"nonlinearity": "relu"}),
    "gru": (unrolled.GRU, nn.GRU, {}),
    "lstm": (unrolled.LSTM, nn.LSTM, {}),
}
FORMS = ("batched", "single", "sorted", "unsorted")
PRECISIONS = [(torch.float32, 1e-5), (torch.float64, 1e-10)]
of_kinds = pytest.mark.parametrize("kind", KINDS)


def pair(kind: str, **options: Any) -> tuple[nn.RNNBase, nn.RNNBase]:
    """Ours and torch's, as either draws its weights from one seed."""
    made = []
    for module in KINDS[kind][:2]:
        torch.manual_seed(1)
        made.append(module(E, H, **KINDS[kind][2], **options))
    return made[0], made[1]


def given(module: nn.RNNBase, form: str, state: bool) -> tuple[Any, Any, list[Tensor]]:
    """An input, an initial state or None, and the tensors that they are made of; the same for each of a pair."""
    torch.manual_seed(2)
    dtype, count = module.weight_ih_l0.dtype, module.num_layers * (1 + module.bidirectional)
    leaves = [torch.randn(count, B, H, dtype=dtype) for _ in range(2)][: 1 + isinstance(module, nn.LSTM)]
    leaves = [leaf[:, 0].clone() if form == "single" else leaf for leaf in leaves]
    shape = (T, E) if form == "single" else (B, T, E) if module.batch_first else (T, B, E)
    leaves.append(torch.randn(shape, dtype=dtype))
    read = leaves[-1].requires_grad_()
    hx = tuple(leaf.requires_grad_() for leaf in leaves[:-1]) if state else None
    if form in ("sorted", "unsorted"):
        lengths = (T, 2, 1) if form == "sorted" else (2, T, 1)
        columns = read.unbind(0 if module.batch_first else 1)
        parts = [column[:length] for column, length in zip(columns, lengths, strict=True)]
        return pack_sequence(parts, enforce_sorted=form == "sorted"), hx, leaves
    return read, hx, leaves


def flat(outputs: Any) -> list[Tensor]:
    """All tensors in what a module returns, in order."""
    if isinstance(outputs, Tensor):
        return [outputs]
    return [] if outputs is None else [tensor for part in outputs for tensor in flat(part)]


def run(module: nn.RNNBase, form: str, state: bool) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs, and the gradients of inputs, initial state and weights, of a loss that every output has its part in."""
    read, hx, leaves = given(module, form, state)
    hx = hx if hx is None or isinstance(module, nn.LSTM) else hx[0]
    outputs = flat(module(read, hx))
    counted = [part for part in outputs if part.is_floating_point()]
    random = torch.Generator().manual_seed(3)
    weights = [torch.randn(part.shape, dtype=part.dtype, generator=random) for part in counted]
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    return outputs, list(torch.autograd.grad(counted, [*wanted, *module.parameters()], weights))


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@of_kinds
def test_outputs_and_gradients_are_torchs_whatever_the_arguments(
    kind: str, dtype: torch.dtype, tolerance: float
) -> None:
    """All arguments with each other; each form and state with all of them, but not in every cell and precision."""
    forms = list(product(FORMS, (True, False)))
    shift = 2 * list(KINDS).index(kind) + (dtype == torch.float64)
    for number, (layers, bias, batch_first, bidirectional) in enumerate(product((1, 2), *[(True, False)] * 3)):
        options = {"num_layers": layers, "bias": bias, "batch_first": batch_first, "bidirectional": bidirectional}
        ours, theirs = pair(kind, **options, dtype=dtype)
        form, state = forms[(number + shift) % len(forms)]
        mine, other = run(ours, form, state), run(theirs, form, state)
        torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance)


@of_kinds
def test_weights_names_and_description_are_torchs_both_ways(kind: str) -> None:
    ours, theirs = pair(kind, num_layers=2, bidirectional=True, batch_first=True, dropout=0.5)
    assert isinstance(ours, type(theirs)) and repr(ours) == repr(theirs)
    assert {name: tensor.tolist() for name, tensor in ours.state_dict().items()} == {
        name: tensor.tolist() for name, tensor in theirs.state_dict().items()
    }
    kept = io.BytesIO()
    torch.save(ours.state_dict(), kept)
    kept.seek(0)
    theirs.load_state_dict(torch.load(kept, weights_only=True))
    ours.load_state_dict(theirs.state_dict())


@of_kinds
def test_arguments_stand_in_torchs_order(kind: str) -> None:
    order = (E, H, 2, *KINDS[kind][2].values(), False, True, 0.5, True, 0, "cpu", torch.float64)
    ours, theirs = (module(*order) for module in KINDS[kind][:2])
    assert repr(ours) == repr(theirs) and ours.weight_hh_l1.dtype == torch.float64


@of_kinds
@pytest.mark.parametrize("form", FORMS)
def test_a_seed_drops_out_what_it_drops_out_of_torchs(kind: str, form: str) -> None:
    found = []
    for module in pair(kind, num_layers=3, dropout=0.5):
        read, _, _ = given(module, form, False)
        torch.manual_seed(4)
        found.append(flat(module(read)))
        assert torch.equal(module.eval()(torch.ones(T, B, E))[0], module(torch.ones(T, B, E))[0])
    torch.testing.assert_close(*found)


@of_kinds
def test_a_module_is_copied_hooked_frozen_and_written_after_as_torchs(kind: str) -> None:
    ours, theirs = pair(kind)
    inputs, seen = torch.randn(T, B, E), []
    ours.register_forward_hook(lambda module, given, outputs: seen.append(outputs[0].shape))
    outputs, _ = ours(inputs)
    outputs.mul_(2).sum().backward()  # written into, which torch's own allow but for the LSTM in float32
    assert seen == [(T, B, H)] and len(ours.profile["l0"]) == T
    again = copy.deepcopy(ours)
    assert torch.equal(again(inputs)[0], ours(inputs)[0])
    half = ours.requires_grad_(False)(inputs.requires_grad_())[0]
    theirs(inputs)[0].sum().backward()
    expected, inputs.grad = inputs.grad, None
    half.sum().backward()
    torch.testing.assert_close(inputs.grad, expected)
    with torch.no_grad():
        assert ours(inputs)[0].grad_fn is None
    moved = torch.func.functional_call(theirs, ours.state_dict(), (inputs,))[0]
    torch.testing.assert_close(torch.func.functional_call(again, ours.state_dict(), (inputs,))[0], moved)
    assert [part.shape for part in flat(ours(torch.ones(T, 0, E)))] == [
        part.shape for part in flat(theirs(torch.ones(T, 0, E)))
    ]


@of_kinds
def test_autocast_leaves_the_engine_in_the_precision_of_the_weights(kind: str) -> None:
    ours, _ = pair(kind)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, _ = ours(torch.ones(T, B, E, dtype=torch.bfloat16))
    assert torch.equal(outputs, ours(torch.ones(T, B, E))[0])


@of_kinds
@pytest.mark.parametrize("batch_first", [False, True])
def test_what_does_not_fit_is_refused_in_one_line_as_torch_does(kind: str, batch_first: bool) -> None:
    ours, theirs = pair(kind, batch_first=batch_first)
    pack = pack_sequence([torch.ones(2, E + 1), torch.ones(1, E + 1)])
    state = (torch.zeros(1, B, H + 1),) * 2 if kind == "lstm" else torch.zeros(1, B, H + 1)
    whole = torch.ones(T, B, E)
    wrong = [(whole[..., :2], None), (whole[None], None), (pack, None), (whole[:, :0, :0], None), (whole[0, 0], None)]
    wrong += [(whole.transpose(0, 1) if batch_first else whole, state), (whole.double(), None)]
    wrong += [((whole[:0].transpose(0, 1) if batch_first else whole[:0]), None)]
    for read, hx in wrong:
        for module in (ours, theirs):
            with pytest.raises((RuntimeError, ValueError)) as raised:
                module(read, hx)
            assert module is theirs or "\n" not in str(raised.value)
        with pytest.raises(raised.type):  # the same kind of error
            ours(read, hx)


MISFITS = [
    (torch.ones(T, B, E), 1.0, TypeError, "hx must be a"),
    (torch.ones(T, E), torch.zeros(1, B, H), RuntimeError, "hx should be 2-D"),
    (torch.ones(T, B, E), torch.zeros(1, B, H).double(), ValueError, "hx is torch.float64, and the weights are"),
    (torch.ones(T, B, E), torch.zeros(1, B, H, device="meta"), RuntimeError, "hx is on meta"),
    ([1.0], None, TypeError, "input must be a Tensor or a PackedSequence, not list"),
]


@of_kinds
@pytest.mark.parametrize(("read", "hx", "error", "said"), MISFITS)
def test_what_torch_tells_less_well(kind: str, read: Any, hx: Any, error: type[Exception], said: str) -> None:
    ours, _ = pair(kind)
    hx = (hx, hx) if kind == "lstm" and isinstance(hx, Tensor) else hx
    with pytest.raises(error, match=said):
        ours(read, hx)


def test_what_the_engine_does_not_do_is_refused() -> None:
    for module in (unrolled.RNN, unrolled.GRU, unrolled.LSTM):
        with pytest.raises(ValueError, match=r"proj_size must be 0, not 2: .* use torch.nn.LSTM"):
            module(E, H, proj_size=2)
    with pytest.raises(ValueError, match="on the CPU weights must be float32 or float64"):
        unrolled.GRU(E, H).bfloat16()(torch.ones(T, B, E).bfloat16())


@of_kinds
def test_a_gradient_of_a_gradient_is_refused_and_a_graph_that_nobody_uses_is_not(kind: str) -> None:
    """Of a plain sum too, whose gradient hangs on nothing: torch's own check lets that through."""
    ours, theirs = pair(kind)
    found = []
    for module in (ours, theirs):
        read, _, _ = given(module, "batched", False)
        found.append(torch.autograd.grad(module(read)[0].sum(), [read, *module.parameters()], create_graph=True))
    torch.testing.assert_close(*found)
    with pytest.raises(RuntimeError, match=r"no gradients of gradients; take torch\.nn's"):
        found[0][0].square().sum().backward()


@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.filterwarnings("ignore:.*is not supported in Python 3.14:DeprecationWarning")
@of_kinds
def test_to_be_traced_scripted_or_exported_is_refused(kind: str) -> None:
    ours, _ = pair(kind)
    inputs = torch.ones(T, B, E)
    for made in (
        lambda: torch.jit.script(nn.Sequential(ours)), lambda: torch.jit.trace(ours, inputs),
        lambda: torch.export.export(nn.Sequential(ours), (inputs,), strict=False),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match=r"nor exported; load its state_dict into torch\.nn\.\w+, which is$"):
            made()


@of_kinds
@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0", "bias_hh_l0"])
def test_a_weight_that_does_not_fit_is_refused_before_anything_reads_it(kind: str, name: str) -> None:
    """As torch does not in all of these cases: its LSTM reads beyond the end."""
    ours, _ = pair(kind)
    right = getattr(ours, name)
    for wrong, said in [
        (right[: H - 1], "must be"), (right[:0], "must be"), (right[None], "must be"),
        (right.double(), "float64" if name != "weight_ih_l0" else "float32"),
    ]:  # fmt: skip
        setattr(ours, name, nn.Parameter(wrong.detach()))
        with pytest.raises((RuntimeError, ValueError), match=said):
            ours(torch.ones(T, B, E))


@of_kinds
def test_shapes_are_told_where_nothing_is_computed(kind: str) -> None:
    shapes = [[part.shape for part in flat(each.to("meta")(torch.ones(T, B, E, device="meta")))] for each in pair(kind)]
    assert shapes[0] == shapes[1]
    ours = pair(kind)[0].to("meta")
    ours(torch.ones(T, B, E, device="meta"))[0].sum().backward()
    assert ours.profile["l0"].shape == (T,)


@of_kinds
def test_the_profile_counts_back_from_the_last_token_of_each_sequence(kind: str) -> None:
    """Beside every sequence alone: squared norms add up, a sequence's where it has no token being zero."""
    module, _ = pair(kind, num_layers=2, bidirectional=True, dtype=torch.float64)
    parts = [torch.randn(length, E, dtype=torch.float64) for length in (2, 4, 1)]
    found = []
    for read in ([pack_sequence(parts, enforce_sorted=False)], parts):
        squares = {name: torch.zeros(4, dtype=torch.float64) for name in ("l0", "l0_reverse", "l1", "l1_reverse")}
        for each in read:
            outputs, hx = module(each)
            del outputs
            sum(part.sum() for part in flat(hx)).backward()
            assert list(module.profile) == list(squares)
            for name, norms in module.profile.items():
                squares[name][: len(norms)] += norms.square()
        found.append(squares)
    torch.testing.assert_close(*found)


@of_kinds
def test_steps_taken_one_at_a_time_have_the_profile_of_one_call(kind: str) -> None:
    module, _ = pair(kind, num_layers=2)
    assert module.profile == {}
    inputs, hx = torch.randn(T, B, E), None
    module(inputs)[0].square().sum().backward()  # of no concern to what follows
    module(inputs)
    module(inputs)[0][-1].sum().backward()
    whole = module.profile
    for row in inputs.split(1):
        outputs, hx = module(row, hx)
    outputs.sum().backward()
    torch.testing.assert_close(module.profile, whole)
    assert len(whole["l1"]) == T and (whole["l1"] > 0).all()


def test_a_packed_sequence_keeps_its_order() -> None:
    read = pack_sequence([torch.ones(n, E) for n in (1, 3, 3, 2)], enforce_sorted=False)
    outputs, _ = unrolled.LSTM(E, H)(read)
    assert isinstance(outputs, PackedSequence) and outputs.data.shape == (9, H)
    assert outputs.batch_sizes is read.batch_sizes and outputs.sorted_indices is read.sorted_indices
