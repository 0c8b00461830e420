// Answers the tests in Python: one question a line, its words parted by tabs; one line of JSON in answer, which is {}
// or the parts of an error.
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "arrays.hpp"
#include "bundle.hpp"
#include "fuzz/targets.hpp"
#include "hamsa/clip.hpp"
#include "hamsa/error.hpp"
#include "images.hpp"
#include "manifest.hpp"
#include "npy.hpp"
#include "preprocess.hpp"
#include "resample.hpp"
#include "tensorrt/plans.hpp"

namespace {

using Words = std::vector<std::string>;

hamsa::Image image_of(const hamsa::Tensor& pixels) {
    const hamsa::Shape& shape = pixels.shape();
    return hamsa::Image(pixels.as<std::uint8_t>(), shape[0], shape[1], shape[2], 0, pixels.owner());
}

void save(const std::string& path, const hamsa::Image& image) {
    const auto count = static_cast<std::size_t>(image.height() * image.row_bytes());
    write_npy(path, hamsa::Tensor(hamsa::DType::uint8, {image.height(), image.width(), image.channels()}, image.row(0),
                                  count));
}

std::string content(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

void manifest(const Words& words) { hamsa::manifest_from_json(content(words.at(1))); }

// What is fuzzed takes or refuses the content of a file.
void take(const Words& words) { hamsa::fuzz::take(words.at(1), content(words.at(2))); }

void open(const Words& words) { hamsa::verified_files(hamsa::open_bundle(words.at(1))); }

void decode(const Words& words) {
    save(words.at(3), hamsa::with_channels(hamsa::load_image(words.at(1)), std::stoll(words.at(2))));
}

void resize(const Words& words) {
    const hamsa::Image image = image_of(read_npy(words.at(1)));
    const auto& filter = hamsa::filter_named(words.at(4));
    save(words.at(5), hamsa::resampled(image, std::stoll(words.at(2)), std::stoll(words.at(3)), filter));
}

// The first input of a bundle, from an image file or an array.
void prepare(const Words& words) {
    const hamsa::Manifest manifest = hamsa::manifest_from_json(hamsa::manifest_bytes(words.at(1)));
    const bool is_array = std::filesystem::path(words.at(2)).extension() == ".npy";
    const hamsa::Input input =
        is_array ? hamsa::Input(read_npy(words.at(2))) : hamsa::Input(std::filesystem::path(words.at(2)));
    write_npy(words.at(3), hamsa::tensors_from_input(input, manifest).begin()->second);
}

// A clip's samples, (channels, samples).
void clip(const Words& words) { write_npy(words.at(2), hamsa::load_clip(std::filesystem::path(words.at(1))).samples); }

// Under which name a plan of a bundle is kept, and the plan that would be loaded: written to two files.
void plan(const Words& words) {
    const auto text = [&](std::size_t i) { return words.at(i) == "-" ? std::nullopt : std::optional(words[i]); };
    const hamsa::Bundle bundle = hamsa::open_bundle(words.at(1));
    const hamsa::tensorrt::Machine machine{words.at(4), {words.at(5)}, text(6), text(7), words.at(8)};
    std::ofstream(words.at(2)) << hamsa::tensorrt::key_of(bundle.manifest, machine, words[5]);
    const auto found = hamsa::tensorrt::plan_for(bundle.manifest, hamsa::verified_files(bundle), machine);
    std::ofstream(words.at(3)) << std::string(reinterpret_cast<const char*>(found.data.get()), found.size);
}

nlohmann::json answer(const Words& words) {
    static const std::map<std::string, void (*)(const Words&)> questions{
        {"manifest", manifest}, {"open", open},       {"decode", decode},
        {"resize", resize},     {"prepare", prepare}, {"clip", clip},
        {"plan", plan},         {"take", take}};
    try {
        questions.at(words.at(0))(words);
        return nlohmann::json::object();
    } catch (const hamsa::Error& error) {
        return {{"kind", error.kind()},         {"exit_code", error.exit_code()}, {"found", error.found()},
                {"expected", error.expected()}, {"cause", error.cause()},         {"fix", error.fix()}};
    }
}

}  // namespace

int main() {
    for (std::string line; std::getline(std::cin, line);) {
        Words words;
        std::istringstream stream(line);
        for (std::string word; std::getline(stream, word, '\t');) {
            words.push_back(word);
        }
        // Where a text was cut inside a character, as messages may be, the rest is replaced.
        std::cout << answer(words).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) << std::endl;
    }
}
