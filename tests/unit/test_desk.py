"""The order in which images go through the child: here, that one image's trouble is its own answer."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from cxrnode.inference import protocol
from cxrnode.inference.desk import Desk
from cxrnode.inference.engine import Engine
from cxrnode.inference.image_pass import Model
from cxrnode.inference.protocol import Frame, Pipe
from tests.unit.test_image_pass import ask, made, model


@pytest.fixture
def ends() -> Iterator[tuple[Pipe, Pipe]]:
    """The node's end of a pipe, and the child's."""
    ours, theirs = (Pipe(end) for end in socket.socketpair())
    yield ours, theirs
    ours.close()
    theirs.close()


def predicted(ends: tuple[Pipe, Pipe], films: list[Path], models: dict[str, Model]) -> list[Any]:
    """Let a desk answer a call for these films; give the answers in order."""
    ours, theirs = ends
    requests = [protocol.encode_request(ask(film)) for film in films]
    call = Frame(kind=protocol.PREDICT, body={"call": 1, "requests": requests})
    desk = Desk(theirs, lambda call, images, model="": nullcontext())
    desk.predict(call, Engine(models=models, device="cpu", group=1))
    frames = [ours.receive() for _ in films]
    answers = {frame.body["index"]: protocol.decode_answer(frame) for frame in frames if frame is not None}
    return [answers[place] for place in range(len(films))]


def test_an_answer_for_which_there_is_no_memory_is_an_answer(
    ends: tuple[Pipe, Pipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child goes on; had it ended, nobody would know on which image, and the whole batch would be asked again."""
    film, _ = made(tmp_path)
    encode, left = protocol.encode_answer, [1]

    def encode_or_fail(answer: Any) -> Any:
        if left and left.pop():
            raise MemoryError
        return encode(answer)

    monkeypatch.setattr(protocol, "encode_answer", encode_or_fail)
    answers = predicted(ends, [film, film], {"lungs": model()})
    (failure,) = [one.failure for one in answers if one.failure]
    assert (failure.code, failure.transient) == ("no_memory", True)
    assert [said.model.name for one in answers for said in one.predictions] == ["lungs"]
