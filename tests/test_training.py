"""A training before its first step: what its options are, and that one generator draws everything."""

from dataclasses import asdict, fields
from typing import Any

import pytest
import torch

from miniature import SIZES, arm_of
from unrolled.recurrence.dropout import dropout
from unrolled.settings.sections import ClippingSettings, TrainSettings
from unrolled.tasks.language_model.model.feeding import Feeding
from unrolled.training.training import Options, Training


def test_options_are_what_every_task_has_of_the_section_and_the_threshold() -> None:
    names = {each.name for each in fields(Options)}
    at_first = {"start_from"}  # says where it begins, not how it goes on
    of_some = {"average_again"}  # that not every task lets its user set
    assert names - of_some == {"seed", *TrainSettings.model_fields, *ClippingSettings.model_fields} - at_first
    train = arm_of("lstm-clipped-1", weight_decay=0.5)["train"]
    assert asdict(Options.of(train)) == {name: train[name] for name in names}
    own = {"columns", "window", "window_varies", "reset", *(each.name for each in fields(Feeding))}
    own |= {"activation_regularisation", "temporal_activation_regularisation"}
    assert set(train) - names - at_first == own  # the task's
    assert Options.of({name: value for name, value in train.items() if name not in of_some}).average_again is None
    with pytest.raises(TypeError, match="epochs"):
        Options.of({name: value for name, value in train.items() if name != "epochs"})


@pytest.mark.parametrize(
    ("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_the_optimiser_is_the_one_named_with_its_options(name: str, kind: type[Any]) -> None:
    training = Training.of(arm_of("lstm-clipped-1", optimiser=name, learning_rate=0.5, weight_decay=0.25), SIZES)
    assert type(training.optimiser) is kind
    (group,) = training.optimiser.param_groups
    assert (group["lr"], group["weight_decay"], training.learning_rate) == (0.5, 0.25, 0.5)
    assert list(map(id, group["params"])) == list(map(id, training.model.parameters()))


def test_one_generator_draws_the_weights_and_then_the_masks() -> None:
    arm, before = arm_of("lstm-clipped-1", seed=7), torch.get_rng_state()
    training, generator = Training.of(arm, SIZES), torch.Generator().manual_seed(7)
    twin = training.task.model(SIZES, arm["network"], generator)
    assert all(map(torch.equal, training.model.parameters(), twin.parameters()))
    ones = torch.ones(50)
    assert torch.equal(dropout(ones, 0.5, training.generator), dropout(ones, 0.5, generator))
    assert torch.equal(before, torch.get_rng_state())


def test_it_predicts_with_averaged_weights_once_there_are_some() -> None:
    training = Training.of(arm_of("lstm-clipped-1"), SIZES)
    assert training.weights() == dict(training.model.named_parameters())
    training.averages = {"a": torch.ones(1)}
    assert training.weights() is training.averages
