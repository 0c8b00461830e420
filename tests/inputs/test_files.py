"""Images and arrays from files, good and bad."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hamsa_deploy.inputs.files import IMAGE_SUFFIXES, kind_of_data, read_arrays, read_classes, read_data, read_images
from hamsa_runtime.errors import InputError

PIXELS = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)


def test_images_of_a_folder_are_sorted_and_other_files_left_aside(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "notes.txt"):
        (tmp_path / name).touch()
    assert [Path(path).name for path in read_images(tmp_path)] == ["a.JPG", "b.png"]


def test_what_is_left_out_is_counted_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.png", ".hidden", "d.tiff", "e.gif"):
        (tmp_path / name).touch()
    (tmp_path / "more").mkdir()  # of a folder that holds images itself
    with caplog.at_level(logging.WARNING, logger="hamsa_deploy"):
        read_images(tmp_path)
    assert caplog.messages == [f"{tmp_path}: 3 left out, as none of {', '.join(IMAGE_SUFFIXES)}: d.tiff, e.gif, more"]


def test_nothing_is_left_out_of_a_folder_of_classes_but_what_is_no_image(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("ant/a.png", "bee/b.png", "bee/notes.txt", *(f"bee/{i}.raw" for i in range(9))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with caplog.at_level(logging.WARNING, logger="hamsa_deploy"):
        read_images(tmp_path)
    [message] = caplog.messages
    assert ": 10 left out, " in message
    assert message.endswith("bee/0.raw, bee/1.raw, bee/2.raw, bee/3.raw, bee/4.raw and 5 more")


@pytest.mark.parametrize("name", ["images.npy", "images.npz"])
def test_images_of_an_array_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("npy"):
        np.save(path, PIXELS)
    else:
        np.savez(path, images=PIXELS, labels=np.array([1, 2]))
    np.testing.assert_array_equal(np.stack(read_images(path)), PIXELS)


def test_of_several_image_arrays_the_one_called_images_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "both.npz"
    np.savez(path, train=PIXELS, images=PIXELS[:1])
    assert len(read_images(path)) == 1


@pytest.mark.parametrize("array", [PIXELS.astype(np.float32), PIXELS[:0], np.zeros(3, np.uint8)])
def test_arrays_that_are_no_images_are_refused_by_dtype_and_shape(tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, pictures=array)
    with pytest.raises(InputError, match=f"pictures {array.dtype}"):
        read_images(path)


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "objects.npz"
    np.savez(path, images=np.array([{}], dtype=object))
    with pytest.raises(InputError, match=r"'images' holds '\|O'"):
        read_images(path)


@pytest.mark.parametrize(("name", "found"), [("cut.npz", "cannot be read"), ("cut.npy", r"is no \.npy file")])
def test_damaged_files_are_refused(tmp_path: Path, name: str, found: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError, match=found):
        read_images(path)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no images in this folder"):
        read_images(tmp_path)


def test_a_single_picture_is_answered_with_what_is_expected(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    Image.fromarray(PIXELS[0]).save(path)
    with pytest.raises(InputError, match="expected: a folder of images"):
        read_images(path)


def test_arrays_keep_their_names(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    np.savez(path, signal=np.ones(3), offset=np.zeros(2))
    arrays = read_arrays(path)
    assert isinstance(arrays, dict)
    assert {name: a.shape for name, a in arrays.items()} == {"signal": (3,), "offset": (2,)}


def test_the_one_array_of_an_npy_needs_no_name(tmp_path: Path) -> None:
    path = tmp_path / "array.npy"
    np.save(path, PIXELS)
    np.testing.assert_array_equal(read_arrays(path), PIXELS)


def class_folders(path: Path) -> Path:
    for name in ("cat/b.png", "cat/a.jpg", "dog/c.png"):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).touch()
    return path


def test_a_folder_of_folders_holds_the_images_of_its_classes(tmp_path: Path) -> None:
    assert [path.name for path in read_images(class_folders(tmp_path))] == ["a.jpg", "b.png", "c.png"]
    assert read_classes(tmp_path, None) == [0, 0, 1]
    assert read_classes(tmp_path, ["dog", "bird", "cat"]) == [2, 2, 0]


def test_a_folder_that_is_no_class_of_the_model_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dog are no classes"):
        read_classes(class_folders(tmp_path), ["cat", "bird"])


def test_true_classes_of_an_array_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "with.npz", images=PIXELS, labels=np.array([3, 1]))
    np.savez(tmp_path / "without.npz", images=PIXELS)
    np.savez(tmp_path / "wrong.npz", images=PIXELS, labels=np.array([0.5, 1]))
    assert read_classes(tmp_path / "with.npz", None) == [3, 1]
    assert read_classes(tmp_path / "without.npz", None) is None
    with pytest.raises(InputError, match="float64"):
        read_classes(tmp_path / "wrong.npz", None)


def test_a_folder_for_a_model_of_arrays_is_refused_with_the_way_to_one_of_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder") as caught:
        read_data(str(tmp_path), "arrays")
    assert "--preprocessing FILE" in caught.value.fix


def test_clips_are_those_of_a_folder_or_one_or_arrays(tmp_path: Path) -> None:
    for name in ("b.wav", "a.FLAC", "notes.txt"):
        (tmp_path / name).touch()
    np.savez(tmp_path / "arrays.npz", x=PIXELS)
    assert [Path(path).name for path in read_data(str(tmp_path), "clips")] == ["a.FLAC", "b.wav"]
    assert read_data(tmp_path / "b.wav", "clips") == [tmp_path / "b.wav"]
    assert list(read_data(tmp_path / "arrays.npz", "clips")) == ["x"]
    for name in ("notes.txt", "none.wav"):
        with pytest.raises(InputError, match=r"expected: a folder of clips, or a file in \.wav, \.flac"):
            read_data(tmp_path / name, "clips")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no clips in this folder"):
        read_data(tmp_path / "empty", "clips")


def test_clips_for_a_model_of_arrays_are_refused_with_the_way_to_one_of_clips(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    for path in (tmp_path, tmp_path / "a.wav"):
        with pytest.raises(InputError, match="--sample-rate HZ"):
            read_data(path, kind_of_data(None, None))
