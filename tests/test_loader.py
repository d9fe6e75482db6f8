"""params.yaml: one clear line for every mistake, and what an arm is."""

import inspect
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import pytest
from ruamel.yaml import YAML

from unrolled.recurrence.cells import CELLS
from unrolled.recurrence.dropout import DROPOUT_MASKS
from unrolled.recurrence.layer import INITIALISATIONS
from unrolled.recurrence.stack import CONNECTIONS
from unrolled.settings.loader import arch_keys, load_params, sections_of
from unrolled.settings.sections import GATES, RECURRENT
from unrolled.shell.errors import UserError
from unrolled.tasks.language_model.model.network import Network
from unrolled.tasks.language_model.settings import DropoutMask, NetworkSettings

ROOT = Path(__file__).parents[1]
PLACES = {"input": 0.4, "between": 0.2, "output": 0.4}


def edited(tmp_path: Path, **changes: object) -> Path:
    """A copy of the project's params.yaml with dotted keys set; '-' as a value removes the key."""
    raw = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text())
    for dotted, value in changes.items():
        *parents, key = dotted.split("__")
        section = raw
        for parent in parents:
            section = section[parent]
        if value == "-":
            del section[key]
        else:
            section[key] = value
    path = tmp_path / "params.yaml"
    with path.open("w") as file:
        YAML().dump(raw, file)
    return path


def test_twins_differ_by_clip_norm_alone() -> None:
    arms = load_params(ROOT / "params.yaml").arms
    for arch in ("rnn", "lstm", "bilstm"):
        clipped, unclipped = arms[f"{arch}-clipped-1"], arms[f"{arch}-unclipped-1"]
        assert clipped["train"]["clip_norm"] and unclipped["train"]["clip_norm"] is None
        assert clipped["train"] | {"clip_norm": None} == unclipped["train"]
        assert clipped["network"] == unclipped["network"]


def test_a_new_row_adds_its_arms_and_states_only_its_difference(tmp_path: Path) -> None:
    path = edited(tmp_path, arch__deep={"layers": 3})
    params = load_params(path)
    assert list(params.arms)[-2:] == ["deep-clipped-1", "deep-unclipped-1"]
    deep, shared = params.arms["deep-clipped-1"], params.sections
    assert (deep["task"], deep["arm"], deep["arch"], deep["clipping"]) == (
        "language_model", "deep-clipped-1", "deep", "clipped",
    )  # fmt: skip
    assert deep["network"] == shared["network"] | {"layers": 3}
    assert deep["train"] == {"seed": 1} | shared["train"] | {"clip_norm": 0.25}
    assert deep.keys() == {"task", "arm", "arch", "clipping", "network", "train"}


def test_every_cell_of_the_grid_is_trained_from_every_seed(tmp_path: Path) -> None:
    one, several = load_params(ROOT / "params.yaml").arms, load_params(edited(tmp_path, seeds=[1, 7])).arms
    assert list(several)[:4] == ["rnn-clipped-1", "rnn-clipped-7", "rnn-unclipped-1", "rnn-unclipped-7"]
    assert {name: arm for name, arm in several.items() if name in one} == one  # so nothing of them is trained again
    for name in one:
        first, other = several[name], several[f"{name.removesuffix('-1')}-7"]
        assert first["network"] == other["network"] and first["network"] is not other["network"]
        assert first["train"] | {"seed": 7} == other["train"]


def test_what_is_loaded_is_plain_and_each_arm_its_own(tmp_path: Path) -> None:
    """A change to one arm's copy reaches no other; and a number is what the yaml says, whole or not."""
    params = load_params(edited(tmp_path, train__learning_rate=3))
    assert params == load_params(tmp_path / "params.yaml")
    assert json.loads(json.dumps(asdict(params))) == asdict(params)
    assert params.task == "language_model" and list(params.sections) == list(sections_of("language_model"))
    lstm, other = params.arms["lstm-clipped-1"], params.arms["bilstm-clipped-1"]
    lstm["train"]["learning_rate"] = lstm["network"]["hidden"] = 99
    assert other["train"]["learning_rate"] == params.sections["train"]["learning_rate"] == 3.0
    assert other["network"]["hidden"] == params.sections["network"]["hidden"] == 64
    assert isinstance(other["train"]["learning_rate"], float)


def test_a_row_of_arch_may_state_any_key_of_network_and_train_and_no_other(tmp_path: Path) -> None:
    shared = load_params(ROOT / "params.yaml").sections
    assert arch_keys("language_model") == [*shared["network"], *shared["train"]]
    row = {key: (shared["network"] | shared["train"])[key] for key in arch_keys("language_model")}
    arm = load_params(edited(tmp_path, arch={"all": row})).arms["all-clipped-1"]
    assert (arm["network"], arm["train"]) == (shared["network"], {"seed": 1} | shared["train"] | {"clip_norm": 0.25})


def test_a_row_may_start_its_network_in_its_own_way(tmp_path: Path) -> None:
    rows = {
        "irnn": {"cell": "relu", "initialisation": "identity"},
        "chrono": {"cell": "gru", "initialisation": "chrono", "longest": 35, "layers": 4, "connection": "residual"},
        "gers": {"forget_bias": 1, "dropout": 0.2, "dropout_mask": "window"},
    }
    path = edited(tmp_path, arch=rows)
    for name, row in rows.items():
        params = load_params(path)
        assert params.arms[f"{name}-clipped-1"]["network"] == params.sections["network"] | row


def test_names_are_those_of_the_network() -> None:
    """Settings stand beside the networks, not above them, so both list the names; and each key is an argument."""
    registries = {
        "cell": CELLS,
        "connection": CONNECTIONS,
        "initialisation": INITIALISATIONS,
    }
    for key, names in registries.items():
        assert get_args(NetworkSettings.model_fields[key].annotation) == tuple(names)
    assert get_args(DropoutMask) == DROPOUT_MASKS
    assert {name: cell.gates for name, cell in CELLS.items()} == GATES
    assert tuple(name for name, cell in CELLS.items() if cell.recurrent) == RECURRENT
    assert set(NetworkSettings.model_fields) <= set(inspect.signature(Network).parameters)


def test_yaml_1_2_numbers(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(re.sub(r"(?m)^  learning_rate: \S+", "  learning_rate: 1e-3", (ROOT / "params.yaml").read_text()))
    assert load_params(path).sections["train"]["learning_rate"] == 0.001


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train__clpi": 1}, ["unknown key 'train.clpi'", "known: epochs"]),
        ({"train__windw": 1}, ["unknown key 'train.windw'", "did you mean 'window'?"]),
        ({"trian": {"seed": 1}}, ["unknown section 'trian'", "did you mean 'train'?"]),
        ({"arch__lstm": {"hiden": 9}}, ["unknown key 'arch.lstm.hiden'", "did you mean 'hidden'?"]),
        ({"arch__lstm": {"clip_norm": 9}}, ["unknown key 'arch.lstm.clip_norm'"]),
        ({"clipping__clipped": {"clip_nrom": 9}}, ["'clipping.clipped.clip_nrom'", "did you mean 'clip_norm'?"]),
        ({"clipping__clipped": {"learning_rate": 9.0}}, ["unknown key 'clipping.clipped.learning_rate'"]),
        ({"clipping__clipped": None}, ["key 'clipping.clipped.clip_norm' is missing"]),
        ({"clipping__clipped": {}}, ["key 'clipping.clipped.clip_norm' is missing"]),
        ({"clipping__clipped": [0.25]}, ["'clipping.clipped' must hold keys, not [0.25]"]),
        ({"task": "-"}, ["key 'task' is missing", "known: ", "language_model"]),
        ({"task": "language_modle"}, ["unknown task 'language_modle'", "did you mean 'language_model'?"]),
        ({"task": None}, ["unknown task null"]),
        ({"task": ["language_model"]}, ["unknown task ['language_model']"]),
        ({"clipping__clipped": {"clip_norm": 0}}, ["'clipping.clipped.clip_norm': 0", "greater than 0"]),
        ({"clipping__clipped": {"clip_norm": float("inf")}}, ["clip_norm", "finite"]),
        ({"train__clip_norm": 1.0}, ["belongs to the rows of 'clipping'"]),
        ({"train__learning_rate": -1.0}, ["'train.learning_rate': -1.0", "greater than 0"]),
        ({"train__learning_rate": "1"}, ["'train.learning_rate': '1'", "number"]),
        ({"train__epochs": 1.5}, ["'train.epochs': 1.5", "integer"]),
        ({"train__epochs": True}, ["'train.epochs': true", "integer"]),
        ({"arch__rnn": {"learning_rate": 0}}, ["'arch.rnn.learning_rate': 0"]),
        ({"network__dropout": 1}, ["'network.dropout': 1", "less than 1"]),
        *(
            ({"network__dropout": wrong}, ["'network.dropout': ", "the keys input, between, output"])
            for wrong in ([0.4, 0.2, 0.4], {}, {"input": 0.4, "between": 0.2}, PLACES | {"inptu": 2}, {1: 0.4})
        ),
        ({"network__dropout": PLACES | {"output": 1.0}}, ["'network.dropout.output': 1.0: ", "less than 1"]),
        ({"arch__rnn": {"dropout": PLACES | {"input": None}}}, ["'arch.rnn.dropout.input': null: ", "number"]),
        (
            {"network__dropout_mask": dict.fromkeys(PLACES, "step") | {"between": "widow"}},
            ["'network.dropout_mask.between': 'widow'", "did you mean 'window'?"],
        ),
        ({"network__hidden": [64, 0]}, ["'network.hidden': 0: ", "greater than or equal to 1"]),
        ({"network__hidden": {"forward": 64}}, ["'network.hidden': {'forward': 64}: ", "list"]),
        ({"network__hidden": 48}, ["tied weights need embedding = hidden of the last layer, not 64 and 48"]),
        ({"arch__wide": {"hidden": 48}}, ["not 64 and 48 (with the row 'arch.wide')"]),
        (
            {"network__cell": "lstn"},
            ["'network.cell': 'lstn'", "'lstm', 'mingru' or 'minlstm'; did you mean 'lstm'?"],
        ),
        (
            {"network__cell": [0, {"a": "x" * 999, "b": "y" * 999}]},
            ["'network.cell': [0, {'a': 'xxxx", "xxx...: Input should be 'rnn', "],
        ),
        ({"network__connection": "resdual"}, ["'network.connection': 'resdual'", "did you mean 'residual'?"]),
        ({"network__connection": None}, ["'network.connection': null", "'plain', 'residual', 'highway' or 'dense'"]),
        ({"arch__lstm": {"dropout_mask": "widow"}}, ["'arch.lstm.dropout_mask': 'widow'", "did you mean 'window'?"]),
        ({"network__initialisation": "ortogonal"}, ["'network.initialisation'", "did you mean 'orthogonal'?"]),
        ({"network__initialisation": "identity"}, ["'network.initialisation': 'identity'", "rnn and relu, not lstm"]),
        (
            {"arch__rnn": {"cell": "rnn", "initialisation": "chrono", "longest": 9}},
            ["'arch.rnn.initialisation': 'chrono'", "gru and lstm, not rnn"],
        ),
        *(
            (
                {"arch__small": {"cell": "mingru", "initialisation": how, "longest": 9}},
                [f"'arch.small.initialisation': '{how}': is for the cells {cells}, not mingru"],
            )
            for how, cells in {
                "orthogonal": "rnn, relu, gru and lstm",
                "identity": "rnn and relu",
                "chrono": "gru and lstm",
            }.items()
        ),
        (
            {"arch__small": {"cell": "minlstm", "weight_dropout": 0.5}},
            ["'arch.small.weight_dropout': 0.5: is of the recurrent matrix, and the cell minlstm has none"],
        ),
        (
            {"arch__small": {"cell": "minlstm", "forget_bias": 1.0}},
            ["'arch.small.forget_bias': 1.0: is for the cell lstm, not minlstm"],
        ),
        ({"network__initialisation": "chrono"}, ["'network.longest': null", "chrono needs a number"]),
        (
            {"arch__lstm": {"initialisation": "chrono"}},
            ["'network.longest': null", "chrono needs a number", "(with the row 'arch.lstm')"],
        ),
        ({"network__longest": 2}, ["'network.longest': 2", "greater than or equal to 3"]),
        (
            {"network__forget_bias": 1.0},
            ["'network.forget_bias': 1.0: is for the cell lstm, not rnn (with the row 'arch.rnn')"],
        ),
        *(
            (
                {"train__reset": wrong},
                [f"'train.reset': {said}: never, sentence, or a probability above 0 and below 1"],
            )
            for wrong, said in (
                ("always", "'always'"),
                (0, "0"),
                (1, "1"),
                (1.0, "1.0"),
                (True, "true"),
                (None, "null"),
                (float("nan"), "nan"),
                (-0.5, "-0.5"),
            )
        ),
        *(
            ({"train__feeding": feeding}, [f"'train.feeding': '{feeding}': ", "set reset: sentence"])
            for feeding in ("own", "scheduled", "reinforce")
        ),
        ({"train__feeding": "sheduled"}, ["'train.feeding': 'sheduled'", "did you mean 'scheduled'?"]),
        ({"arch__lstm": {"feeding": "own", "reset": 0.5}}, ["'arch.lstm.feeding': 'own': ", "set reset: sentence"]),
        (
            {
                "train__reset": "sentence",
                "arch__lstm": {"feeding": "own"},
                "arch__b": {"bidirectional": True, "feeding": "own"},
            },
            ["'b-clipped'", "bidirectional", "cannot finish a sentence", "set feeding: teacher"],
        ),
        (
            {"train__reset": "sentence", "train__epochs": 2, "arch__b": {"feeding": "reinforce", "teacher_epochs": 2}},
            ["'b-clipped'", "reinforce would never begin", "lower teacher_epochs or raise epochs"],
        ),
        ({"train__prompt": 0}, ["'train.prompt': 0", "greater than or equal to 1"]),
        ({"train__schedule": "cosine"}, ["'train.schedule': 'cosine'", "'inverse_sigmoid'"]),
        ({"train__schedule_steps": 0}, ["'train.schedule_steps': 0", "greater than or equal to 1"]),
        ({"train__horizon": 0}, ["'train.horizon': 0", "greater than or equal to 1"]),
        ({"train__entropy_weight": -1.0}, ["'train.entropy_weight': -1.0", "greater than or equal to 0"]),
        ({"train__reward_order": 0}, ["'train.reward_order': 0", "greater than or equal to 1"]),
        ({"train__teacher_epochs": -1}, ["'train.teacher_epochs': -1", "greater than or equal to 0"]),
        ({"network__forget_bias": float("nan")}, ["'network.forget_bias': nan", "finite"]),
        ({"corpus__name": "pbt"}, ["'corpus.name': 'pbt'", "'ptb'"]),
        ({"corpus__path": "texts/*.txt"}, ["corpus.pattern"]),
        ({"corpus__valid_share": 0.95}, ["leave something to train on"]),
        ({"train__seed": 1}, ["'train.seed' belongs to the list 'seeds'"]),
        ({"arch__lstm": {"seed": 1}}, ["unknown key 'arch.lstm.seed'"]),
        ({"seeds": "-"}, ["key 'seeds' is missing", "as in [1]"]),
        ({"seeds": 1}, ["'seeds': 1: ", "as in [1, 2, 3]"]),
        ({"seeds": []}, ["'seeds': []: ", "at least 1"]),
        ({"seeds": [1, 2, 1]}, ["'seeds': [1, 2, 1]: the same seed twice"]),
        ({"seeds": [1.0]}, ["'seeds': [1.0]: ", "integer"]),
        ({"seeds": [True]}, ["'seeds': [True]: ", "integer"]),
        ({"seeds": {"a": 1}}, ["'seeds': {'a': 1}: "]),
        ({"train": "-"}, ["section 'train' is missing"]),
        ({"seeds": [2**32]}, ["'seeds': [4294967296]", "less than 4294967296"]),
        ({"seeds": [-1]}, ["'seeds': [-1]"]),
        ({"train__learning_rate": 1e38}, ["'train.learning_rate': 1e+38", "less than or equal to 1000000"]),
        ({"network__hidden": 10**9}, ["'network.hidden': 1000000000", "less than or equal to 65536"]),
        ({"train__epochs": 10**12}, ["'train.epochs': 1000000000000", "less than or equal to 1000000000"]),
        ({"train__learning_rate": "x" * 9999}, ["'train.learning_rate': 'xxx", "xxx...xxx"]),
        ({"train__a\nb": 1}, ["unknown key 'train.a\\nb'"]),
        ({"arch": {1: {"layers": 2}}}, ["1 under 'arch'", "quoted where it would read as a number"]),
        ({"arch": {None: {"layers": 2}}}, ["null under 'arch'"]),
        ({"arch": {"a": {None: 2}}}, ["unknown key 'arch.a.null'"]),
        ({"network": {1: 2}}, ["unknown key 'network.1'"]),
        ({"arch__a-b": {"layers": 2}}, ["'a-b' under 'arch'", "letters, digits and _"]),
        ({"arch__constructor": {"layers": 2}}, ["'constructor' under 'arch'", "JavaScript", "choose another"]),
        ({"clipping": {"__proto__": {"clip_norm": 1.0}}}, ["'__proto__' under 'clipping'", "JavaScript"]),
        ({"arch__lstm": 3}, ["'arch.lstm' must hold keys, not 3"]),
    ],
)
def test_a_mistake_gets_one_line(tmp_path: Path, change: dict[str, object], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        load_params(edited(tmp_path, **change))
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    "value",
    [
        "2020-13-45", "2020-01-01T99:00:00", "!!int x", "!!float x", "!!bool x", '"\\U00110000"', "9" * 5000,
        "0x" + "f" * 5000, "[" * 500, "[" * 500 + "]" * 500, "&a [*a]", "!!python/object:os.system x",
    ],
    ids=lambda value: value[:20],
)  # fmt: skip
def test_what_yaml_makes_no_number_of_gets_one_line(tmp_path: Path, value: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text().replace("seed: 1", f"seed: {value}", 1))
    with pytest.raises(UserError) as caught:
        load_params(path)
    message = str(caught.value)
    assert message.isprintable() and len(message.removeprefix(str(path))) < 400
    assert "is not valid YAML" in message or "'corpus.seed'" in message


@pytest.mark.parametrize("text", ["a: [", "\x00", "just words", ""])
def test_a_file_that_is_no_mapping(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=r"params\.yaml"):
        load_params(tmp_path / "params.yaml")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"params\.yaml not found: run this in the folder of a pipeline"):
        load_params(tmp_path / "params.yaml")
