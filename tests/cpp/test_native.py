"""The tests written in C++ and C, and the package that an install makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ..docs.pages import DOCS, blocks
from .building import SOURCE, run

# The project of docs/runtime-cpp.md, and a program in C beside its program in C++.
IN_C = """
enable_language(C)
add_executable(in_c main.c)
target_link_libraries(in_c PRIVATE hamsa::runtime)
"""


def block(language: str) -> str:
    [found] = blocks(language, DOCS / "runtime-cpp.md")
    return found


def test_tests_in_cpp_and_c(build: Path) -> None:
    assert "100% tests passed" in run(["ctest", "--test-dir", build, "--output-on-failure"], build)


@pytest.mark.slow
def test_memory_does_not_grow(build: Path) -> None:
    printed = run([build / "tests/hamsa_soak", SOURCE / "tests/data/tiny", 200, 10_000], build)
    assert "10000 inferences" in printed


def test_an_installed_package_is_found_by_programs_in_cpp_and_c(build: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "prefix with spaces"
    run(["cmake", "--install", build, "--prefix", prefix], tmp_path)
    (tmp_path / "CMakeLists.txt").write_text(block("cmake") + IN_C)
    (tmp_path / "main.cpp").write_text(block("cpp"))
    (tmp_path / "main.c").write_text((SOURCE / "tests/test_c_api.c").read_text())
    run(["cmake", "-G", "Ninja", "-S", ".", "-B", "out", f"-DCMAKE_PREFIX_PATH={prefix}"], tmp_path)
    run(["cmake", "--build", "out"], tmp_path)
    bundle = SOURCE / "tests/data/tiny"
    Image.fromarray(np.load(SOURCE / "tests/data/pixels.npy")[0]).save(tmp_path / "photo.png")
    printed = run(["out/app", bundle, "photo.png"], tmp_path)
    assert {line.split()[0] for line in printed.splitlines()} < {"ant", "bee", "cat", "dog"}
    assert len(printed.splitlines()) == 3
    run(["out/in_c", bundle, SOURCE / "tests/data/signed", SOURCE / "tests/data/signed.pub.pem"], tmp_path)
    # Options anywhere, as in Python; what is none is no image.
    called = [prefix / "bin/hamsa-run", bundle, "--top", "4", SOURCE / "tests/data/pixels.npy"]
    assert "ant" in run(called, tmp_path)
    assert "ant" in run([*called[:2], called[-1], "--top=4"], tmp_path)
    with pytest.raises(AssertionError, match="unknown option --topk"):
        run([*called, "--topk", "3"], tmp_path)


def test_public_headers_show_no_other_library() -> None:
    headers = [*SOURCE.glob("include/hamsa/*.hpp"), SOURCE / "include/hamsa.h"]
    assert len(headers) == 8
    included = {line.split()[1] for path in headers for line in path.read_text().splitlines() if "#include" in line}
    assert {name for name in included if "/" in name or ".h>" in name} == {
        '"hamsa/clip.hpp"',
        '"hamsa/engine.hpp"',
        '"hamsa/error.hpp"',
        '"hamsa/export.hpp"',
        '"hamsa/image.hpp"',
        '"hamsa/tensor.hpp"',
        "<stddef.h>",
        "<stdint.h>",
    }
