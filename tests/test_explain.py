"""One sentence through a network: its gradients are autograd's, and the page shows the numbers that it was given."""

import copy
import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch.nn.functional import cross_entropy

from miniature import lay_out, run_stage
from unrolled.corpus.vocabulary import build_tokenizer
from unrolled.ground.run import Run
from unrolled.ground.special_tokens import END_ID
from unrolled.shell.errors import UserError
from unrolled.tasks.language_model.explain import MOST, Explanation, arms, explain, page, told
from unrolled.tasks.language_model.text.inference import Trained

TEXT = "a b new c"
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
plain = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which an RNN and an LSTM of two layers are trained."""
    place = tmp_path_factory.mktemp("explained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr("unrolled.shell.memory.keep_freed_memory", lambda: None)  # of all tests after this one
        lay_out(place, layers=2)
        for arm in ("rnn-clipped-1", "lstm-clipped-1"):
            run_stage("train", arm)
    return place


@pytest.fixture(scope="module")
def explanations(place: Path) -> list[Explanation]:
    return [explain(each, TEXT) for each in arms(place, ())]


def test_all_arms_that_did_not_diverge_are_explained(explanations: list[Explanation]) -> None:
    assert [each.arm for each in explanations] == ["lstm-clipped-1", "rnn-clipped-1"]
    for each in explanations:
        assert each.words == TEXT.split() and each.known == [True, True, False, True]
        assert [moment.name for moment in each.moments] == ["before training", "trained"]
        assert [moment.gates.keys() for moment in each.moments] == [{"forward.0", "forward.1"}] * 2


@pytest.mark.parametrize("arm", ["rnn-clipped-1", "lstm-clipped-1"])
def test_reach_is_the_norm_of_autograds_jacobian(place: Path, explanations: list[Explanation], arm: str) -> None:
    """Of each word's nats, by embedding; a cell a step at a time, so that nothing of the engine's adjoint is in it."""
    moment = next(each.moments[-1] for each in explanations if each.arm == arm)
    trained = Trained.read(arm, place)
    ids = torch.tensor(trained.ids(TEXT))
    stack, network = trained.network.stacks["forward"], trained.network

    def nats(embedded: torch.Tensor) -> torch.Tensor:
        passed = list(embedded[:, None])
        for layer in stack.layers:
            state, outputs = layer.initial_state(1), []
            for each in passed:
                gates = each @ layer.weight_ih.T + layer.bias + state[0] @ layer.weight_hh.T
                if len(state) == 1:
                    state = (gates.tanh(),)
                else:
                    i, f, g, o = gates.chunk(4, -1)
                    cell = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
                    state = (o.sigmoid() * cell.tanh(), cell)
                outputs.append(state[0])
            passed = outputs
        return cross_entropy(network.logits(torch.cat(passed)), ids, reduction="none")

    embedded = network.embedding(torch.cat([torch.tensor([END_ID]), ids[:-1]])).detach()
    jacobian = torch.autograd.functional.jacobian(nats, embedded).norm(dim=-1)  # [T, T]
    for word, row in enumerate(moment.reach["embedding"]):
        assert row == pytest.approx(jacobian[word, : word + 1].tolist(), rel=1e-4)
    assert moment.bits == pytest.approx((nats(embedded) / math.log(2)).tolist(), rel=1e-5)
    assert [len(row) for row in moment.reach["forward.1"]] == [1, 2, 3, 4]


def test_before_training_the_network_is_the_one_that_was_drawn(place: Path, explanations: list[Explanation]) -> None:
    """All but equally unsure, as it knows nothing yet; its gradients differ from those of the trained one."""
    types = Run.read(place / "runs/lstm-clipped-1").settings["sizes"]["vocabulary"]
    before, after = explanations[0].moments
    assert before.bits == pytest.approx([math.log2(types)] * 4, abs=0.2) and before.reach != after.reach


def test_a_word_is_named_by_itself_or_by_its_number(explanations: list[Explanation]) -> None:
    said = [plain.sub("", "\n".join(told(explanations[0], word))) for word in (None, "c", "4", "-1", "b", "2")]
    assert said[0] == said[1] == said[2] == said[3] != said[4] == said[5]
    assert (
        "new·<unk>·" in said[0]
        and "in place of c it expected" in said[0]
        and "norm of d loss / d h of forward.1" in said[0]
    )
    assert f"{explanations[0].moments[-1].reach['embedding'][3][0]:.1e}" in said[0]
    for wrong in ("0", "5", "-5", "nowhere", "²"):
        with pytest.raises(UserError, match="no such word; name one of the text, or its number from 1 to 4"):
            list(told(explanations[0], wrong))


def test_what_cannot_be_explained_is_refused_in_a_line(place: Path) -> None:
    trained = next(arms(place, ["lstm-clipped-1"]))
    with pytest.raises(UserError, match="must hold at least one word"):
        explain(trained, "  ")
    with pytest.raises(UserError, match=f"{MOST} is the most that can be explained; shorten it"):
        explain(trained, "a " * (MOST + 1))
    for text, what in (("a \ud800", "half of a character"), ("a\0", "binary")):
        with pytest.raises(UserError, match=f"the text: .*{what}"):
            explain(trained, text)
    with pytest.raises(UserError, match=r"there is no arm 'gru-clipped-1'; params\.yaml has bilstm-clipped-1"):
        next(arms(place, ["gru-clipped-1"]))


def test_blanks_are_seen_and_a_byte_order_mark_is_no_token(place: Path) -> None:
    """Of characters, the blank is one."""
    trained, run = next(arms(place, ["lstm-clipped-1"]))
    characters = build_tokenizer(["a b c"], unit="character")
    found = explain((replace(trained, tokenizer=characters, flaw="diverged at step 3"), run), "\ufeffa\u2028 b\n")
    assert found.words == ["a", "␣", "b"] and [len(each.bits) for each in found.moments] == [3, 3]
    said = plain.sub("", "\n".join(told(found, "␣")))
    assert said.startswith("lstm-clipped-1 (diverged at step 3), bits of each word:\na·") and "in place of ␣ it" in said


def test_a_network_that_is_lost_expects_nothing(place: Path) -> None:
    trained, run = next(arms(place, ["rnn-clipped-1"]))
    network = copy.deepcopy(trained.network)
    for weights in network.parameters():
        weights.data.fill_(math.nan)
    found = explain((replace(trained, network=network), run), TEXT)
    assert "in place of c it expected nothing, as its predictions are not numbers; how" in "\n".join(told(found, None))
    assert "nan" not in page([found], TEXT).partition('id="data">')[2].partition("</script>")[0].lower()


def test_gates_of_a_network_that_is_lost_are_told(explanations: list[Explanation]) -> None:
    gates = {"forward.0": {"input": [0.0, math.nan, 1.0, math.inf]}}
    lost = explanations[0]._replace(moments=[explanations[0].moments[-1]._replace(gates=gates)])
    assert "input ▁?█?" in "\n".join(told(lost, None))


def test_a_signed_gate_is_drawn_from_its_least_value_whatever_its_sign(explanations: list[Explanation]) -> None:
    for gate, drawn in (("candidate", "▅▅"), ("hidden", "▅▅"), ("forget", "▁▂")):
        moment = explanations[0].moments[-1]._replace(gates={"forward.0": {gate: [0.0, 0.15]}})
        assert f"{gate} {drawn}" in "\n".join(told(explanations[0]._replace(moments=[moment]), None))


def test_bars_begin_in_one_column_of_the_terminal(explanations: list[Explanation]) -> None:
    words = ["日本語", "🎉", "e\u0301te\u0301", "c"]  # six cells, two, three, one
    said = plain.sub("", "\n".join(told(explanations[0]._replace(words=words), None))).split("\n")
    indents = [
        next(line.index(word) for line in said if line.startswith("     ") and word in line) for word in words[:3]
    ]
    assert [indent - len("    ") for indent in indents] == [len("(start)") - cells for cells in (6, 2, 3)]


def test_words_of_html_do_not_end_the_data_of_the_page(explanations: list[Explanation]) -> None:
    words = ["<!--<script>", "</script>", "&lt;", "]]>"]
    found = re.search(r'id="data">(.*?)</script>', page([explanations[0]._replace(words=words)], "<!--<script>"), re.S)
    assert found and "<" not in found[1]
    assert json.loads(found[1])["arms"][0]["words"] == words


def test_what_is_not_finite_is_no_number_on_the_page(explanations: list[Explanation]) -> None:
    moment = explanations[0].moments[-1]._replace(bits=[math.inf] * 4)
    found = re.search(
        r'id="data">(.*?)</script>', page([explanations[0]._replace(moments=[moment])], "</script>"), re.S
    )
    assert found
    (arm,) = json.loads(found[1])["arms"]
    assert arm["moments"][0]["bits"] == [None] * 4


@pytest.mark.skipif(BROWSER is None, reason="there is no chromium")
def test_hovering_a_word_shows_its_gradients(place: Path, explanations: list[Explanation]) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    (place / "page.html").write_text(page(explanations, TEXT), encoding="utf-8")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        tab = browser.new_page()
        errors: list[str] = []
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.goto(f"file://{place / 'page.html'}")
        for number, name in ((1, "trained"), (0, "before training")):
            tab.fill("#moment", str(number))
            assert tab.inner_text("#moment-name") == name
            for where in ("embedding", "forward.0"):
                tab.select_option("#where", where)
                tab.hover("section[data-arm='rnn-clipped-1'] .word:nth-child(4)")
                for each in explanations:
                    norms = tab.eval_on_selector_all(
                        f"section[data-arm='{each.arm}'] .word", "all => all.map(word => word.dataset.norm)"
                    )
                    shown = [float(norm) for norm in norms if norm]
                    assert shown == pytest.approx(each.moments[number].reach[where][2], rel=1e-3)
        assert tab.inner_text("section .word.chosen .text") == "new"
        bits = tab.evaluate("[14.13, 1.975e18, null].map(bits_of)")
        shares = tab.evaluate("[1, 0.384, 0.00029, 1e-9].map(share_of)")
        browser.close()
    assert not errors
    assert bits == ["14.1", "2.0e18", "∞"] and shares == ["100.0", "38.4", "0.03", "under 0.01"]


def test_the_command_prints_and_writes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from unrolled.tasks.language_model.commands import explain as command

    monkeypatch.chdir(place)
    done = CliRunner().invoke(command, [TEXT, "--arm", "rnn-clipped-1", "--html", "one.html"])
    assert done.exit_code == 0 and "rnn-clipped-1, bits of each word" in done.output
    assert "lstm" not in done.output and "rnn-clipped-1" in Path("one.html").read_text()
    nowhere = CliRunner().invoke(command, [TEXT, "--html", ""])
    assert nowhere.exit_code == 2 and "'--html': it is empty; name a file" in nowhere.stderr
