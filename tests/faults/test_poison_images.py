"""Images that end, hang or stop the process that reads them: found, tried once more alone, set aside; nothing waits.

The child and the node are the real ones; `tests.faults.poisoned` makes a decoder or a network fail on images of our
choice.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from cxrnode.domain.finding import ImagePrediction
from cxrnode.errors import Unsuitable
from cxrnode.inference import process
from cxrnode.inference.predictor import ChildPredictor
from cxrnode.phantom import Radiograph, View, write
from cxrnode.pipeline.quarantine import is_doubted
from cxrnode.ports import Request
from cxrnode.testing import start_pacs
from tests.end_to_end.processes import Serve, all_committed, serving
from tests.fakes.bundle import write_tiny_bundle
from tests.faults import poisoned
from tests.tally import Tally

POISONED = (sys.executable, "-m", "tests.faults.poisoned")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold the bundles `tiny` and `other`, a sound film, and the same film under the names of its poisons."""
    folder = tmp_path_factory.mktemp("poison")
    write_tiny_bundle(folder / "tiny")
    write_tiny_bundle(folder / "other", seed=2)
    for name in ("sound", "segv", "abort", "kill", "hang", "memory", "stop", "lost"):
        write(Radiograph(rows=400, cols=320), folder / f"{name}.dcm")
    return folder


@contextmanager
def poisoned_predictor(folder: Path, decoders: int = 1) -> Iterator[ChildPredictor]:
    """Give a predictor whose children the films of `poison.json` end, and which prepares so many films at once."""
    bundles = {name: folder / name for name in ("tiny", "other")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "_COMMAND", poisoned.COMMAND)
        patch.setenv("POISON", str(folder / "poison.json"))
        patch.setenv("POISON_DECODERS", str(decoders))
        limits = {"heartbeat_seconds": 0.1, "stall_seconds": 6.0, "image_seconds": 6.0}
        with ChildPredictor(bundles, device="cpu", **limits) as predictor:
            yield predictor


@pytest.fixture(scope="module")
def predictor(folder: Path) -> Iterator[ChildPredictor]:
    """One predictor for all tests: each finds the child that the one before left."""
    with poisoned_predictor(folder) as predictor:
        yield predictor


Ask = Callable[..., Sequence[ImagePrediction]]


@pytest.fixture
def predict(folder: Path, predictor: ChildPredictor) -> Ask:
    """Ask a child for films by name; `poison` as POISON wants it, by default each film is what its name says."""
    return asking(folder, predictor)


def asking(folder: Path, predictor: ChildPredictor) -> Ask:
    """Give what the fixture `predict` gives, for another predictor."""

    def ask(*names: str, alone: bool = False, **poison: str) -> Sequence[ImagePrediction]:
        known = {name: name for name in poisoned.ENDS}
        (folder / "poison.json").write_text(json.dumps({f"{name}.dcm": how for name, how in (known | poison).items()}))
        requests = [
            Request(row=0, path=folder / f"{name}.dcm", transfer_syntax_uid="", models=("tiny", "other"))
            for name in names
        ]
        return predictor.predict(requests, lambda: None, alone=alone)

    return ask


def failure(answer: ImagePrediction) -> str:
    """Give why an image has no answers; empty where both models answered."""
    if answer.failure is None:
        assert [said.model.name for said in answer.predictions] == ["tiny", "other"]
        return ""
    assert answer.failure.transient, "one loss proves nothing"
    return answer.failure.code


def test_images_that_end_their_reader_are_found_in_one_batch(predict: Ask, tally: Tally, long: bool) -> None:
    """Each is named with what it did, and every sound one is answered, as far as it was not under way: then, alone."""
    poison = {"segv": "crashed", "hang": "hung"}
    poison |= {"abort": "crashed", "kill": "no_memory", "stop": "hung"} if long else {}
    films = [film for name in poison for film in ("sound", name)] + ["sound"]
    answers = predict(*films)
    assert not is_doubted(answers[-1]), "nothing was lost on the last one"
    doubted = [is_doubted(answer) for answer in answers]
    alone = [predict(film, alone=True)[0] if doubted[place] else answers[place] for place, film in enumerate(films)]
    assert [failure(answer) for answer in alone] == [poison.get(film, "") for film in films]
    tally.add("image ends its reader", injected=len(poison), fired=len(poison), instances=len(films))


@pytest.mark.long
def test_films_that_were_under_way_beside_a_poison_image_are_answered_alone(folder: Path, tally: Tally) -> None:
    """On a machine with many processors a lost child leaves many suspects, most of them sound."""
    films = ["sound", "segv", "sound", "sound"]
    with poisoned_predictor(folder, decoders=8) as predictor:
        predict = asking(folder, predictor)
        answers = predict(*films)
        suspects = [is_doubted(answer) for answer in answers]
        assert sum(suspects) > 1, "no sound film was under way beside the poisoned one"
        alone = [
            predict(film, alone=True)[0] if doubted else None for film, doubted in zip(films, suspects, strict=True)
        ]
    ended = [failure(again or first) for again, first in zip(alone, answers, strict=True)]
    assert ended == ["", "crashed", "", ""]
    tally.add("image ends its reader, many at once", injected=1, fired=1, instances=len(films))


def test_an_image_that_ends_one_model_keeps_the_others_answers(predict: Ask, tally: Tally) -> None:
    """Only that network is lost on it."""
    (first,) = predict("segv", segv="segv in other")
    assert [said.model.name for said in first.predictions] == ["tiny"]
    assert [(name, why.code, why.transient) for name, why in first.failed] == [("other", "crashed", True)]
    tally.add("image ends one model", injected=1, fired=1, instances=1)


def test_a_child_that_was_lost_once_by_chance_condemns_nobody(predict: Ask, tmp_path: Path) -> None:
    """The image that was under way is answered when it is tried alone."""
    once = f"segv once {tmp_path / 'flag'}"
    assert failure(predict("segv", segv=once)[0]) == "crashed"
    assert (tmp_path / "flag").exists()
    assert failure(predict("segv", alone=True, segv=once)[0]) == ""


def test_want_of_memory_and_a_lost_gpu_are_never_the_image_s_fault(predict: Ask) -> None:
    """A MemoryError costs no child; the end that a broken GPU asks for costs one."""
    answers = predict("memory", "lost", "sound")
    assert [failure(answer) for answer in answers] == ["no_memory", "device_lost", ""]
    (model,) = predict("memory", memory="lost in other")
    assert [(name, why.code) for name, why in model.failed] == [("other", "device_lost")]


def test_a_comparison_that_ends_the_child_twice_cannot_be_made(
    predict: Ask, predictor: ChildPredictor, folder: Path
) -> None:
    """A copy that no decoder survives is Unsuitable: its bell does not ring for ever."""
    assert failure(predict("sound")[0]) == ""
    for name, code in (("abort", "crashed"), ("memory", "no_memory")):
        with pytest.raises(Unsuitable) as refused:
            predictor.same_pixels(folder / "sound.dcm", folder / f"{name}.dcm")
        assert refused.value.code == code
    assert failure(predict("sound")[0]) == ""


def poison_load(folder: Path, studies: int, poisoned: int) -> tuple[list[Path], dict[str, str]]:
    """Write studies of two films, the first of some studies poisoned; give the films, and what poisoned ones do."""
    films, poison = [], {}
    for seed in range(studies):
        for number, view in enumerate((View.PA, View.AP)):
            film = Radiograph(
                seed=seed, rows=288, cols=256, view=view, study=f"poison {seed}", instance_number=number + 1
            )
            films.append(folder / f"{seed}-{number}.dcm")
            uid = str(write(film, films[-1]).dataset.SOPInstanceUID)
            if number == 0 and seed < poisoned:
                poison[uid] = ("segv", "hang", "abort in lungs")[seed % 3]
    return films, poison


def outcomes(node: Serve) -> dict[str, str]:
    """Give what became of every film of completed jobs, by its UID."""
    return {str(one.sop_instance_uid): one.outcome or "" for job in node.jobs() for one in job.members}


def sent_and_done(node: Serve, films: Sequence[Path], studies: int) -> None:
    """Send films while jobs are paused, so that they are claimed together."""
    assert node.cli("pause").returncode == 0
    assert node.send(films) == [0] * len(films)
    node.wait(lambda: len(node.jobs()) == studies)
    assert node.cli("resume").returncode == 0


@pytest.mark.parametrize(
    "killed",
    [pytest.param(False, id="node lives"), pytest.param(True, id="node is killed meanwhile", marks=pytest.mark.long)],
)
def test_poison_images_hold_up_nobody_and_end_as_recorded_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally, long: bool, killed: bool
) -> None:
    """A real node, its real child: the rest of each study is reported without an attempt lost, the echo is answered."""
    studies = 24 if long else 4
    films, poison = poison_load(tmp_path, studies, 9 if long else 2)
    (tmp_path / "poison.json").write_text(json.dumps(poison))
    monkeypatch.setenv("POISON", str(tmp_path / "poison.json"))
    settings = {"INFERENCE__IMAGE_SECONDS": "8", "INFERENCE__STALL_SECONDS": "20"}
    began = time.monotonic()
    with start_pacs() as pacs, serving(tmp_path / "node", pacs, before=POISONED, **settings) as node:
        sent_and_done(node, films, studies)
        if killed:
            node.wait(lambda: node.events("child_lost"))
            node.kill()
            node.start()
        node.wait(lambda: all_committed(node.jobs()) and len(node.jobs()) == studies, 900)
        assert node.echo()
        check_poisoned(node, poison, len(films), attempts_lost=killed)
        assert len(pacs.kept) == studies + len(films) - len(poison), "a report a study, a SEG a sound film"
        lost = len(films) - len(outcomes(node))
        fired = len({event["instance"] for event in node.events("image_quarantined")})
        tally.add(
            "poison image, whole node",
            injected=len(poison),
            fired=fired,
            instances=len(films),
            lost=lost,
            seconds=time.monotonic() - began,
        )
        assert node.terminate() == 0


def check_poisoned(node: Serve, poison: dict[str, str], films: int, *, attempts_lost: bool) -> None:
    """Each poisoned film has its reason, every other one its result, and each child's end is in the log."""
    became = outcomes(node)
    assert len(became) == films
    wanted = {"segv": "crashed", "hang": "hung", "abort in lungs": "crashed"}
    assert {uid: became[uid] for uid in poison} == {uid: wanted[how] for uid, how in poison.items()}
    assert {code for uid, code in became.items() if uid not in poison} == {""}
    assert {event["instance"] for event in node.events("image_quarantined")} == set(poison)
    assert {event["code"] for event in node.events("child_lost")} == {"crashed", "hung"}
    if not attempts_lost:
        assert node.events("job_retried") == []
        assert len(node.events("child_lost")) == 2 * len(poison)
