"""The frames between the node and its inference child."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import numpy as np
import pytest

from cxrnode.domain.finding import Box, Failure, ImagePrediction, ModelIdentity, Prediction, Score
from cxrnode.errors import ModelAltered, NeedsOperator
from cxrnode.inference import protocol
from cxrnode.inference.protocol import Frame, NotAFrame, Pipe
from cxrnode.ports import Request

MODEL = ModelIdentity(name="lungs", version="1", digest="ab", backend="none")


@pytest.fixture
def ends() -> tuple[Pipe, socket.socket]:
    ours, theirs = socket.socketpair()
    return Pipe(ours), theirs


def crossed(answer: ImagePrediction) -> ImagePrediction:
    ours, theirs = socket.socketpair()
    body, blobs = protocol.encode_answer(answer)
    Pipe(ours).send(protocol.ANSWER, body, blobs)
    frame = Pipe(theirs).receive()
    assert frame is not None
    return protocol.decode_answer(frame)


def test_masks_survive_packing_whatever_their_size() -> None:
    """Planes whose pixels do not fill whole bytes come back bit for bit."""
    random = np.random.default_rng(5)
    masks = tuple((str(shape), random.random(shape) > 0.5) for shape in ((1, 1), (3, 5), (17, 31), (64, 64)))
    back = crossed(ImagePrediction(predictions=(Prediction(model=MODEL, masks=masks),)))
    for (label, mask), (name, plane) in zip(masks, back.predictions[0].masks, strict=True):
        assert label == name
        assert np.array_equal(mask, plane)


def test_scores_boxes_failures_and_previews_survive() -> None:
    """Everything an answer may hold crosses unchanged, floats to the last bit."""
    preview = np.arange(12, dtype=np.uint8).reshape(3, 4)
    box = Box(label="opacity", probability=1 / 3, left=0.1, top=2.0, right=7.7, bottom=9.0)
    score = Score(
        finding="effusion",
        probability=0.1 + 0.2,
        operating_point=1 / 7,
        low=0.1,
        high=0.3,
        withheld="not good enough",
        holds_for="adults",
    )
    said = Prediction(model=MODEL, scores=(score,), boxes=(box,))
    failed = (("other", Failure(code="model_failed", detail="it broke", transient=True)),)
    back = crossed(ImagePrediction(predictions=(said,), failed=failed, preview=preview))
    assert back.predictions[0].scores == said.scores
    assert back.predictions[0].boxes == (box,)
    assert back.failed == failed
    assert back.failure is None
    assert back.preview is not None
    assert np.array_equal(back.preview, preview)


def test_failure_of_the_whole_image_survives() -> None:
    """An image that could not be decoded has nothing else."""
    back = crossed(ImagePrediction(failure=Failure(code="unreadable")))
    assert back.failure == Failure(code="unreadable")
    assert back.predictions == ()


def test_request_survives_with_a_path_that_is_no_text() -> None:
    """File names are bytes; those that are not UTF-8 cross as well."""
    request = Request(row=7, path=Path("/spool/\udcff.dcm"), transfer_syntax_uid="1.2", models=("a", "b"), preview=True)
    ours, theirs = socket.socketpair()
    Pipe(ours).send(protocol.PREDICT, protocol.encode_request(request))
    frame = Pipe(theirs).receive()
    assert frame is not None
    assert protocol.decode_request(frame.body) == request


def test_stopping_error_keeps_its_class_and_its_hint() -> None:
    """The operator reads the same words that the child found."""
    error = ModelAltered("the weights differ", operation="verify", subject="lungs", hint="put them back")
    back = protocol.decode_stop(protocol.encode_stop(error))
    assert type(back) is ModelAltered
    assert str(back) == str(error)
    assert type(protocol.decode_stop(protocol.encode_stop(NeedsOperator("no")))) is NeedsOperator


def test_closed_pipe_is_the_end(ends: tuple[Pipe, socket.socket]) -> None:
    """Between frames, the other side's end is an orderly one."""
    pipe, other = ends
    other.close()
    assert pipe.receive() is None


@pytest.mark.parametrize(
    "sent",
    [
        struct.pack(">I", 100) + b"{",
        struct.pack(">I", 2) + b"[]",
        struct.pack(">I", 4) + b"\x80\x04K\x01",
        struct.pack(">I", 1 << 31),
        struct.pack(">I", 28) + b'{"kind": "x", "blobs": [-1]}',
        struct.pack(">I", 30) + b'{"kind": "x", "blobs": [true]}',
    ],
    ids=["cut off", "a list", "a pickle", "too long", "negative blob", "no length"],
)
def test_what_is_no_frame_is_refused(ends: tuple[Pipe, socket.socket], sent: bytes) -> None:
    """Nothing but whole frames is taken, and nothing is unpickled."""
    pipe, other = ends
    other.sendall(sent)
    other.close()
    with pytest.raises(NotAFrame):
        pipe.receive()


def test_waiting_for_a_frame_is_watched(ends: tuple[Pipe, socket.socket]) -> None:
    """A reader can give up between frames and in the middle of one."""
    pipe, other = ends
    other.sendall(struct.pack(">I", 100) + b"{")
    seen: list[int] = []

    def watch() -> None:
        seen.append(1)
        if len(seen) > 5:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        pipe.receive(watch, 0.01)


def test_frames_of_many_threads_do_not_mix() -> None:
    """A heartbeat never lands inside an answer."""
    import threading

    ours, theirs = socket.socketpair()
    pipe, reader = Pipe(ours), Pipe(theirs)
    blob = bytes(200_000)
    senders = [
        threading.Thread(target=lambda n=n: [pipe.send("x", {"n": n}, [blob, bytes([n])]) for _ in range(5)])
        for n in range(4)
    ]
    for sender in senders:
        sender.start()
    frames = [reader.receive() for _ in range(20)]
    for sender in senders:
        sender.join()
    assert all(isinstance(frame, Frame) and frame.blobs[1] == bytes([frame.body["n"]]) for frame in frames)
