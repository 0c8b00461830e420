"""The tests written in C++ and C, and the package that an install makes."""

from __future__ import annotations

from pathlib import Path

from .building import SOURCE, run

CONSUMER = """
cmake_minimum_required(VERSION 3.22)
project(consumer LANGUAGES C CXX)
find_package(hamsa_runtime 0.1 REQUIRED)
add_executable(in_cpp main.cpp)
target_link_libraries(in_cpp PRIVATE hamsa::runtime)
add_executable(in_c main.c)
target_link_libraries(in_c PRIVATE hamsa::runtime)
"""
MAIN_CPP = """
#include <hamsa/hamsa.hpp>
#include <cstdio>
int main(int, char** words) {
    try {
        const auto engine = hamsa::Engine::load(words[1]);
        std::printf("%s", engine.name().c_str());
    } catch (const hamsa::Error& error) {
        std::printf("%s", error.kind());
        return error.exit_code();
    }
}
"""


def test_tests_in_cpp_and_c(build: Path) -> None:
    assert "100% tests passed" in run(["ctest", "--test-dir", build, "--output-on-failure"], build)


def test_an_installed_package_is_found_by_programs_in_cpp_and_c(build: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "prefix with spaces"
    run(["cmake", "--install", build, "--prefix", prefix], tmp_path)
    (tmp_path / "CMakeLists.txt").write_text(CONSUMER)
    (tmp_path / "main.cpp").write_text(MAIN_CPP)
    (tmp_path / "main.c").write_text((SOURCE / "tests/test_c_api.c").read_text())
    run(["cmake", "-G", "Ninja", "-S", ".", "-B", "out", f"-DCMAKE_PREFIX_PATH={prefix}"], tmp_path)
    run(["cmake", "--build", "out"], tmp_path)
    bundle = SOURCE / "tests/data/tiny"
    assert run(["out/in_cpp", bundle], tmp_path) == "tiny"
    run(["out/in_c", bundle], tmp_path)
    assert "ant" in run([prefix / "bin/hamsa-run", bundle, SOURCE / "tests/data/pixels.npy"], tmp_path)


def test_public_headers_show_no_other_library() -> None:
    headers = [*SOURCE.glob("include/hamsa/*.hpp"), SOURCE / "include/hamsa.h"]
    assert len(headers) == 7
    included = {line.split()[1] for path in headers for line in path.read_text().splitlines() if "#include" in line}
    assert {name for name in included if "/" in name or ".h>" in name} == {
        '"hamsa/engine.hpp"',
        '"hamsa/error.hpp"',
        '"hamsa/export.hpp"',
        '"hamsa/image.hpp"',
        '"hamsa/tensor.hpp"',
        "<stddef.h>",
        "<stdint.h>",
    }
