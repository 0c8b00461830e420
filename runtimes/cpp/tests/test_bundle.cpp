// Files are checked before anything is deserialised.
#include <sys/stat.h>

#include "bundle.hpp"
#include "errors.hpp"
#include "files.hpp"
#include "hamsa/engine.hpp"

namespace fs = std::filesystem;
using hamsa::InputError;

namespace {

InputError load_error(const fs::path& folder) {
    return error_of<InputError>([&] { hamsa::Engine::load(folder); });
}

}  // namespace

TEST_CASE("a good bundle gives the bytes of its files") {
    const BundleCopy copy("tiny");
    const hamsa::VerifiedFiles files = hamsa::verified_files(hamsa::open_bundle(copy.folder()));
    CHECK(files.size() == 2);
    CHECK(files.at("model.bin").size == 264);
    CHECK(reinterpret_cast<std::uintptr_t>(files.at("model.bin").data.get()) % 64 == 0);
}

TEST_CASE("a damaged file is found, whatever was done to it") {
    const BundleCopy copy("tiny");
    const fs::path file = copy.folder() / "model.bin";
    std::string data = text_of(file);
    SUBCASE("changed") { data[100] = static_cast<char>(data[100] ^ 1); }
    SUBCASE("cut") { data.pop_back(); }
    SUBCASE("longer") { data += '\0'; }
    SUBCASE("swapped") { data.assign(data.size(), 'x'); }
    SUBCASE("empty") { data.clear(); }
    write(file, data);
    const InputError error = load_error(copy.folder());
    CHECK(has(error.found(), file.string() + ": " + std::to_string(data.size()) + " bytes, sha256 "));
    CHECK(has(error.expected(), "264 bytes, sha256 "));
}

TEST_CASE("a file that is not there, or not a file") {
    const BundleCopy copy("tiny");
    const fs::path file = copy.folder() / "model.xml";
    fs::remove(file);
    SUBCASE("missing") {}
    SUBCASE("a pipe, which would wait for ever") { REQUIRE(mkfifo(file.c_str(), 0600) == 0); }
    SUBCASE("a folder") { fs::create_directory(file); }
    CHECK(load_error(copy.folder()).found() == file.string() + ": missing");
}

TEST_CASE("links out of the folder are rejected, links inside are not") {
    const BundleCopy copy("tiny");
    const std::string name = "model.bin";
    fs::rename(copy.folder() / name, copy.root() / name);
    fs::create_symlink(copy.root() / name, copy.folder() / name);
    CHECK(has(load_error(copy.folder()).found(), "a link to " + fs::canonical(copy.root() / name).string()));
    fs::remove(copy.folder() / name);
    fs::rename(copy.root() / name, copy.folder() / ".weights");
    fs::create_symlink(".weights", copy.folder() / name);
    CHECK(hamsa::verified_files(hamsa::open_bundle(copy.folder())).size() == 2);
}

TEST_CASE("the manifest may not be a link out of the folder") {
    const BundleCopy copy("tiny");
    fs::rename(copy.folder() / "manifest.json", copy.root() / "m.json");
    fs::create_symlink(copy.root() / "m.json", copy.folder() / "manifest.json");
    CHECK(has(load_error(copy.folder()).found(), "a link to"));
}

TEST_CASE("a folder whose name starts like the bundle's is outside") {
    const BundleCopy copy("tiny");
    fs::create_directory(copy.root() / "bundle2");
    fs::rename(copy.folder() / "model.bin", copy.root() / "bundle2/model.bin");
    fs::create_symlink("../bundle2/model.bin", copy.folder() / "model.bin");
    CHECK(has(load_error(copy.folder()).found(), "a link to"));
}

TEST_CASE("a file that is not listed is rejected, and hidden ones are left") {
    const BundleCopy copy("tiny");
    write(copy.folder() / ".hidden", "what no model may name");
    fs::create_directory(copy.folder() / "sub");
    CHECK(hamsa::verified_files(hamsa::open_bundle(copy.folder())).size() == 2);
    std::string name;
    SUBCASE("of an engine") { name = "model.onnx.data"; }
    SUBCASE("another") { name = "notes.txt"; }
    SUBCASE("in a folder") { name = "sub/weights.bin"; }
    write(copy.folder() / name, "weights from elsewhere");
    CHECK(load_error(copy.folder()).found() == (copy.folder() / name).string() + ": not listed in manifest.json");
}

TEST_CASE("a file with a second name is rejected") {
    const BundleCopy copy("tiny");
    fs::create_hard_link(copy.folder() / "model.bin", copy.root() / "outside");
    CHECK(has(load_error(copy.folder()).found(), "model.bin: one of 2 names (hard links) of this file"));
}

TEST_CASE("control characters of what an error names are escaped") {
    const InputError error = load_error(fs::path("no\x1b[31m\r\xc2\x9b\x7f"));
    CHECK(error.found() == "no\\x1b[31m\\x0d\\x9b\\x7f: no such folder");
}

TEST_CASE("what is no bundle") {
    const BundleCopy copy("tiny");
    CHECK(has(load_error(copy.folder() / "model.xml").found(), "a file, not a bundle's folder"));
    CHECK(load_error(copy.folder() / "model.xml").fix() == "give the folder: " + copy.folder().string());
    CHECK(has(load_error(copy.folder() / "elsewhere").found(), "no such folder"));
    fs::remove(copy.folder() / "manifest.json");
    CHECK(has(load_error(copy.folder()).cause(), "not run"));
}

TEST_CASE("an error in the manifest names the folder") {
    const BundleCopy copy("tiny");
    const fs::path path = copy.folder() / "manifest.json";
    write(path, replaced(text_of(path), "\"target\": \"openvino\"", "\"target\": \"opnvino\""));
    const InputError error = load_error(copy.folder());
    CHECK(error.found() == copy.folder().string() + ": manifest.json: target is 'opnvino'");
    CHECK(error.fix() == "did you mean 'openvino'?");
}

TEST_CASE("a huge manifest is not read beyond the limit") {
    const BundleCopy copy("tiny");
    fs::resize_file(copy.folder() / "manifest.json", std::uintmax_t{1} << 40);  // sparse
    CHECK(has(load_error(copy.folder()).found(), "more than 4194304 bytes"));
}

TEST_CASE("a target whose engine is not in this library") {
    const BundleCopy copy("tiny");
    const fs::path path = copy.folder() / "manifest.json";
    write(path, replaced(text_of(path), "\"target\": \"openvino\"", "\"target\": \"tensorrt\""));
    const auto error = error_of<hamsa::MissingError>([&] { hamsa::Engine::load(copy.folder()); });
    CHECK(has(error.fix(), "HAMSA_WITH_TENSORRT=ON"));
}
