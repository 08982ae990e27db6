"""One pass over one image, with networks that are a few lines of numpy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from cxrnode.domain.finding import Failure, ImagePrediction, ModelIdentity
from cxrnode.errors import Unsuitable
from cxrnode.inference import image_pass
from cxrnode.inference.bundle import BundleCard
from cxrnode.inference.engine import Engine
from cxrnode.inference.image_pass import FloatArray, Model, failure_of, finish_image, prepare_image
from cxrnode.phantom import Phantom, Radiograph, write
from cxrnode.pixels.decode import StoredPixels, decode
from cxrnode.pixels.geometry import Letterbox
from cxrnode.pixels.normalise import prepare
from cxrnode.ports import Request
from tests.fakes.card import card

SIZE = 64
CHANNELS = ("right_lung", "left_lung", "heart")


def halves(batch: FloatArray) -> FloatArray:
    """Say that the picture's left half is the right lung, its lower half the left lung, and nothing is heart."""
    maps = np.zeros((len(batch), 3, SIZE, SIZE), dtype=np.float32)
    maps[:, 0, :, : SIZE // 2] = 1.0
    maps[:, 1, SIZE // 2 :, :] = 1.0
    return maps


@dataclass
class Scripted:
    """A network that says what `script` says, and remembers what it was fed."""

    script: object = halves
    fed: list[FloatArray] = field(default_factory=list)

    def predict(self, batch: FloatArray) -> FloatArray:
        self.fed.append(batch.copy())
        return self.script(batch)  # type: ignore[operator,no-any-return]


def model(name: str = "lungs", network: Scripted | None = None, thresholds: tuple[float, ...] = (0.5,) * 3) -> Model:
    points = dict(zip(CHANNELS, thresholds, strict=True))
    return model_of(card("segmentation", CHANNELS, operating_points=points), network or Scripted(), name)


def model_of(said: BundleCard, network: Scripted, name: str) -> Model:
    return Model(identity=ModelIdentity(name=name, version="1", digest="d", backend="b"), network=network, card=said)


def engine(*models: Model, group: int = 1) -> Engine:
    return Engine(models={each.identity.name: each for each in models}, device="cpu", group=group)


def ask(path: Path, *models: str, preview: bool = False) -> Request:
    return Request(row=0, path=path, transfer_syntax_uid="", models=models or ("lungs",), preview=preview)


def passed(request: Request, run: Engine) -> ImagePrediction:
    prepared = prepare_image(request, run.models)
    return finish_image(prepared, run.run([prepared])[0], run.models)


def made(folder: Path, **spec: object) -> tuple[Path, Phantom]:
    """Write a film of 420 rows and 360 columns as it stands upright, whichever way it is stored."""
    path = folder / "image.dcm"
    lying = str(spec.get("orientation") or "L")[0] in "FH"
    rows, cols = (360, 420) if lying else (420, 360)
    return path, write(Radiograph(rows=rows, cols=cols, **spec), path)  # type: ignore[arg-type]


ORIENTATIONS = ["L\\F", "R\\F", "L\\H", "R\\H", "F\\L", "F\\R", "H\\L", "H\\R", ""]


@pytest.mark.parametrize("stated", ORIENTATIONS)
def test_right_lung_is_the_patients_however_the_pixels_are_stored(tmp_path: Path, stated: str) -> None:
    """What a network says of the picture's left half lies on the patient's right of the stored image."""
    path, phantom = made(tmp_path, orientation=stated)
    masks = dict(passed(ask(path), engine(model())).predictions[0].masks)
    truth = phantom.truth
    assert masks["right_lung"].shape == truth.right_lung.shape
    assert masks["right_lung"][truth.right_lung].mean() > 0.95
    assert masks["right_lung"][truth.left_lung].mean() < 0.05
    assert masks["left_lung"][truth.heart].mean() > 0.5, "the heart lies in the lower half"
    assert not masks["heart"].any()


def test_networks_are_fed_the_same_picture_however_the_pixels_are_stored(tmp_path: Path) -> None:
    """All eight ways of storing one film are one picture to a network."""
    fed = []
    for stated in ORIENTATIONS[:-1]:
        path, _ = made(tmp_path, orientation=stated)
        fed.append(prepare_image(ask(path), engine(model()).models).fed["lungs"].picture)
    for picture in fed[1:]:
        assert np.abs(picture - fed[0]).max() < 1e-5


def test_mask_is_what_reaches_the_operating_point(tmp_path: Path) -> None:
    """A probability at the operating point is inside, one just below it is not."""
    path, _ = made(tmp_path)
    levels = np.array([0.25, np.nextafter(np.float32(0.25), np.float32(0)), 0.9], dtype=np.float32)
    flat = Scripted(lambda batch: np.broadcast_to(levels[None, :, None, None], (len(batch), 3, SIZE, SIZE)).copy())
    said = passed(ask(path), engine(model(network=flat, thresholds=(0.25, 0.25, 0.95)))).predictions[0]
    assert [bool(mask.all()) for _, mask in said.masks] == [True, False, False]
    assert not said.masks[1][1].any()


def test_preview_lies_as_the_source_is_stored(tmp_path: Path) -> None:
    """The preview is what a viewer shows: not turned for the models, and dark outside the patient."""
    path, phantom = made(tmp_path, orientation="F\\L", photometric="MONOCHROME1")
    preview = passed(ask(path, preview=True), engine(model())).preview
    assert preview is not None
    assert preview.shape == phantom.truth.right_lung.shape
    lungs = phantom.truth.right_lung | phantom.truth.left_lung
    assert preview[lungs].mean() < preview[phantom.truth.heart].mean()


def test_long_picture_has_a_preview_of_1024_pixels(tmp_path: Path) -> None:
    """The longer side is what is limited."""
    preview = image_pass.preview_of(np.linspace(0, 1, 3000 * 40, dtype=np.float32).reshape(3000, 40))
    assert preview.shape == (1024, 14)


def test_file_is_decoded_once_for_all_its_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two models, one decoding."""
    path, _ = made(tmp_path)
    decoded: list[Path] = []

    def counting(source: Path) -> StoredPixels:
        decoded.append(source)
        return decode(source)

    monkeypatch.setattr(image_pass, "decode", counting)
    answer = passed(ask(path, "one", "two"), engine(model("one"), model("two")))
    assert [said.model.name for said in answer.predictions] == ["one", "two"]
    assert decoded == [path]


def test_a_picture_is_prepared_once_for_all_models_of_one_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equalising a whole film costs more than many a network; two models of one size are fed the same picture."""
    path, _ = made(tmp_path)
    sizes: list[int] = []

    def counting(upright: FloatArray, size: int, aspect: float) -> tuple[FloatArray, Letterbox]:
        sizes.append(size)
        return prepare(upright, size, aspect)

    monkeypatch.setattr(image_pass, "prepare", counting)
    first, second = Scripted(), Scripted()
    passed(ask(path, "one", "two"), engine(model("one", first), model("two", second)))
    assert sizes == [SIZE]
    assert np.array_equal(first.fed[0], second.fed[0])


def test_models_that_were_not_asked_do_not_run(tmp_path: Path) -> None:
    """A request names its models; another loaded one stays idle."""
    path, _ = made(tmp_path)
    idle = Scripted()
    answer = passed(ask(path, "one"), engine(model("one"), model("two", idle)))
    assert [said.model.name for said in answer.predictions] == ["one"]
    assert idle.fed == []


def test_picture_too_thin_for_a_model_is_that_models_failure(tmp_path: Path) -> None:
    """The letterbox would leave too little of it."""
    path = tmp_path / "thin.dcm"
    write(Radiograph(rows=1200, cols=64), path)
    answer = passed(ask(path), engine(model()))
    assert [(name, why.code) for name, why in answer.failed] == [("lungs", "too_small")]


def test_pixel_aspect_is_undone_before_the_network(tmp_path: Path) -> None:
    """Pixels twice as tall as wide are given twice the rows, also where the picture is stored lying down."""
    heights = []
    for stated in ("L\\F", "F\\L"):
        path, phantom = made(tmp_path, orientation=stated)
        ds = phantom.dataset
        ds.PixelAspectRatio = [2, 1] if stated == "L\\F" else [1, 2]
        for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
            if keyword in ds:
                del ds[keyword]
        ds.save_as(path)
        box = prepare_image(ask(path), engine(model()).models).fed["lungs"].letterbox
        heights.append((box.height, box.width))
    assert heights == [(64, round(64 * 360 / 840))] * 2


def test_spacing_of_a_vr_that_is_none_is_no_spacing(tmp_path: Path) -> None:
    """One broken element costs what it would have said, not the image."""
    path, _ = made(tmp_path, modality="CR")
    content = path.read_bytes()
    at = content.index(b"\x18\x00\x64\x11DS")
    path.write_bytes(content[: at + 4] + b"QQ" + content[at + 6 :])
    answer = passed(ask(path, "lungs"), engine(model()))
    assert (answer.failure, answer.failed) == (None, ())


@pytest.mark.parametrize("images", [1, 3, 4])
def test_group_has_one_shape_however_few_the_images(tmp_path: Path, images: int) -> None:
    """On a GPU the shape of a batch may change an answer: it is padded, and the padding is cut off again."""
    path, _ = made(tmp_path)
    network = Scripted(lambda batch: np.repeat(batch, 3, axis=1))
    run = engine(model(network=network), group=4)
    prepared = [prepare_image(ask(path), run.models) for _ in range(images)]
    maps = run.run(prepared)
    assert [batch.shape for batch in network.fed] == [(4, 1, SIZE, SIZE)]
    for image, said in zip(prepared, maps, strict=True):
        assert np.array_equal(said["lungs"].values[0], image.fed["lungs"].picture)


def test_failures_say_whose_fault_it_was_and_quote_nothing() -> None:
    """The text of another library's exception may hold a patient's name; its kind and place may not."""
    assert failure_of(Unsuitable("it has no pixels", code="no_pixels")) == Failure(
        code="no_pixels", detail="it has no pixels"
    )
    for error, code, transient in (
        (ValueError("SENTINEL^NAME"), "model_failed", False),
        (OSError("SENTINEL^NAME"), "unreadable", True),
        (MemoryError("SENTINEL^NAME"), "no_memory", True),
    ):
        failure = failure_of(error)
        assert (failure.code, failure.transient) == (code, transient)
        assert "SENTINEL" not in failure.detail
