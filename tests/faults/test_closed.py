"""What comes from elsewhere: bundles that are not closed, keys that are none, files that lie or have no end."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from hamsa_deploy.inputs.files import read_images
from hamsa_deploy.models import load_checkpoint
from hamsa_runtime import Engine
from hamsa_runtime.bundle import open_bundle
from hamsa_runtime.errors import BuildError, InputError
from hamsa_runtime.manifest import manifest_from_json
from hamsa_runtime.signing import make_keys, sign_bundle
from tests.cpp.building import built
from tests.inputs.test_npy_files import LIES
from tests.runtime.external_models import PLACES, WEIGHTS, adding, bundle_of, external
from tests.runtime.greedy_models import GREEDY
from tests.runtime.test_manifest import LONG
from tests.runtime.test_onnx_steps import ENDLESS
from tests.runtime.test_signature import pem_of, small_order_points

from .conftest import Did, Refused

MEMORY = "*/_ORT_MEM_ADDR_/*"


@pytest.fixture(scope="module")
def runs() -> Path:
    """The command hamsa-run."""
    return built() / "hamsa-run"


def run_in(here: Path, program: Path, bundle: Path) -> subprocess.CompletedProcess[str]:
    np.save(here / "x.npy", np.zeros((1, 2), np.float32))
    return subprocess.run([program, "--save", here, bundle, here / "x.npy"], cwd=here, capture_output=True, text=True)


def test_row_41_data_that_are_not_listed_are_refused_before_an_engine_sees_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: Path, did: Did
) -> None:
    key = tmp_path / "key.pem"
    make_keys(key)
    monkeypatch.setattr("hamsa_runtime.engine.backend_for", lambda *_: pytest.fail("an engine was asked for"))
    for i, (place, put) in enumerate(PLACES.items()):
        for location in (".w.bin", "/etc/hostname", MEMORY):
            model = adding()
            put(model, external(location=location, offset=WEIGHTS.ctypes.data, length=8))
            folder = bundle_of(model, tmp_path / f"{i}" / location.strip("*/").replace("/", "_"))
            (folder / ".w.bin").write_bytes(WEIGHTS.tobytes())
            for use in (lambda f=folder: Engine(f), lambda f=folder: sign_bundle(f, key, bytes)):
                with pytest.raises(InputError, match=r"manifest\.json does not list"):
                    use()
        done = run_in(tmp_path, runs, folder)
        assert (done.returncode, "does not list" in done.stderr) == (2, True), (place, done.stderr)
    did(f"{len(PLACES)} places, 3 locations: refused by Engine and hamsa-sign, and by hamsa-run")


def test_row_42_other_files_and_second_names_are_refused(tmp_path: Path, runs: Path, did: Did) -> None:
    for kind in ("another", "second name"):
        folder = bundle_of(adding(), tmp_path / kind)
        if kind == "another":
            (folder / "notes.txt").write_text("mine")
        else:
            (tmp_path / "outside").hardlink_to(folder / "model.onnx")
        with pytest.raises(InputError, match=r"not listed|hard links") as caught:
            Engine(folder)
        assert caught.value.fix
        assert run_in(tmp_path, runs, folder).returncode == 2
    did("notes.txt, and a hard link from outside: both named, in Python and C++")


def test_row_43_cpp_external_data_are_those_of_the_bundle_and_those_that_were_hashed(
    tmp_path: Path, runs: Path, did: Did
) -> None:
    """A second large file leaves time between the hash of the model and its use."""
    model = adding(external(location="a.bin", offset=0, length=8))
    other = np.array([-666, 666], np.float32).tobytes()
    folder = bundle_of(model, tmp_path / "bundle", {"a.bin": WEIGHTS.tobytes(), "z.bin": bytes(60 * 2**20)})
    (tmp_path / "a.bin").write_bytes(other)
    outcomes = set()
    for seconds in (0, 0.02, 0.05, 0.1):
        (folder / "a.bin").write_bytes(WEIGHTS.tobytes())
        np.save(tmp_path / "x.npy", np.zeros((1, 2), np.float32))
        command = list(map(str, (runs, "--save", tmp_path, folder, tmp_path / "x.npy")))
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        time.sleep(seconds)
        (tmp_path / "new").write_bytes(other)
        os.replace(tmp_path / "new", folder / "a.bin")
        error = process.communicate()[1]
        assert process.returncode in (0, 2), error
        outcomes.add(process.returncode)
        if process.returncode == 0:
            np.testing.assert_array_equal(np.load(tmp_path / "0-y.npy"), WEIGHTS[None])
    did(
        f"weights of the current folder are not used; swapped while it ran: exit codes {sorted(outcomes)}, never others"
    )


def test_row_44_a_key_of_small_order_is_refused(tmp_path: Path, runs: Path, did: Did) -> None:
    folder = bundle_of(adding(), tmp_path / "bundle")
    (folder / "manifest.sig").write_bytes(bytes([1]) + bytes(63))
    points = sorted(small_order_points())
    for point in points:
        with pytest.raises(InputError, match="a key of small order"):
            open_bundle(folder, public_key=pem_of(point))
        (tmp_path / "key.pem").write_bytes(pem_of(point))
        done = subprocess.run(
            [runs, "--public-key", tmp_path / "key.pem", folder, tmp_path / "x.npy"], capture_output=True, text=True
        )
        assert (done.returncode, "a key of small order" in done.stderr) == (2, True), done.stderr
    did(f"{len(points)} ways to write such a key: refused in Python and C++")


def test_row_45_control_characters_are_refused_in_names_and_escaped_elsewhere(
    refused: Refused, tmp_path: Path, runs: Path, did: Did
) -> None:
    error = refused("export", "--weights", "no\x1b[31mred\r.pt", says=(r"no\x1b[31mred\r.pt",))
    assert "\x1b[31mred" not in error
    for changes in ({"name": "a\nb"}, {"labels": ["a\x1b[31m"]}):
        folder = bundle_of(adding(), tmp_path / str(len(changes)) / next(iter(changes)), **changes)
        with pytest.raises(InputError, match=r"manifest\.json"):
            Engine(folder)
        done = run_in(tmp_path, runs, folder)
        assert (done.returncode, "\x1b" in done.stderr) == (2, False)
    did("a name of two lines, a coloured label: refused in Python and C++; a coloured file name: escaped")


def test_row_46_the_largest_manifest_is_refused_in_linear_time(tmp_path: Path, runs: Path, did: Did) -> None:
    slowest = 0.0
    for make in LONG.values():
        data = make()
        start = time.process_time()
        with pytest.raises(InputError):
            manifest_from_json(data)
        slowest = max(slowest, time.process_time() - start)
        (tmp_path / "manifest.json").write_bytes(data)
        done = run_in(tmp_path, runs, tmp_path)
        assert (done.returncode, "manifest.json: " in done.stderr) == (2, True), done.stderr  # not that it did not end
    assert slowest < 5
    did(f"{len(LONG)} manifests of up to 4 MiB: at most {slowest:.1f} s of CPU")


def test_row_47_sizes_that_are_not_the_graphs_are_refused_before_anything_is_allocated(
    tmp_path: Path, runs: Path, did: Did
) -> None:
    for size in (7, 2**40, 2**53):
        folder = bundle_of(adding(), tmp_path / str(size))
        document = json.loads((folder / "manifest.json").read_text())
        document["inputs"][0]["shape"] = [size, 2]
        (folder / "manifest.json").write_text(json.dumps(document))
        for backend in ("onnxruntime", "openvino"):
            with pytest.raises(BuildError, match="the model's input 'x' is float32"):
                Engine(folder, backend=backend)
        done = run_in(tmp_path, runs, folder)
        assert (done.returncode, "the model's input 'x' is float32" in done.stderr) == (5, True), done.stderr
    did("batches of 7, 2**40 and 2**53 for a graph of any: refused by all engines")


def test_row_48_arrays_that_lie_are_refused(tmp_path: Path, did: Did) -> None:
    for make, found in LIES.values():
        data = make()
        path = tmp_path / ("a.npz" if data.startswith(b"PK") else "a.npy")
        path.write_bytes(data)
        with pytest.raises(InputError, match=found):
            read_images(path)
    did(f"{len(LIES)} files ({', '.join(LIES)}): refused")


def test_row_49_paths_that_the_system_does_not_look_at_are_errors_that_say_so(refused: Refused, did: Did) -> None:
    for name in ("a" * 300, "a/" * 3000):
        for option, suffix in (("--weights", ".pt"), ("--data", ".npz"), ("--recipe", ".toml"), ("--labels", "")):
            refused("export", option, name + suffix, says=("cannot be looked at",))
        with pytest.raises(InputError, match="cannot be looked at"):
            Engine(name)
    did("300 and 6000 letters as --weights, --data, --recipe, --labels and a bundle: exit 2")


def test_row_50_devices_and_pipes_are_refused_unread(refused: Refused, workplace: Path, did: Did) -> None:
    os.mkfifo(workplace / "fifo.toml")
    refused("export", "--recipe", "fifo.toml", "--dry-run", says=("no regular file",))
    refused("export", "--labels", "/dev/zero", says=("no regular file",))
    did("a pipe as --recipe, /dev/zero as --labels: exit 2")


def test_row_50_pipes_are_named_as_what_they_are(refused: Refused, workplace: Path, did: Did) -> None:
    for name, option in (("a.npz", "--data"), ("a.onnx", "--onnx"), ("a.pt", "--weights")):
        os.mkfifo(workplace / name)
        refused("export", option, name, says=(f"{name}: a device or a pipe, no regular file",))
    did("pipes as --data, --onnx and --weights: exit 2")


def test_row_51_tensors_without_values_are_named(tmp_path: Path, did: Did) -> None:
    kinds = {"meta": torch.empty(2**40, device="meta"), "expanded": torch.ones(1).expand(2**40)}
    for kind, tensor in kinds.items():
        torch.save({"good": torch.ones(1), kind: tensor}, tmp_path / "a.pt")
        with pytest.raises(InputError, match=f"no dense tensors: {kind}"):
            load_checkpoint(tmp_path / "a.pt")
    did("2**40 numbers on the device meta, or one that stands for them: refused by name")


def test_row_52_files_that_run_without_end_are_refused(
    tmp_path: Path, workplace: Path, runs: Path, refused: Refused, did: Did
) -> None:
    for i, model in enumerate(ENDLESS.values()):
        folder, start = bundle_of(model, tmp_path / str(i)), time.process_time()
        with pytest.raises(InputError, match=r"model\.onnx: (a Loop|its loops|functions)") as caught:
            Engine(folder)
        assert time.process_time() - start < 5
        done = run_in(tmp_path, runs, folder)
        assert (done.returncode, str(caught.value) in done.stderr) == (2, True), done.stderr
    (workplace / "a.onnx").write_bytes(model.SerializeToString())
    refused("export", "--onnx", "a.onnx", "--to", "onnx", says=("a.onnx: ",))
    did(f"{len(ENDLESS)} small files ({', '.join(ENDLESS)}): refused in Python and C++; --onnx of one: exit 2")


def test_row_56_models_that_fill_the_memory_or_do_not_end_are_refused(
    tmp_path: Path, workplace: Path, runs: Path, refused: Refused, did: Did
) -> None:
    for i, (model, found) in enumerate(GREEDY.values()):
        folder = bundle_of(model, tmp_path / str(i))
        with pytest.raises(InputError, match=found) as caught:
            Engine(folder, backend="openvino")
        done = run_in(tmp_path, runs, folder)
        assert (done.returncode, str(caught.value) in done.stderr) == (2, True), done.stderr
    greedy = bundle_of(GREEDY["a column by a row"][0], tmp_path / "b")
    refused("parity", str(greedy), "--model", "tests:tiny", says=("more than 2 GiB",))
    (workplace / "a.onnx").write_bytes(GREEDY["loops in loops"][0].SerializeToString())
    refused("export", "--onnx", "a.onnx", "--to", "onnx", "--timeout", "2", says=("a.onnx was not loaded",))
    did(f"{len(GREEDY)} small files ({', '.join(GREEDY)}): refused by OpenVINO in Python and C++; tried: exit 2")
