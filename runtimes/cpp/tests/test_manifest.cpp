// A manifest that is wrong is rejected. Every single rejection is compared with Python's in
// tests/cpp/test_manifest.py; here are the limits.
#include "errors.hpp"
#include "files.hpp"
#include "manifest.hpp"

using hamsa::InputError;
using hamsa::manifest_from_json;

namespace {

const std::string good = text_of(data_folder / "tiny/manifest.json");

InputError rejection_of(const std::string& data) {
    return error_of<InputError>([&] { manifest_from_json(data); });
}

std::string repeated(const std::string& text, int count) {
    std::string result;
    for (int i = 0; i < count; ++i) {
        result += text;
    }
    return result;
}

}  // namespace

TEST_CASE("the golden manifest becomes typed values") {
    const hamsa::Manifest manifest = manifest_from_json(good);
    CHECK(manifest.name == "tiny");
    CHECK(manifest.inputs[0].shape == hamsa::Shape{hamsa::batch, 8, 12, 3});
    CHECK(manifest.inputs[0].layout == "NHWC");
    CHECK(manifest.outputs[1].name == "logits");
    CHECK(manifest.preprocessing->height == 8);
    CHECK(manifest.preprocessing->std == std::vector<double>{0.2, 0.25, 0.3});
    CHECK(manifest.labels->at(3) == "dog");
    CHECK(manifest.files.at("model.bin").bytes == 264);
    CHECK(!manifest.has_native_transforms);
}

TEST_CASE("native transforms are known by their kind") {
    CHECK(manifest_from_json(replaced(good, "\"two-factor\"", "\"native\"")).has_native_transforms);
}

TEST_CASE("a newer schema is reported as such, and an unknown key with the nearest") {
    CHECK(rejection_of(replaced(good, "\"schema\": 1", "\"schema\": 2, \"new\": 1")).found() ==
          "manifest.json: schema is 2");
    const InputError unknown = rejection_of(replaced(good, "\"precision\"", "\"presision\""));
    CHECK(unknown.found() == "manifest.json: unknown key 'presision'");
    CHECK(unknown.fix() == "did you mean 'precision'?");
}

TEST_CASE("limits of size and depth come before the parser") {
    CHECK(has(rejection_of(std::string(4 * 1024 * 1024 + 1, ' ')).found(), "more than 4194304 bytes"));
    CHECK(has(rejection_of(repeated("[", 2'000'000)).found(), "levels deep"));
    CHECK(has(rejection_of(repeated("{\"a\":", 600'000)).found(), "levels deep"));
    CHECK(has(rejection_of(repeated("[", 32) + repeated("]", 32)).found(), "the whole file is"));
    CHECK(has(rejection_of(repeated("[", 33) + repeated("]", 33)).found(), "nested 33 levels deep"));
    CHECK(manifest_from_json(replaced(good, "\"tiny\"", "\"" + repeated("[{", 40) + "\"")).name == repeated("[{", 40));
}

TEST_CASE("bytes that are no manifest are rejected") {
    for (const std::string data :
         {"", "{", "\xff\xfe", "\xef\xbb\xbf{}", "{} {}", "\"\\", "[1, NaN]", "{\"a\": 1e999}"}) {
        CAPTURE(data);
        CHECK(has(rejection_of(data).found(), "not JSON"));
    }
    CHECK(has(rejection_of("{\"schema\": 1, \"schema\": 1}").found(), "the same name twice"));
    CHECK(has(rejection_of("{\"a\": {\"b\": 1, \"b\": 1}}").found(), "the same name twice"));
    CHECK(rejection_of("[]").found() == "manifest.json: the whole file is []");
}

TEST_CASE("a value of megabytes is shown cut") {
    const std::string name = std::string(3'000'000, 'x');
    CHECK(rejection_of(replaced(good, "\"fp32\"", "\"" + name + "\"")).found().size() < 150);
    CHECK(rejection_of("{\"" + name + "\": 1}").found().size() < 150);
}
