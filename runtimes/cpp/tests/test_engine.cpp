// The engine on real bundles: results, batches, threads, and its life.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <thread>

#include "arrays.hpp"
#include "backends/backend.hpp"
#include "errors.hpp"
#include "files.hpp"
#include "hamsa/hamsa.hpp"
#include "npy.hpp"
#include "sha256.hpp"

using hamsa::Engine;
using hamsa::Tensor;
using hamsa::Tensors;

namespace {

const Tensor pixels = read_npy(data_folder / "pixels.npy");  // (5, 8, 12, 3)
const Tensor logits = read_npy(data_folder / "logits.npy");  // float64, of the same model in numpy
const Tensor embedding = read_npy(data_folder / "embedding.npy");

Engine tiny(const char* name = "tiny") {
    hamsa::Options options;
    options.threads = 1;
    return Engine::load(data_folder / name, options);
}

// float32 sums of 96 positions and 6 channels, values up to 20: 100 roundings of 2^-24 each, relative
void check_near(const Tensor& found, const Tensor& expected) {
    REQUIRE(found.shape() == expected.shape());
    for (std::size_t i = 0; i < found.count(); ++i) {
        const double wanted = expected.as<double>()[i];
        CHECK(std::abs(found.as<float>()[i] - wanted) <= 1e-5 * std::abs(wanted) + 1e-5);
    }
}

std::vector<float> values(const Tensor& tensor) { return {tensor.as<float>(), tensor.as<float>() + tensor.count()}; }

// A copy of the bundle with one thing in the manifest replaced.
hamsa::Error load_error(const std::string& old, const std::string& with) {
    const BundleCopy copy("tiny");
    const auto path = copy.folder() / "manifest.json";
    const std::string changed = replaced(text_of(path), old, with);
    REQUIRE(!changed.empty());
    write(path, changed);
    return error_of<hamsa::Error>([&] { Engine::load(copy.folder()); });
}

}  // namespace

TEST_CASE("outputs are those of the model, for any batch") {
    for (const char* name : {"tiny", "tiny-pairs"}) {  // 5 images: with a static batch of 2 the last one is padded
        const Engine engine = tiny(name);
        const Tensors all = engine.infer(pixels);
        check_near(all.at("logits"), logits);
        check_near(all.at("embedding"), embedding);
        check_near(engine.infer(hamsa::rows(pixels, 1, 1)).at("logits"), hamsa::rows(logits, 1, 1));
        check_near(engine.embed(pixels), embedding);
    }
}

TEST_CASE("earlier results survive later calls, and the engine") {
    Tensors first;
    {
        const Engine engine = tiny();
        first = engine.infer(pixels);
        engine.infer(hamsa::rows(pixels, 2, 3));
    }
    check_near(first.at("logits"), logits);
}

TEST_CASE("classes are sorted softmax probabilities") {
    const Engine engine = tiny();
    const auto rows = engine.classify(pixels, 9);
    REQUIRE(rows.size() == 5);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        REQUIRE(rows[i].size() == 4);
        double sum = 0;
        for (std::size_t k = 0; k < 4; ++k) {
            sum += rows[i][k].probability;
            CHECK((k == 0 || rows[i][k].probability <= rows[i][k - 1].probability));
        }
        CHECK(sum == doctest::Approx(1).epsilon(1e-12));
        const double* row = logits.as<double>() + 4 * i;
        CHECK(rows[i][0].name == engine.labels()[static_cast<std::size_t>(std::max_element(row, row + 4) - row)]);
    }
    CHECK_THROWS_AS(engine.classify(pixels, 0), hamsa::InputError);
}

TEST_CASE("what an engine says about itself") {
    const Engine engine = tiny();
    CHECK(engine.name() == "tiny");
    CHECK(engine.inputs()[0].shape == hamsa::Shape{hamsa::batch, 8, 12, 3});
    CHECK(engine.outputs()[1].name == "logits");
    const auto facts = engine.describe();
    CHECK(facts.at("backend") == "openvino");
    CHECK(facts.at("precision") == "f32");
    CHECK(has(facts.at("layers"), " f32"));
}

TEST_CASE("many threads get what one thread gets") {
    const Engine engine = tiny();
    std::vector<std::vector<float>> expected(5), found(40);
    for (std::size_t i = 0; i < 5; ++i) {
        expected[i] = values(engine.infer(hamsa::rows(pixels, i, 1)).at("logits"));
    }
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < 8; ++t) {
        threads.emplace_back([&, t] {
            for (std::size_t i = 0; i < 5; ++i) {
                found[5 * t + i] = values(engine.infer(hamsa::rows(pixels, i, 1)).at("logits"));
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    for (std::size_t i = 0; i < found.size(); ++i) {
        CHECK(found[i] == expected[i % 5]);
    }
}

TEST_CASE("closing while others infer gives results or the error, nothing else") {
    Engine engine = tiny();
    std::atomic<int> right{0}, closed{0};
    const std::vector<float> expected = values(engine.infer(pixels).at("logits"));
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 20; ++i) {
                try {
                    right += values(engine.infer(pixels).at("logits")) == expected;
                } catch (const hamsa::EngineClosedError&) {
                    ++closed;
                }
            }
        });
    }
    engine.close();
    for (std::thread& thread : threads) {
        thread.join();
    }
    CHECK(right + closed == 80);
    CHECK(closed > 0);
}

TEST_CASE("use after close, and of an engine that was moved from") {
    const auto check_unusable = [](const Engine& engine) {
        CHECK_THROWS_AS(engine.infer(pixels), hamsa::EngineClosedError);
        CHECK_THROWS_AS(engine.classify(pixels), hamsa::EngineClosedError);
        CHECK_THROWS_AS(engine.embed(pixels), hamsa::EngineClosedError);
        CHECK_THROWS_AS(engine.describe(), hamsa::EngineClosedError);
        CHECK_THROWS_AS(engine.name(), hamsa::EngineClosedError);
        CHECK_THROWS_AS(engine.inputs(), hamsa::EngineClosedError);
        CHECK_THROWS_AS(engine.outputs(), hamsa::EngineClosedError);
        CHECK_THROWS_AS(engine.labels(), hamsa::EngineClosedError);
    };
    Engine engine = tiny();
    Engine other = std::move(engine);
    check_unusable(engine);  // NOLINT: the use after the move is what is tested
    engine.close();
    check_near(other.infer(pixels).at("logits"), logits);
    other.close();
    other.close();
    check_unusable(other);
    other = tiny();
    check_near(other.infer(pixels).at("logits"), logits);
}

TEST_CASE("options that cannot be had") {
    hamsa::Options options;
    SUBCASE("no threads") {
        options.threads = 0;
        CHECK_THROWS_AS(Engine::load(data_folder / "tiny", options), hamsa::InputError);
    }
    SUBCASE("a misspelt backend") {
        options.backend = "opnvino";
        const auto error = error_of<hamsa::InputError>([&] { Engine::load(data_folder / "tiny", options); });
        CHECK(error.fix() == "did you mean 'openvino'?");
    }
    SUBCASE("a backend for other bundles") {
        options.backend = "tensorrt";
        const auto error = error_of<hamsa::InputError>([&] { Engine::load(data_folder / "tiny", options); });
        CHECK(error.expected() == "one of openvino");
    }
    SUBCASE("devices that are not here") {
        for (const auto& [device, cause] : {std::pair{"GPU.7", "finds no GPU"}, std::pair{"npu", "finds no NPU"},
                                            std::pair{"HETERO:GPU.7,CPU", "finds no GPU"},
                                            std::pair{"CPU.7", "calls none so"}, std::pair{"MULTI:CPU", "calls none so"}}) {
            options.device = device;
            const auto error = error_of<hamsa::MissingError>([&] { Engine::load(data_folder / "tiny", options); });
            CHECK(has(error.cause(), cause));
        }
    }
    SUBCASE("what is no device") {
        for (const char* device : {"", "GPU.", "CPU,GPU", "HETERO:"}) {
            options.device = device;
            CHECK_THROWS_AS(Engine::load(data_folder / "tiny", options), hamsa::InputError);
        }
    }
}

TEST_CASE("what chooses or splits computes what the device does, and says which it was") {
    const std::string layers = tiny().describe().at("layers");
    for (const char* device : {"auto", "AUTO:CPU", "hetero:cpu"}) {
        hamsa::Options options;
        options.device = device;
        options.threads = 1;
        const Engine engine = Engine::load(data_folder / "tiny", options);
        check_near(engine.infer(pixels).at("logits"), logits);
        check_near(engine.infer(hamsa::rows(pixels, 1, 1)).at("logits"), hamsa::rows(logits, 1, 1));
        const auto facts = engine.describe();
        CHECK(facts.at("layers") == layers);  // float32, handed on: left alone it is bfloat16 where the CPU has that
        const bool is_split = device[0] == 'h';
        CHECK(facts.at("device") == (is_split ? "HETERO:CPU" : "CPU"));
        CHECK(facts.count("chosen_by") == (is_split ? 0 : 1));
        CHECK(facts.count("nodes") == (is_split ? 1 : 0));
    }
}

TEST_CASE("a manifest that does not fit the model is an error of the bundle, not of the engine") {
    const hamsa::Error ports = load_error("\"name\": \"logits\"", "\"name\": \"logit\"");
    CHECK(std::string(ports.what()).find("embedding, logit, as the manifest says") != std::string::npos);
    const BundleCopy copy("tiny");
    const auto path = copy.folder() / "manifest.json";
    write(path, replaced(text_of(path), "\"shape\": [\"batch\", 4]", "\"shape\": [\"batch\", 5]"));
    const Engine engine = Engine::load(copy.folder());
    CHECK(has(error_of<hamsa::BuildError>([&] { engine.infer(pixels); }).found(),
              "float32 (5, 4) for the output 'logits'"));
}

TEST_CASE("a model that the engine cannot read is reported with what the engine said") {
    const BundleCopy copy("tiny");
    const std::string text = "<net this is not closed";
    write(copy.folder() / "model.xml", text);
    const auto path = copy.folder() / "manifest.json";
    const hamsa::FileEntry entry = hamsa::manifest_from_json(text_of(path)).files.at("model.xml");
    std::string manifest = replaced(text_of(path), entry.sha256, hamsa::sha256_of(text.data(), text.size()));
    write(path,
          replaced(manifest, "\"bytes\": " + std::to_string(entry.bytes), "\"bytes\": " + std::to_string(text.size())));
    const auto error = error_of<hamsa::BuildError>([&] { Engine::load(copy.folder()); });
    CHECK(has(error.found(), "OpenVINO cannot load this model on CPU\n"));
    CHECK(error.exit_code() == 5);
}

TEST_CASE("transforms as operators are not for OpenVINO") {
    CHECK(load_error("\"two-factor\"", "\"native\"").found().find("OpenVINO reads the operator DFT wrongly") == 0);
}

TEST_CASE("a precision that this device does not have, or a model that is not in it") {
    const hamsa::Error error = load_error("\"precision\": \"fp32\"", "\"precision\": \"fp16\"");
    CHECK(has(error.found(), "fp16") != has(error.found(), "OpenVINO would run in"));
}

TEST_CASE("an int8 bundle says in which precision all else runs") {
    const std::string calibration =
        R"("calibration": {"inputs": {"source": "images", "found": 9, "used": 9, "skipped": {}, "sha256": ")" +
        std::string(64, 'a') + R"("}, "method": "mse", "signal_to_noise_db": {}, "passes": {}, "int8_layers": 0, )" +
        R"("kept_layers": [], "around": )";
    const BundleCopy copy("tiny");
    const auto path = copy.folder() / "manifest.json";
    const std::string int8 = replaced(text_of(path), "\"precision\": \"fp32\"", "\"precision\": \"int8\"");
    for (const std::string around : {"null", "\"fp32\"", "\"bf16\""}) {
        write(path, replaced(int8, "\"calibration\": null", calibration + around + "}"));
        try {
            const auto facts = Engine::load(copy.folder()).describe();
            CHECK(facts.at("precision") == (around == "\"bf16\"" ? "bf16" : "f32"));
        } catch (const hamsa::MissingError& error) {
            CHECK(around == "\"bf16\"");
            CHECK(has(error.found(), "cannot run bf16"));
        }
    }
}

TEST_CASE("a target that no engine of this library runs is said to be one, whichever engine is asked for") {
    const std::optional<std::string> any;
    for (const auto& name : {any, std::optional<std::string>("openvino")}) {
        CHECK_THROWS_WITH_AS(hamsa::backend_for("executorch", name),
                             doctest::Contains("no engine of this library runs bundles for 'executorch'"),
                             hamsa::MissingError);
    }
}
