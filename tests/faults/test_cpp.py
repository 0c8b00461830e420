"""The faults that an application meets, in C++: cases of the runtime's own tests, by the names that they have there.

`make sanitize` runs all of them with ASan and UBSan, and with TSan.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.cpp.building import SOURCE, Probe, built
from tests.fuzz.targets import is_taken

from .conftest import Did, bundle_at

TINY = SOURCE / "tests/data/tiny"


@pytest.fixture(scope="module")
def build() -> Path:
    """The folder in which the C++ runtime is built."""
    return built()


def cases(build: Path, *names: str) -> str:
    """Run these cases, which must all be there and pass; what to say of them."""
    wanted = ",".join(name.replace(",", "*") for name in names)  # a comma would separate two
    done = subprocess.run([build / "tests/hamsa_tests", f"--test-case={wanted}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    counts = re.search(rf"test cases: +{len(names)} \| +{len(names)} passed", done.stdout)
    assert counts, done.stdout
    return f"C++: {'; '.join(names)}"


def test_row_12_cpp_a_changed_file_is_refused_before_anything_is_deserialised(build: Path, did: Did) -> None:
    names = ("a damaged file is found, whatever was done to it", "a file that is not there, or not a file")
    did(cases(build, *names, "a file whose hash is not the signed one is refused"))


def test_row_13_cpp_an_engine_file_without_a_manifest_is_refused(build: Path, did: Did) -> None:
    did(cases(build, "a file that is not listed is rejected, and hidden ones are left", "what is no bundle"))


def test_row_14_cpp_a_manifest_that_is_wrong_huge_nested_or_escaping_is_rejected_within_limits(
    build: Path, did: Did
) -> None:
    names = (
        "a newer schema is reported as such, and an unknown key with the nearest",
        "limits of size and depth come before the parser",
        "bytes that are no manifest are rejected",
        "a huge manifest is not read beyond the limit",
        "links out of the folder are rejected, links inside are not",
    )
    did(cases(build, *names))


def test_row_20_cpp_a_precision_that_cannot_be_had_is_an_error(build: Path, did: Did) -> None:
    did(cases(build, "a precision that this device does not have, or a model that is not in it"))


def test_row_22_cpp_a_model_that_the_engine_cannot_read_is_reported_with_what_it_said(build: Path, did: Did) -> None:
    did(cases(build, "a model that the engine cannot read is reported with what the engine said"))


def test_row_32_cpp_inputs_of_a_wrong_type_or_shape_are_rejected_before_native_code(build: Path, did: Did) -> None:
    names = ("anything else is rejected", "floats that are no pixels are rejected by a graph that normalises")
    did(cases(build, *names, "inputs of a model that is not of images"))


def test_row_33_cpp_a_size_product_that_overflows_is_an_error(build: Path, did: Did) -> None:
    names = ("products stop at the largest array", "an image is checked when it is made")
    did(
        cases(
            build,
            *names,
            "a shape that overflows, is negative or of another size is rejected",
            "sizes above the limit are refused before memory is asked for",
        )
    )


def test_row_34_cpp_many_threads_on_one_engine_get_what_one_thread_gets(build: Path, did: Did) -> None:
    did(cases(build, "many threads get what one thread gets"))


def test_row_35_cpp_use_after_close_or_move_is_a_defined_exception(build: Path, did: Did) -> None:
    names = ("use after close, and of an engine that was moved from",)
    did(cases(build, *names, "closing while others infer gives results or the error, nothing else"))


def soaked(build: Path, loads: int, inferences: int) -> str:
    """`hamsa_soak` fails where memory has grown by a tenth."""
    done = subprocess.run(
        [build / "tests/hamsa_soak", TINY, str(loads), str(inferences)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    return f"C++: {'; '.join(done.stdout.splitlines())}"


def test_row_36_cpp_memory_does_not_grow_over_many_inferences_and_loads(build: Path, did: Did) -> None:
    did(soaked(build, 50, 2_000))


@pytest.mark.slow
def test_row_36_cpp_memory_does_not_grow_over_ten_thousand_inferences(build: Path, did: Did) -> None:
    did(soaked(build, 200, 10_000))


def test_row_57_what_parsers_understand_differently_is_refused_in_python_and_cpp(
    build: Path, tmp_path: Path, did: Did
) -> None:
    good = (bundle_at(tmp_path / "bundle") / "manifest.json").read_bytes()
    replaced = {
        b'"crop_fraction": 1.0': (b"0", b"-0", b"1e-400", b"1e400", b"NaN", b"true", b"1" + b"0" * 400, b"1.0, 1.0"),
        b'"name": "tiny"': (rb'"\ud800"', b'"\xff"', b'"\xed\xa0\x80"', b'"\0"', b'"a", "name": "a"'),
    }
    changed = [
        good.replace(member, member.split(b" ")[0] + b" " + value)
        for member, values in replaced.items()
        for value in values
    ]
    manifests = [*changed, *(good + end for end in (b"\0", b"\n\0 {}", b"{}", b"//")), b"\xef\xbb\xbf" + good]
    text = "{'descr': '|u1', 'fortran_order': False, 'shape': (2), 'more': \"'shape': (2,)\"}"
    array = b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode() + b"ab"
    inputs = [*(("manifest", data) for data in manifests), ("npy", array)]
    probe = Probe(build / "tests/hamsa_probe")
    for target, data in inputs:
        (tmp_path / "input").write_bytes(data)
        assert data != good
        assert not is_taken(target, data, tmp_path), data
        assert probe.ask("take", target, tmp_path / "input").get("kind") == "InputError", data
    probe.close()
    did(f"{len(inputs)} inputs (zero bytes, -0, 1e400, NaN, names twice, surrogates): refused in both")
