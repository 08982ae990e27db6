"""What becomes of the inference child, and of its callers, when things go wrong.

A file that cannot be opened until somebody writes to it (a FIFO) stands for a codec that hangs: the child is then in
the middle of a batch for as long as the test wants it to be.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from cxrnode.domain.finding import ImagePrediction
from cxrnode.errors import ChildLost, CxrnodeError, ModelAltered, NeedsOperator, SettingsInvalid, Stopping
from cxrnode.inference import process
from cxrnode.inference.predictor import ChildPredictor
from cxrnode.phantom import Radiograph, write
from cxrnode.ports import Request
from tests.fakes.bundle import write_tiny_bundle
from tests.waiting import wait_for

PATIENCE = 60.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold a bundle `tiny`, a sound file `sound.dcm` and a file that hangs, `hang.dcm`."""
    folder = tmp_path_factory.mktemp("child")
    write_tiny_bundle(folder / "tiny")
    write(Radiograph(rows=400, cols=320), folder / "sound.dcm")
    os.mkfifo(folder / "hang.dcm")
    return folder


@pytest.fixture(scope="module")
def predictor(folder: Path) -> Iterator[ChildPredictor]:
    """One predictor for the tests that lose a child: each finds a fresh one."""
    with ChildPredictor(
        {"tiny": folder / "tiny"}, device="cpu", heartbeat_seconds=0.1, stall_seconds=4.0, image_seconds=4.0
    ) as predictor:
        yield predictor


def ask(path: Path, *models: str) -> Request:
    return Request(row=0, path=path, transfer_syntax_uid="", models=models or ("tiny",))


def living_child(predictor: ChildPredictor) -> int:
    predictor.identities(PATIENCE)
    pid = predictor.pid()
    assert pid is not None
    return pid


def gone(pid: int, within: float = PATIENCE) -> bool:
    """Wait for a process to end, whoever's child it is."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        ready, _, _ = select.select([handle], [], [], within)
        return bool(ready)
    finally:
        os.close(handle)


def once(act: Callable[[], None], beats: int = 1) -> Callable[[], None]:
    """Give an `alive` that acts at one heartbeat only, the first unless it is told to wait."""
    heard: list[None] = []

    def alive() -> None:
        heard.append(None)
        if len(heard) == beats:
            act()

    return alive


def release(fifo: Path) -> None:
    """Let the one that waits for a FIFO go on, with an empty file."""
    os.close(os.open(fifo, os.O_WRONLY))


def code_of(answer: ImagePrediction) -> str:
    """Give why an image has no answers."""
    return answer.failure.code if answer.failure else ""


def assert_works(predictor: ChildPredictor, folder: Path) -> None:
    answer = predictor.predict([ask(folder / "sound.dcm")], lambda: None)[0]
    assert answer.failure is None
    assert len(answer.predictions) == 1


def test_child_killed_in_mid_batch_costs_only_what_it_worked_on(predictor: ChildPredictor, folder: Path) -> None:
    """SIGKILL while a batch runs: a fresh child answers the rest, and the image under way may be tried again."""
    pid = living_child(predictor)
    batch = [ask(folder / "hang.dcm"), ask(folder / "sound.dcm"), ask(folder / "sound.dcm")]
    hung, *others = predictor.predict(batch, once(lambda: os.kill(pid, signal.SIGKILL), beats=10))
    assert hung.failure is not None
    assert (hung.failure.code, hung.failure.transient) == ("no_memory", True)
    assert all(answer.failure or answer.predictions for answer in others)
    assert_works(predictor, folder)
    assert predictor.pid() != pid


def test_children_that_never_begin_are_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One may have been killed; after two in a row the line is told to wait, and goes on when a child has begun."""
    with monkeypatch.context() as broken:
        broken.setattr(process, "_COMMAND", (sys.executable, "-c", "raise SystemExit(1)"))
        predictor = ChildPredictor({"tiny": folder / "tiny"}, device="cpu", again_seconds=0.2)
        for _ in range(2):
            assert not predictor.waits_for()
            with pytest.raises(ChildLost):
                predictor.predict([ask(folder / "sound.dcm")], lambda: None)
        wait_for(predictor.waits_for, PATIENCE)
        assert "gone" in str(predictor.trouble())
    try:
        wait_for(lambda: not predictor.waits_for(), PATIENCE)
        assert predictor.trouble() is None
        assert_works(predictor, folder)
    finally:
        predictor.close()


def test_a_child_that_hangs_up_and_does_not_end_is_not_said_to_have_wanted_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SIGKILL that it ends by is ours, and says nothing of the machine."""
    hang_up = "import os, sys, time; os.close(int(sys.argv[1])); time.sleep(600)"
    monkeypatch.setattr(process, "_COMMAND", (sys.executable, "-c", hang_up))
    monkeypatch.setattr(process, "_DYING_SECONDS", 0.2)
    with ChildPredictor({"tiny": folder / "tiny"}, device="cpu") as predictor:
        child = predictor._child
        assert child is not None
        with pytest.raises(ChildLost):
            predictor.identities(PATIENCE)
        assert gone(child.pid)
        assert child.cause == "crashed"


@pytest.fixture
def unkillable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Children that no signal ends, as one that sits in the kernel under a GPU's driver that hangs."""
    spawned: list[int] = []
    monkeypatch.setattr(process, "_DYING_SECONDS", 0.2)
    monkeypatch.setattr(subprocess.Popen, "kill", lambda self: spawned.append(self.pid))
    yield
    for pid in set(spawned):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.usefixtures("unkillable")
def test_a_child_that_cannot_be_ended_is_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for it gets an answer; and the node ends without it."""
    monkeypatch.setattr(process, "_COMMAND", (sys.executable, "-c", "import time; time.sleep(600)"))
    with ChildPredictor({"tiny": folder / "tiny"}, device="cpu", start_seconds=0.5, heartbeat_seconds=0.1) as predictor:
        with pytest.raises(ChildLost, match="not loaded within"):
            predictor.identities(PATIENCE)
        predictor.start()
        began = time.monotonic()
    assert time.monotonic() - began < PATIENCE / 2


def test_child_that_is_killed_while_idle_is_replaced_at_once(predictor: ChildPredictor, folder: Path) -> None:
    """Nobody has to ask before the models load again."""
    pid = living_child(predictor)
    os.kill(pid, signal.SIGKILL)
    assert gone(pid)
    deadline = time.monotonic() + PATIENCE
    while predictor.pid() in (pid, None):
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    assert_works(predictor, folder)


def test_stopped_child_is_found_out_by_its_heartbeat(predictor: ChildPredictor, folder: Path) -> None:
    """SIGSTOP, as a C extension that never gives the interpreter back would do."""
    pid = living_child(predictor)
    (answer,) = predictor.predict([ask(folder / "hang.dcm")], once(lambda: os.kill(pid, signal.SIGSTOP)))
    assert code_of(answer) == "hung"
    assert gone(pid)
    assert_works(predictor, folder)


def test_image_that_takes_for_ever_is_found_out_though_the_heart_beats(predictor: ChildPredictor, folder: Path) -> None:
    """A heartbeat proves that the interpreter turns, not that the image will ever be done."""
    living_child(predictor)
    beats: list[int] = []
    (answer,) = predictor.predict([ask(folder / "hang.dcm")], lambda: beats.append(1))
    assert code_of(answer) == "hung"
    assert len(beats) > 3
    assert_works(predictor, folder)


def test_comparison_does_not_wait_for_a_batch(predictor: ChildPredictor, folder: Path) -> None:
    """Pixels are compared while another thread's batch hangs; what is learnt in `alive` propagates."""
    living_child(predictor)
    same: list[bool] = []

    def compare() -> None:
        same.append(predictor.same_pixels(folder / "sound.dcm", folder / "sound.dcm"))
        raise InterruptedError

    with pytest.raises(InterruptedError):
        predictor.predict([ask(folder / "hang.dcm")], once(compare))
    assert same == [True]
    release(folder / "hang.dcm")


def test_closing_ends_the_child_and_its_callers(folder: Path) -> None:
    """A call in flight gets Stopping, and so does every later one."""
    predictor = ChildPredictor({"tiny": folder / "tiny"}, device="cpu", heartbeat_seconds=0.1)
    predictor.start()
    pid = living_child(predictor)
    closing = threading.Thread(target=predictor.close)
    with pytest.raises(Stopping):
        predictor.predict([ask(folder / "hang.dcm")], once(closing.start))
    closing.join(PATIENCE)
    assert gone(pid)
    with pytest.raises(Stopping):
        predictor.predict([ask(folder / "sound.dcm")], lambda: None)


_PARENT = """
    import sys
    from pathlib import Path
    from cxrnode.inference.predictor import ChildPredictor
    from cxrnode.ports import Request
    folder = Path(sys.argv[1])
    predictor = ChildPredictor({"tiny": folder / "tiny"}, device="cpu", heartbeat_seconds=0.1)
    predictor.start()
    predictor.identities()
    assert "torch" not in sys.modules and "monai" not in sys.modules
    print(predictor.pid(), flush=True)
    hang = Request(row=0, path=folder / "hang.dcm", transfer_syntax_uid="", models=("tiny",))
    predictor.predict([hang], lambda: None)
"""


def parent_of_a_child(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """Start a process that owns a child in the middle of a batch; give it and its child's number."""
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_PARENT), str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    return parent, int(parent.stdout.readline())


@pytest.mark.parametrize("stopped", [False, True], ids=["that turns", "that is stopped"])
def test_child_ends_with_its_parent(folder: Path, stopped: bool) -> None:
    """kill -9 of the node leaves no orphan, not even one that cannot run a line of Python any more.

    The parent, which has its models, has not imported torch: it would not have told its child's number.
    """
    parent, pid = parent_of_a_child(folder)
    if stopped:
        os.kill(pid, signal.SIGSTOP)
    parent.kill()
    parent.wait(PATIENCE)
    assert parent.stdout is not None
    parent.stdout.close()
    assert gone(pid, 10.0)


def test_child_survives_the_signals_of_a_service_that_stops(predictor: ChildPredictor, folder: Path) -> None:
    """systemd and a terminal signal every process at once; the node decides when its child ends."""
    pid = living_child(predictor)
    os.kill(pid, signal.SIGTERM)
    assert_works(predictor, folder)
    assert predictor.pid() == pid
    assert os.getsid(pid) == pid


def failing_start(bundle: Path, **settings: str) -> CxrnodeError:
    """Start a predictor that cannot; the error must come to every caller, and no child may be tried again."""
    with ChildPredictor({"tiny": bundle}, **{"device": "cpu", **settings}) as predictor:
        with pytest.raises(CxrnodeError) as first:
            predictor.identities(PATIENCE)
        with pytest.raises(type(first.value)):
            predictor.predict([ask(bundle)], lambda: None)
        assert not predictor.ready()
        assert predictor.pid() is None
        assert str(predictor.trouble()) == str(first.value)
    return first.value


def test_altered_weights_stop_the_node(tmp_path: Path) -> None:
    """One changed byte: ModelAltered, with a hint, and nothing is run."""
    bundle = write_tiny_bundle(tmp_path / "tiny")
    weights = bundle / "models" / "model.pt"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00\x01")
    error = failing_start(bundle)
    assert isinstance(error, ModelAltered)
    assert error.hint


def test_bundle_that_may_not_be_run_needs_the_operator(tmp_path: Path) -> None:
    """A network outside the table of allowed ones is not built."""
    bundle = write_tiny_bundle(tmp_path / "tiny")
    inference = bundle / "configs" / "inference.json"
    inference.write_text(inference.read_text().replace("monai.networks.nets.BasicUNet", "os.system"))
    assert isinstance(failing_start(bundle), NeedsOperator)


def test_device_that_is_not_there_is_a_setting_to_change(folder: Path) -> None:
    """`cuda:99` is refused in words, not with a traceback."""
    assert isinstance(failing_start(folder / "tiny", device="cuda:99"), SettingsInvalid)


def spoilt(network: torch.nn.Module) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(float("nan"))


def test_model_that_fails_does_not_take_the_others_with_it(folder: Path, tmp_path: Path) -> None:
    """Output that is no number, or of other channels than the card's, is that model's failure alone."""
    bundles = {
        "tiny": folder / "tiny",
        "nan": write_tiny_bundle(tmp_path / "nan", change=spoilt),
        "short": write_tiny_bundle(tmp_path / "short", outputs=2),
    }
    with ChildPredictor(bundles, device="cpu") as predictor:
        asked = [ask(folder / "sound.dcm", "nan", "tiny", "short"), ask(folder / "sound.dcm")]
        first, second = predictor.predict(asked, lambda: None)
    assert [said.model.name for said in first.predictions] == ["tiny"]
    assert [(name, why.code) for name, why in first.failed] == [("nan", "model_failed"), ("short", "model_failed")]
    assert len(second.predictions) == 1


def test_file_that_is_gone_may_be_tried_again(predictor: ChildPredictor, folder: Path) -> None:
    """Trouble with the disk is not the image's fault."""
    failure = predictor.predict([ask(folder / "missing.dcm")], lambda: None)[0].failure
    assert failure is not None
    assert failure.transient
