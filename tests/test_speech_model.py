"""The network that listens: encoder, attention and CTC against their formulas, and what must not change an answer."""

import itertools
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from made_up_speech import SMALL, TRAIN, drawn, network_of, random_speech, speech_of, trained
from twins import twin_of
from unrolled.ground.special_tokens import END_ID
from unrolled.recurrence.layer import RecurrentLayer
from unrolled.recurrence.profile import Profile, lag_profile
from unrolled.shell.errors import UserError
from unrolled.tasks.language_model.model.feeding import Feeding
from unrolled.tasks.speech.evaluation.alignment import attention_of
from unrolled.tasks.speech.model.attention import Attention
from unrolled.tasks.speech.model.batches import Batch, batch_of, read_together, utterances
from unrolled.tasks.speech.model.encoder import Encoded, Encoder
from unrolled.tasks.speech.model.feeding import own_words
from unrolled.tasks.speech.model.network import Network, before
from unrolled.tasks.speech.model.search import search
from unrolled.tasks.speech.model.task import Task, ctc_nats, word_nats
from unrolled.tasks.speech.probes.probes import stacks

CONDITIONINGS = ("none", "initial_state", "attention")
SPLIT, MANY = random_speech(9, (1, 4), (28, 60)), random_speech(70, (1, 4), (9, 60))


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(count: int = 9) -> Batch:
    return batch_of(utterances(SPLIT)[:count])


def double(of: Batch) -> Batch:
    return of._replace(features=of.features.double())


# ---- encoder ---------------------------------------------------------------------------------------------------------


def encoder_of(cell: str, both: bool, *, layers: int = 1, pyramid: bool = False, frames: int = 1) -> Encoder:
    return Encoder(
        4, cell=cell, bidirectional=both, hidden=5, layers=layers, frames_per_step=frames, pyramid=pyramid, dropout=0.0,
        generator=generator(),
    ).double()  # fmt: skip


def floor_by_torch(encoder: Encoder, number: int, cell: str, read: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """One floor by torch's own layer on a PackedSequence: outputs and the ends."""
    (layers,) = zip(*(stack.layers for stack in encoder.floors[number].values()), strict=True)
    twins = [twin_of(layer, cell) for layer in layers]
    both = type(twins[0])(read.shape[2], layers[0].hidden, bidirectional=len(layers) > 1).double()
    for twin, ending in zip(twins, ("", "_reverse"), strict=False):
        for name, parameter in twin.named_parameters():
            setattr(both, name + ending, parameter)
    outputs, final = both(pack_padded_sequence(read, lengths, enforce_sorted=False))
    final = final[0] if isinstance(final, tuple) else final
    return pad_packed_sequence(outputs, total_length=len(read))[0], torch.cat(list(final), dim=-1)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_an_encoder_is_torchs_own_on_packed_sounds(cell: str, both: bool) -> None:
    encoder, read = encoder_of(cell, both), double(batch())
    outputs, ends = floor_by_torch(encoder, 0, cell, read.features, read.frames)
    found = encoder(read.features, read.frames)
    torch.testing.assert_close(found.outputs, outputs)
    torch.testing.assert_close(found.ends, ends)
    assert torch.equal(found.lengths, read.frames)


@pytest.mark.parametrize("both", [False, True])
def test_a_pyramid_halves_time_above_each_floor(both: bool) -> None:
    """Each pair of outputs, and an odd one out beside zeros, written out sound by sound."""
    encoder, read = encoder_of("lstm", both, layers=3, pyramid=True, frames=2), double(batch())
    found = encoder(read.features, read.frames)
    assert encoder.frames_per_output == 8
    for column, frames in enumerate(read.frames.tolist()):
        values = read.features[:frames, column]
        for floor in range(3):
            pairs = [values[first : first + 2] for first in range(0, len(values), 2)]
            rows = [torch.cat([*pair, *[torch.zeros_like(pair[0])] * (2 - len(pair))]) for pair in pairs]
            outputs, ends = floor_by_torch(
                encoder, floor, "lstm", torch.stack(rows)[:, None], torch.tensor([len(rows)])
            )
            values = outputs[:, 0]
        assert found.lengths[column] == len(values) == math.ceil(frames / 8)
        torch.testing.assert_close(found.outputs[: len(values), column], values)
        torch.testing.assert_close(found.ends[column], ends[0])
        assert not found.outputs[len(values) :, column].any()


# ---- attention -------------------------------------------------------------------------------------------------------


def attention_of_sizes(filters: int = 3) -> Attention:
    return Attention(6, 5, 4, filters, 3, generator()).double()


@pytest.mark.parametrize("filters", [0, 3])
def test_attention_is_chorowskis_formula(filters: int) -> None:
    """Written out, one sound and one time step after another."""
    attention, lengths = attention_of_sizes(filters), [7, 4, 1]
    outputs = torch.randn(7, 3, 6, dtype=torch.float64, generator=generator())
    attended = attention.over(outputs, torch.tensor(lengths))
    weights, totals = [[1.0] + [0.0] * 6 for _ in lengths], [[0.0] * 7 for _ in lengths]
    heard = attention.start(attended)
    for step in range(4):
        query = torch.randn(3, 5, dtype=torch.float64, generator=generator(step))
        context, heard = attention(query, heard, attended)
        for column, length in enumerate(lengths):
            energies = []
            for t in range(length):
                drive = attention.keys.weight @ outputs[t, column] + attention.keys.bias
                drive = drive + attention.query.weight @ query[column]
                if filters:
                    places = [t - 1, t, t + 1]
                    seen = [of[p] if 0 <= p < 7 else 0.0 for of in (weights[column], totals[column]) for p in places]
                    seen_by = attention.kernel.weight @ torch.tensor(seen, dtype=torch.float64)
                    drive = drive + attention.location.weight @ seen_by
                energies.append(float((attention.energy.weight @ torch.tanh(drive)).detach()))
            exponentials = np.exp(energies)
            weights[column] = [*(exponentials / exponentials.sum()).tolist(), *[0.0] * (7 - length)]
            totals[column] = [total + weight for total, weight in zip(totals[column], weights[column], strict=True)]
            expected = sum(weight * outputs[t, column] for t, weight in enumerate(weights[column]))
            torch.testing.assert_close(context[column], expected)
            assert heard[column, 0].tolist() == pytest.approx(weights[column], abs=1e-12)
            assert heard[column, 1].tolist() == pytest.approx(totals[column], abs=1e-12)


@pytest.mark.parametrize("settings", [{}, {"filters": 0}, {"bidirectional": True, "layers": 2, "pyramid": True}])
def test_attention_is_one_within_the_sound_and_nothing_behind_it(settings: dict[str, Any]) -> None:
    network, read = network_of(**settings), batch()
    weights, steps = attention_of(network, read), network.encode(read.features, read.frames).lengths.tolist()
    assert weights is not None and len(weights) == len(read.targets)
    for column, length in enumerate(steps):
        np.testing.assert_allclose(weights[:, :length, column].sum(1), 1, atol=1e-6)
        assert (weights[:, length:, column] == 0).all() and (weights[:, :length, column] > 0).all()


# ---- conditioning ----------------------------------------------------------------------------------------------------


def decoder_by_torch(network: Network) -> nn.Module:
    (layer,) = network.stacks["forward"].layers
    return twin_of(layer, "lstm")


def test_a_text_starts_from_one_vector() -> None:
    network, read = network_of(conditioning="initial_state", bidirectional=True).double(), double(batch())
    encoded = network.encode(read.features, read.frames)
    assert network.started is not None
    hidden, cell = (encoded.ends @ network.started.weight.t() + network.started.bias).chunk(2, dim=-1)
    words = network.language_model.embedding(before(read.targets))
    expected, _ = decoder_by_torch(network)(words, (torch.tanh(hidden)[None], cell[None].contiguous()))
    found, _ = network.write(before(read.targets), network.begin(encoded))
    torch.testing.assert_close(found, expected)


def test_what_is_attended_to_is_read_with_the_next_word_and_said_with_this_one() -> None:
    """h of the word and P c of the context before it; h + Q c, with the context that h has asked for, to the head."""
    network, read = network_of().double(), double(batch())
    encoded, model = network.encode(read.features, read.frames), decoder_by_torch(network)
    attention, told, heard = network.attention, network.told, network.heard
    assert attention is not None and told is not None and heard is not None
    attended = attention.over(encoded.outputs, encoded.lengths)
    context, weights = torch.zeros(9, encoded.outputs.shape[2]).double(), attention.start(attended)
    state, rows = None, []
    for words in before(read.targets):
        inputs = network.language_model.embedding.weight[words] + context @ told.weight.t()
        outputs, state = model(inputs[None], state)
        context, weights = attention(outputs[0], weights, attended)
        rows.append(outputs[0] + context @ heard.weight.t())
    found, _ = network.write(before(read.targets), network.begin(encoded))
    torch.testing.assert_close(found, torch.stack(rows))
    head = network.language_model
    logits = torch.stack(rows) @ head.output_weight.t() + head.output_bias
    own = -logits.log_softmax(-1).gather(-1, read.targets[..., None])[..., 0]
    inside = torch.arange(len(own))[:, None] < read.lengths
    torch.testing.assert_close(word_nats(network, encoded, read), own.where(inside, torch.zeros(()).double()))


# ---- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("filters", [0, 3])
def test_the_gradient_through_attention(filters: int) -> None:
    attention, lengths = attention_of_sizes(filters), torch.tensor([4, 2])

    def attend(outputs: Tensor, query: Tensor, before: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
        return attention(query, before, attention.over(outputs, lengths))

    shapes = ((4, 2, 6), (2, 5), (2, 2, 4))
    inputs = [torch.randn(shape, dtype=torch.float64, generator=generator()).requires_grad_() for shape in shapes]
    assert torch.autograd.gradcheck(attend, (*inputs, *attention.parameters()))


@pytest.mark.parametrize("conditioning", ["initial_state", "attention"])
@pytest.mark.parametrize("decoder", ["lstm", "rnn"])
def test_the_gradient_of_the_loss_through_every_part(conditioning: str, decoder: str) -> None:
    """Attention, what is heard beside the words (P) and beside the head (Q), the initial state, and CTC."""
    tiny = {"hidden": 2, "attention": 2, "filters": 1, "filter_width": 3, "decoder_embedding": 2, "decoder_hidden": 3}
    network = network_of(5, 2, conditioning=conditioning, decoder=decoder, bidirectional=True, **tiny).double()
    read = double(batch_of(utterances(random_speech(2, (1, 2), (7, 12), types=5, features=2))))
    task, names = Task(TRAIN), [name for name, _ in network.named_parameters()]
    wanted = [name for name in names if "encoder" not in name and "forward_stack" not in name]
    assert any("ctc" in name for name in wanted)

    def loss(features: Tensor, *parameters: Tensor) -> Tensor:
        bound = {f"network.{name}": each for name, each in zip(wanted, parameters, strict=True)}
        return torch.func.functional_call(_Loss(network, task), bound, (read._replace(features=features),))

    parts = dict(network.named_parameters())
    features = read.features.clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, (features, *(parts[name] for name in wanted)), fast_mode=True)


class _Loss(nn.Module):
    def __init__(self, network: Network, task: Task) -> None:
        super().__init__()
        self.network, self.task = network, task

    def forward(self, read: Batch) -> Tensor:
        return self.task.loss(self.network, read, ())[0]


# ---- what must not change an answer ----------------------------------------------------------------------------------

ARMS = [
    pytest.param({"conditioning": conditioning, "ctc": conditioning != "none"} | more, id=f"{conditioning}{place}")
    for conditioning in CONDITIONINGS
    for place, more in enumerate(({}, {"bidirectional": True}, {"layers": 2, "pyramid": True, "bidirectional": True}))
    if conditioning != "none" or not more
]


@pytest.mark.parametrize("settings", ARMS)
def test_neither_padding_nor_neighbours_change_an_answer(settings: dict[str, Any]) -> None:
    network, every = network_of(**settings), utterances(SPLIT)
    together = batch_of(every)
    with torch.inference_mode():
        encoded = network.encode(together.features, together.frames)
        nats, weights, found = (
            word_nats(network, encoded, together),
            attention_of(network, together),
            search(network, encoded),
        )
        for column, each in enumerate(every):
            alone = batch_of([each])
            of_one = network.encode(alone.features, alone.frames)
            torch.testing.assert_close(of_one.ends[0], encoded.ends[column], atol=1e-5, rtol=0)
            own = word_nats(network, of_one, alone)[:, 0]
            torch.testing.assert_close(nats[: len(own), column], own, atol=1e-5, rtol=0)
            assert not nats[len(own) :, column].any()
            (written,) = search(network, of_one)
            assert (written.words, written.ended) == (found[column].words, found[column].ended)
            if weights is not None:
                by_one = attention_of(network, alone)
                assert by_one is not None
                rows, steps = by_one.shape[:2]
                np.testing.assert_allclose(weights[:rows, :steps, column], by_one[..., 0], atol=1e-5)
            if network.ctc is not None:
                heard = ctc_nats(network, of_one, alone)
                torch.testing.assert_close(ctc_nats(network, encoded, together)[column], heard[0], atol=1e-4, rtol=1e-6)


def test_what_stands_behind_a_sound_is_read_from_neither_side() -> None:
    network, read = network_of(bidirectional=True, frames_per_step=1), batch()
    noisy = read.features.clone()
    for column, frames in enumerate(read.frames.tolist()):
        noisy[frames:, column] = 9.0
    found, expected = network.encode(noisy, read.frames), network.encode(read.features, read.frames)
    assert torch.equal(found.outputs, expected.outputs) and torch.equal(found.ends, expected.ends)


def test_validation_does_not_hang_on_how_sounds_are_put_together() -> None:
    network, task = network_of(), Task(TRAIN)
    sums = task.validate(network, SPLIT)
    assert list(sums) == ["loss", "word_error_rate", "cross_entropy"]
    nats = heard = 0.0
    with torch.inference_mode():
        for each in utterances(SPLIT):
            alone = batch_of([each])
            encoded = network.encode(alone.features, alone.frames)
            nats += float(word_nats(network, encoded, alone).sum())
            heard += float(ctc_nats(network, encoded, alone).sum())
    assert sums["cross_entropy"].sum == pytest.approx(nats, rel=1e-5)
    assert sums["loss"].sum == pytest.approx(0.7 * nats + 0.3 * heard, rel=1e-5)
    assert sums["loss"].terms == len(SPLIT.tokens)
    assert sums["cross_entropy"].terms == sums["word_error_rate"].terms == len(SPLIT.tokens) - len(SPLIT.documents)


def test_told_nothing_it_is_the_language_model_alone() -> None:
    network, read = network_of(conditioning="none", ctc=False), batch()
    features = read.features.clone().requires_grad_()
    nats = word_nats(network, network.encode(features, read.frames), read)
    (slope,) = torch.autograd.grad(nats.sum(), features, allow_unused=True, retain_graph=True)
    assert slope is None or not slope.any()
    model = network.language_model
    hidden, _ = model.hidden(before(read.targets), read.targets, model.initial_state(9))
    scores = model.logits(hidden["forward"]).log_softmax(-1)
    own = -scores.gather(-1, read.targets[..., None])[..., 0]
    inside = torch.arange(len(own))[:, None] < read.lengths
    torch.testing.assert_close(nats, own.where(inside, torch.zeros(())))
    assert network.encoder is None and list(network.stacks) == ["forward"] and "conditioning" not in network.groups()


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_writing_word_by_word_is_writing_all_at_once(conditioning: str) -> None:
    network, read = network_of(conditioning=conditioning, ctc=False), batch()
    encoded = network.encode(read.features, read.frames)
    words = before(read.targets)
    whole, _ = network.write(words, network.begin(encoded))
    writing, rows = network.begin(encoded), []
    for word in words:
        hidden, writing = network.write(word[None], writing)
        rows.append(hidden)
    torch.testing.assert_close(torch.cat(rows), whole, atol=1e-6, rtol=0)


def test_dropout_hangs_on_its_generator_alone() -> None:
    network, read, task = network_of(dropout=0.5), batch(), Task(TRAIN)
    losses = [
        float(task.loss(network, read, (), generator=each)[0].detach()) for each in (generator(), generator(), None)
    ]
    assert losses[0] == losses[1] != losses[2]


# ---- profile ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("conditioning", ["initial_state", "attention"])
def test_a_profile_is_autograds_own_of_every_state(conditioning: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of layers that are called one time step after another, each state read by the next one and by what is above."""
    network = network_of(conditioning=conditioning, bidirectional=True, pyramid=True, layers=2).double()
    read, profile, kept = double(batch_of(utterances(random_speech(3, (1, 3), (21, 21))))), Profile(), {}
    Task(TRAIN).loss(network, read, (), profile=profile)[0].backward()

    def step_by_step(layer: RecurrentLayer, inputs: Tensor, state: Any, *_: Any) -> tuple[Tensor, Any]:
        hidden = []
        for values in inputs.flip(0) if layer.reverse else inputs:
            outputs, state = whole(layer, values[None], state)
            state = (outputs[0], *state[1:])
            state[0].retain_grad()
            hidden.append(state[0])
        hidden = hidden[::-1] if layer.reverse else hidden
        kept.setdefault(layer.name, []).extend(hidden)
        return torch.stack(hidden), state

    whole = RecurrentLayer.forward
    monkeypatch.setattr(RecurrentLayer, "forward", step_by_step)
    Task(TRAIN).loss(network, read, ())[0].backward()
    encoder = {"left_to_right.0": 11, "right_to_left.0": 11, "left_to_right_2.0": 6, "right_to_left_2.0": 6}
    assert {name: len(each) for name, each in profile.norms.items()} == encoder | {"forward.0": len(read.targets)}
    assert set(profile.norms) == set(kept) <= set(network.groups())
    for name, norms in profile.norms.items():
        expected = [torch.zeros(()) if each.grad is None else each.grad.norm() for each in kept[name]]
        torch.testing.assert_close(norms, torch.stack(expected).to(norms.dtype))


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_the_lag_profile_is_of_the_longest_sounds_ends(conditioning: str) -> None:
    """Sixteen of them, cut to one length; the first element is the end, of a stack that reads from there the start."""
    network, task = network_of(conditioning=conditioning, ctc=False, bidirectional=True, cell="rnn"), Task(TRAIN)
    lengths = np.sort([len(each.sound) for each in utterances(MANY)])[::-1]
    for stretch in (0, 1):
        found = lag_profile(
            lambda profile, stretch=stretch: task.single_loss(network, MANY, 100, profile, stretch=stretch),
            network.parameters(),
        )
        names = ["left_to_right.0", "right_to_left.0"] if conditioning != "none" else []
        assert set(found) == {*names, "forward.0"}
        assert {len(found[name]) for name in names} <= {math.ceil(lengths[16 * stretch + 15] / 2)}
        if conditioning == "initial_state":  # the way back is through all time steps, and fades
            assert all(norms[0] == norms.max() and norms[-1] < 0.1 * norms[0] for norms in map(found.get, names))
    with pytest.raises(IndexError, match="no 5 batches of 16 utterances"):
        task.single_loss(network, MANY, 100, Profile(), stretch=4)


@pytest.mark.parametrize("settings", ARMS)
def test_probes_give_each_stack_what_it_reads(settings: dict[str, Any]) -> None:
    network, (first, *_) = network_of(**settings), utterances(SPLIT)
    found, alone = stacks(network, SPLIT, 30), batch_of([first])
    assert list(found) == list(network.stacks)
    with torch.no_grad():
        encoded = network.encode(alone.features, alone.frames)
        outputs = []
        for stack, read in found.values():
            assert read.shape[:2] == (30, 1)
            steps = len(alone.targets) if stack is network.stacks["forward"] else int(encoded.lengths)
            outputs.append(stack(read[:steps], stack.initial_state(1))[0])
        *topmost, words = outputs
        if topmost:  # of a pyramid the upper floor's
            torch.testing.assert_close(torch.cat(topmost[-len(network.encoder.floors[0]) :], -1), encoded.outputs)
        if network.conditioning == "none":
            hidden, _ = network.write(before(alone.targets), network.begin(encoded))
            torch.testing.assert_close(words, hidden)


# ---- threads ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def threads() -> Iterator[None]:
    """Puts torch's threads back."""
    count = torch.get_num_threads()
    yield
    torch.set_num_threads(count)


@pytest.mark.parametrize("conditioning", ["initial_state", "attention"])
def test_a_step_has_the_same_bits_with_one_thread_and_with_more(conditioning: str, threads: None) -> None:
    """Loss and every gradient, in the sizes of the pipeline's params.yaml."""
    sizes = {"hidden": 96, "attention": 128, "filters": 16, "filter_width": 31, "frames_per_step": 4}
    decoder = {"decoder_embedding": 64, "decoder_hidden": 128}
    network = network_of(12, 40, conditioning=conditioning, bidirectional=True, **sizes, **decoder)
    read = batch_of(utterances(random_speech(32, (2, 6), (200, 307), types=12, features=40)))
    task, found = Task(TRAIN), []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        network.zero_grad()
        loss = task.loss(network, read, ())[0]
        loss.backward()
        assert torch.get_num_threads() == count
        gradients = {name: each.grad for name, each in network.named_parameters()}
        found.append({name: each.detach().numpy().tobytes() for name, each in ({"loss": loss} | gradients).items()})
    for other in found[1:]:
        assert [name for name in found[0] if found[0][name] != other[name]] == []


# ---- batches ---------------------------------------------------------------------------------------------------------

AUGMENTED = {"tempo": 0.2, "vocal_tract": 0.1, "microphone": 0.5, "noise": 0.3, "masks": 2}


def same(one: Batch, other: Batch) -> bool:
    return one[4:] == other[4:] and all(torch.equal(*pair) for pair in zip(one[:4], other[:4], strict=True))


@pytest.mark.parametrize("settings", [{}, AUGMENTED])
def test_a_batch_is_decided_by_seed_epoch_and_number(settings: dict[str, Any]) -> None:
    task = Task(TRAIN | settings)
    first, again, rest = (list(task.batches(MANY, epoch=2, first=number)) for number in (0, 0, 3))
    assert len(first) == task.steps(MANY) == 5 and len(rest) == 2
    assert all(map(same, first, again)) and all(map(same, first[3:], rest))
    for other in (Task(TRAIN | settings | {"seed": 2}).batches(MANY, epoch=2), task.batches(MANY, epoch=3)):
        assert not all(map(same, first, other))


def test_each_utterance_is_read_once_an_epoch() -> None:
    sounds = [(each.sound.tobytes(), each.words.tobytes()) for each in utterances(MANY)]
    read = [
        (batch.features[:frames, column].numpy().tobytes(), batch.targets[:length, column].numpy().tobytes())
        for batch in Task(TRAIN).batches(MANY)
        for column, (frames, length) in enumerate(zip(batch.frames.tolist(), batch.lengths.tolist(), strict=True))
    ]
    assert sorted(read) == sorted(sounds)
    numbers = np.concatenate([chosen for chosen, _ in read_together(MANY)])
    assert sorted(numbers.tolist()) == list(range(70))


def test_another_voice_says_the_same_words() -> None:
    plain, heard = (list(Task(TRAIN | each).batches(MANY)) for each in ({}, AUGMENTED))
    for one, other in zip(plain, heard, strict=True):
        assert torch.equal(one.targets, other.targets) and not torch.equal(one.frames, other.frames)
        assert ((other.frames / one.frames - 1).abs() < 0.2 + 0.06).all()
        assert other.features.isfinite().all()


# ---- CTC -------------------------------------------------------------------------------------------------------------


def by_ctc(scores: Tensor, texts: list[list[int]], lengths: list[int]) -> Tensor:
    """`ctc_nats` of a network whose head says these scores, [T, B, V + 1]."""
    network = network_of(scores.shape[2] - 1, hidden=scores.shape[2]).double()
    assert network.ctc is not None
    network.ctc = nn.Identity()  # type: ignore[assignment]
    targets = torch.full((max(map(len, texts)) + 1, len(texts)), END_ID)
    for column, text in enumerate(texts):
        targets[: len(text), column] = torch.tensor(text, dtype=torch.int64)
    steps, sizes = torch.tensor(lengths), torch.tensor([len(text) + 1 for text in texts])
    return ctc_nats(network, Encoded(scores, steps, scores[0]), Batch(scores, steps, targets, sizes))


def test_ctc_is_the_sum_over_all_paths() -> None:
    """Three time steps and two words; sounds of other lengths beside each other."""
    scores = torch.randn(3, 1, 5, dtype=torch.float64, generator=generator()).log_softmax(-1)
    every = [(), (2,), (3,), (2, 3), (3, 2), (2, 2), (3, 3), (2, 3, 2), (3, 2, 3)]
    for steps in (1, 2, 3):
        texts = [list(text) for text in every if len(text) + sum(a == b for a, b in pairwise(text)) <= steps]
        found = by_ctc(scores.repeat(1, len(texts), 1), texts, [steps] * len(texts))
        for text, nats in zip(texts, found.tolist(), strict=True):
            whole = 0.0
            for path in itertools.product(range(5), repeat=steps):
                if [word for word, _ in itertools.groupby(path) if word != 4] == text:
                    whole += math.exp(sum(float(scores[t, 0, word]) for t, word in enumerate(path)))
            assert nats == pytest.approx(-math.log(whole))


def test_a_sound_too_short_for_its_text_is_refused_in_one_line() -> None:
    scores = torch.zeros(4, 2, 5, dtype=torch.float64)
    for texts, lengths, said in (
        ([[2], [2, 3, 2]], [4, 2], "an utterance of 3 words has a sound of 2 time steps, and CTC takes 3"),
        ([[2, 2], [3, 3, 3]], [3, 4], "an utterance of 3 words has a sound of 4 time steps, and CTC takes 5"),
    ):
        with pytest.raises(UserError, match=said) as caught:
            by_ctc(scores, texts, lengths)
        assert "\n" not in str(caught.value) and "frames_per_step" in str(caught.value)
    assert by_ctc(scores, [[2, 2], [3, 3]], [3, 4]).isfinite().all()


def test_an_even_filter_is_refused() -> None:
    with pytest.raises(ValueError, match="width must be odd, not 4"):
        Attention(2, 2, 2, 1, 4)
    with pytest.raises(ValueError, match="conditioning"):
        Network(5, 4, **SMALL | {"conditioning": "telepathy"})


# ---- words of its own ------------------------------------------------------------------------------------------------

TEACHER: dict[str, Any] = {"feeding": "teacher", "prompt": 0, "schedule": "linear", "schedule_steps": 1}


def nats_and_gradients(
    settings: dict[str, Any], network: Network, *, epoch: int = 1, updates: int = 0
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Of a batch under dropout, and what is left of the generator."""
    random, task = generator(3), Task(TRAIN | TEACHER | settings)
    nats, _, _ = task.loss(network, double(batch())._replace(epoch=epoch, updates=updates), (), generator=random)
    return nats, list(torch.autograd.grad(nats, list(network.parameters()), allow_unused=True)), random.get_state()


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_all_true_words_are_teacher_forcing_to_the_bit(conditioning: str) -> None:
    network = network_of(conditioning=conditioning, dropout=0.3, ctc=conditioning != "none").double()
    weight = {"ctc_weight": 0.3 if network.ctc else 0.0}
    teacher = nats_and_gradients(weight, network)
    for settings, place in (
        ({"feeding": "scheduled"}, {"updates": 0}),
        ({"feeding": "own", "prompt": 9}, {}),
        ({"feeding": "own", "teacher_epochs": 1}, {"epoch": 0}),
    ):
        found = nats_and_gradients(weight | settings, network, **place)
        assert torch.equal(found[0], teacher[0]) and torch.equal(found[2], teacher[2])
        assert all(one is other or torch.equal(one, other) for one, other in zip(found[1], teacher[1], strict=True))
    assert not torch.equal(nats_and_gradients(weight | {"feeding": "own"}, network)[0], teacher[0])


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@pytest.mark.parametrize("prompt", [0, 2])
def test_words_of_its_own_are_drawn_from_what_it_predicted_and_read_as_if_they_were_true(
    conditioning: str, prompt: int
) -> None:
    """The words by inverse transform sampling, spelled out; nats and gradients those of true words that are these."""
    network, said = network_of(conditioning=conditioning, ctc=False).double(), double(batch())
    feeding = Feeding.of(TRAIN | TEACHER | {"feeding": "own", "prompt": prompt})
    own = own_words(feeding, said._replace(epoch=1), generator(5))
    assert own is not None and own.places.any() and not own.places[: prompt + 1].any()
    true, words = before(said.targets), before(said.targets)
    for place in range(1, len(words)):
        with torch.no_grad():
            hidden, _ = network.write(words[:place], network.begin(network.encode(said.features, said.frames)))
        below = network.logits(hidden[-1]).softmax(-1).cumsum(-1) <= own.chances[place][:, None]
        words[place] = below.sum(-1).where(own.places[place], true[place])
    assert not torch.equal(words, true)

    encoded = network.encode(said.features, said.frames)
    hidden, _ = network.write(words, network.begin(encoded))
    nats = nn.functional.cross_entropy(network.logits(hidden).flatten(0, 1), said.targets.flatten(), reduction="none")
    inside = torch.arange(len(words))[:, None] < said.lengths
    expected = nats.view_as(said.targets).where(inside, 0.0)
    found = word_nats(network, network.encode(said.features, said.frames), said, own=own)
    torch.testing.assert_close(found, expected)
    parameters = [each for each in network.parameters() if each.requires_grad]
    for one, other in zip(
        torch.autograd.grad(found.sum(), parameters, allow_unused=True),
        torch.autograd.grad(expected.sum(), parameters, allow_unused=True),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_updates_and_epochs_count_from_the_first_with_words_of_its_own() -> None:
    task = Task(TRAIN | TEACHER | {"feeding": "scheduled", "teacher_epochs": 2, "utterances": 16})
    steps = task.steps(MANY)
    assert steps > 1
    for epoch in (1, 2, 3, 5):
        counted = [(each.epoch, each.updates) for each in task.batches(MANY, epoch=epoch, first=1)]
        assert counted == [(epoch - 2, (epoch - 3) * steps + number) for number in range(1, steps)]


def test_taught_by_words_of_its_own_it_learns_to_hear() -> None:
    """On tones, where a word of its own is soon the right one."""
    train, valid = speech_of(drawn(96, (1, 3)), 4), speech_of(drawn(32, (1, 3), seed=2), 4)
    own = TEACHER | {"feeding": "own"}
    network, task = trained(train, types=6, **own, learning_rate=0.02, epochs=15), Task(TRAIN | own)
    figures = task.validate(network, valid)
    nats = figures["cross_entropy"]
    assert figures["word_error_rate"].sum == 0 and nats.sum / nats.terms < 0.1
    assert figures == task.validate(network, valid)


def test_the_loss_of_validation_is_that_of_words_of_its_own() -> None:
    """Of a network that says anything, whose own words mislead it."""
    network = network_of()
    teacher, own = (Task(TRAIN | TEACHER | {"feeding": each}).validate(network, MANY) for each in ("teacher", "own"))
    assert own["loss"].sum != teacher["loss"].sum and own["cross_entropy"] == teacher["cross_entropy"]
