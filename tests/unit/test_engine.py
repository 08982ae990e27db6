"""The engine where memory is short or the GPU is lost: there is no GPU, so stand-ins raise what torch would raise."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cxrnode.domain.finding import Failure
from cxrnode.errors import DeviceMissing
from cxrnode.inference import engine as engines
from cxrnode.inference.bundle import Network
from cxrnode.inference.engine import Engine, load_engine
from cxrnode.inference.image_pass import FloatArray, Model, Prepared, Said, prepare_image
from cxrnode.inference.protocol import LOST_DEVICE
from tests.fakes.bundle import write_tiny_bundle
from tests.unit.test_image_pass import SIZE, Scripted, ask, made, model

GPU = "torch-2 cuda sm_90 fp32 batch-8"


class Crowded(Scripted):
    """A network on a GPU with room for `most` pictures."""

    def __init__(self, most: int, error: type[Exception] = torch.OutOfMemoryError) -> None:
        super().__init__()
        self.most, self.error = most, error

    def predict(self, batch: FloatArray) -> FloatArray:
        """Answer as many as there is room for."""
        if len(batch) > self.most:
            raise self.error("CUDA out of memory")
        return super().predict(batch)


def on_gpu(most: int, *, on_cpu: Scripted | None = None) -> Engine:
    """Give an engine that believes to have a GPU, and how its one model is run on the CPU."""
    usual = model(network=Crowded(most))
    named = Model(identity=replace(usual.identity, backend=GPU), network=usual.network, card=usual.card)
    spare = on_cpu or Scripted()
    return Engine(models={"lungs": named}, device="cuda:0", group=8, spare=lambda name: spare)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Prepared]:
    path, _ = made(tmp_path)
    return [prepare_image(ask(path), {"lungs": model()})] * 5


def ways(said: list[dict[str, Said | Failure]]) -> set[str]:
    """Give the backends by which images were answered."""
    return {one["lungs"].model.backend for one in said if isinstance(one["lungs"], Said)}


@pytest.mark.parametrize(("most", "batch"), [(8, 8), (7, 4), (3, 2), (1, 1)])
def test_a_batch_that_does_not_fit_is_made_smaller_and_called_by_its_size(
    pictures: list[Prepared], most: int, batch: int
) -> None:
    """Each image has its own answer, under the identity of the batch that it really went through in."""
    engine = on_gpu(most)
    said = engine.run(pictures)
    assert ways(said) == {GPU.removesuffix("8") + str(batch)}
    fed = engine.models["lungs"].network.fed  # type: ignore[attr-defined]
    assert {one.shape for one in fed} == {(batch, 1, SIZE, SIZE)}
    assert len(fed) == -(-len(pictures) // batch)


def test_a_gpu_that_does_not_even_give_its_memory_back_ends_no_batch(
    pictures: list[Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong with it is found out by the next way to run the model, which knows what to do."""
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: (_ for _ in ()).throw(RuntimeError("CUDA error")))
    assert ways(on_gpu(2).run(pictures)) == {GPU.removesuffix("8") + "2"}


def test_a_gpu_without_room_for_one_leaves_it_to_the_cpu(pictures: list[Prepared]) -> None:
    """One picture at a time, as the CPU always does, and under the CPU's name."""
    cpu = Scripted()
    said = on_gpu(0, on_cpu=cpu).run(pictures)
    assert ways(said) == {engines.backend_of("cpu", 1)}
    assert [one.shape for one in cpu.fed] == [(1, 1, SIZE, SIZE)] * 5
    assert all(np.array_equal(one["lungs"].values, said[0]["lungs"].values) for one in said)  # type: ignore[union-attr]


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError, RuntimeError])
def test_where_the_cpu_has_no_room_either_another_attempt_may_help(
    pictures: list[Prepared], error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Want of memory is not the image's fault. A RuntimeError is anything: then the model failed."""
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    said = on_gpu(0, on_cpu=Crowded(0, error)).run(pictures[:1])[0]["lungs"]
    assert isinstance(said, Failure)
    wanted = ("model_failed", False) if error is RuntimeError else ("no_memory", True)
    assert (said.code, said.transient) == wanted


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
    ],
)
def test_want_of_memory_that_torch_only_says_in_words_is_known(pictures: list[Prepared], words: str) -> None:
    """A library's workspace that does not fit on the GPU makes the batch smaller, too."""

    class Wordy(Scripted):
        def predict(self, batch: FloatArray) -> FloatArray:
            if len(batch) > 2:
                raise RuntimeError(words)
            return super().predict(batch)

    crowded = on_gpu(8)
    usual = replace(crowded.models["lungs"], network=Wordy())
    said = replace(crowded, models={"lungs": usual}).run(pictures)
    assert ways(said) == {GPU.removesuffix("8") + "2"}


def test_torch_s_want_of_memory_on_the_cpu_is_known(pictures: list[Prepared]) -> None:
    """It has no class of its own; the real thing is asked for."""

    def greedy(batch: FloatArray) -> FloatArray:
        return torch.empty(1 << 50, dtype=torch.uint8).numpy()

    engine = Engine(models={"lungs": model(network=Scripted(greedy))}, device="cpu", group=1)
    said = engine.run(pictures[:1])[0]["lungs"]
    assert isinstance(said, Failure)
    assert (said.code, said.transient) == ("no_memory", True)


class Gone(BaseException):
    """Stands for the end of the process."""


def test_a_gpu_that_is_beyond_use_ends_the_child(pictures: list[Prepared], monkeypatch: pytest.MonkeyPatch) -> None:
    """After an error of the GPU's own no call succeeds any more in this process; the node starts another."""
    statuses: list[int] = []

    def end(status: int) -> None:
        statuses.append(status)
        raise Gone

    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: (_ for _ in ()).throw(RuntimeError("CUDA error")))
    usual = model(network=Crowded(0, RuntimeError))
    engine = Engine(models={"lungs": usual}, device="cuda:0", group=8)
    with pytest.raises(Gone):
        engine.run(pictures)
    assert statuses == [LOST_DEVICE]


@pytest.fixture
def full_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle, and a GPU that is there and has no memory left."""
    bundle = write_tiny_bundle(tmp_path / "tiny")
    load = Network.load.__func__  # type: ignore[attr-defined]

    def loaded(cls: type[Network], path: Path, device: str = "cpu", threads: int | None = None) -> Network:
        if device.startswith("cuda"):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return load(cls, path, device, threads)  # type: ignore[no-any-return]

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch, "set_num_interop_threads", lambda count: None)
    monkeypatch.setattr(Network, "load", classmethod(loaded))
    return bundle


def test_a_gpu_that_cannot_be_used_gives_way_to_the_cpu_where_the_settings_let_it(full_gpu: Path) -> None:
    """And the engine says why it runs there."""
    engine = load_engine({"tiny": full_gpu}, device="auto", threads=1, batch=8)
    assert (engine.device, engine.reason) == ("cpu", "cuda:0 cannot be used")
    assert " cpu " in engine.models["tiny"].identity.backend


def test_a_gpu_that_was_asked_for_by_name_is_not_replaced(full_gpu: Path) -> None:
    """Who says "cuda" wants its identity and no other."""
    with pytest.raises(DeviceMissing, match="cannot be used"):
        load_engine({"tiny": full_gpu}, device="cuda", threads=1, batch=8)


def test_the_child_asks_for_no_more_memory_than_its_share() -> None:
    """A codec that wants four times the limit gets a MemoryError, and the process lives."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    script = f"""
        import numpy as np
        from cxrnode.inference.child import bound_memory
        np.zeros({whole // 4}, dtype=np.uint8)
        bound_memory(0.1)
        try:
            np.zeros({whole // 4}, dtype=np.uint8)
        except MemoryError:
            print("refused")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"


def test_a_lower_limit_of_the_service_stays() -> None:
    """`LimitDATA=` in the unit, or `ulimit -d`: the child neither raises it nor fails over it."""
    script = """
        import resource
        from cxrnode.inference.child import bound_memory
        for limits in ((4 << 30, resource.RLIM_INFINITY), (4 << 30, 4 << 30)):
            resource.setrlimit(resource.RLIMIT_DATA, limits)
            bound_memory(1000.0)
            assert resource.getrlimit(resource.RLIMIT_DATA) == limits
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)
