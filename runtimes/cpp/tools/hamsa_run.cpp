// hamsa-run: one bundle on images, clips or arrays, from the shell.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "hamsa/hamsa.hpp"
#include "limits.hpp"
#include "npy.hpp"

namespace {

constexpr const char* usage =
    "usage: hamsa-run [--top N] [--device NAME] [--threads N] [--timeout SECONDS] [--public-key FILE] [--save FOLDER]\n"
    "                 BUNDLE IMAGE...\n"
    "\n"
    "Prints the most probable labels of each image, with their probabilities; of a model without classes, what its\n"
    "outputs are called, with types and shapes. An image is a JPEG, PNG, BMP or WebP file, for a model of clips a WAV\n"
    "or FLAC file, or an array saved by numpy (.npy). With --save, the outputs are written to\n"
    "FOLDER/0-NAME.npy, FOLDER/1-NAME.npy and so on, and nothing is printed. --device is CPU, GPU.1, NPU, AUTO or\n"
    "HETERO:GPU,CPU with OpenVINO, GPU.1 with TensorRT. With --public-key, a bundle that is not "
    "signed\n"
    "with that key (PEM) is refused. Without it, loading the bundle and each image may take SECONDS (45), and the process "
    "2 GiB\n"
    "of memory beyond what the sizes of its files explain; --timeout 0, for a bundle that you trust, is without limits.\n";

struct Arguments {
    std::string bundle, save;
    std::vector<std::string> images;
    int top = 5;
    int timeout = 45;  // as in the Python runtime's vocabulary.py
    hamsa::Options options;
};

int whole_number(const std::string& option, const std::string& text) {
    std::size_t used = 0;
    int value = 0;
    try {
        value = std::stoi(text, &used);
    } catch (const std::exception&) {
        used = 0;
    }
    if (used == 0 || used != text.size()) {
        throw hamsa::InputError(option + " is '" + text + "'", "a whole number");
    }
    return value;
}

void set(Arguments& arguments, const std::string& option, const std::string& value) {
    if (option == "--top") {
        arguments.top = whole_number(option, value);
    } else if (option == "--device") {
        arguments.options.device = value;
    } else if (option == "--threads") {
        arguments.options.threads = whole_number(option, value);
    } else if (option == "--timeout") {
        arguments.timeout = whole_number(option, value);
        if (arguments.timeout < 0) {
            throw hamsa::InputError(option + " is '" + value + "'", "seconds, or 0 for no limit");
        }
    } else if (option == "--public-key") {
        arguments.options.public_key = value;
    } else if (option == "--save") {
        arguments.save = value;
    } else {
        throw hamsa::InputError("unknown option " + option, "--top, --device, --threads, --timeout, --public-key or --save");
    }
}

Arguments arguments_from(const std::vector<std::string>& words) {
    Arguments arguments;
    std::vector<std::string> others;
    bool has_options = true;  // until --, as in the shell
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (has_options && words[i] == "--") {
            has_options = false;
        } else if (has_options && words[i].rfind("--", 0) == 0) {
            const std::size_t equals = words[i].find('=');
            const std::string option = words[i].substr(0, equals);
            if (equals == std::string::npos && i + 1 == words.size()) {
                throw hamsa::InputError(option + " has no value");
            }
            set(arguments, option, equals == std::string::npos ? words[++i] : words[i].substr(equals + 1));
        } else {
            others.push_back(words[i]);
        }
    }
    if (others.size() < 2) {
        throw hamsa::InputError("no image", "a bundle and at least one image", "", "hamsa-run --help");
    }
    arguments.bundle = others.front();
    arguments.images.assign(others.begin() + 1, others.end());
    return arguments;
}

hamsa::Input input_from(const std::string& path) {
    if (std::filesystem::path(path).extension() == ".npy") {
        return read_npy(path);
    }
    return std::filesystem::path(path);
}

void save(const hamsa::Tensors& outputs, const std::filesystem::path& folder, std::size_t index) {
    for (const auto& [name, tensor] : outputs) {
        write_npy(folder / (std::to_string(index) + "-" + name + ".npy"), tensor);
    }
}

void print(const std::vector<std::vector<hamsa::Label>>& rows, const std::string& path) {
    for (const auto& row : rows) {
        std::printf("%s\n", hamsa::printable(path).c_str());
        for (const hamsa::Label& label : row) {
            std::printf("  %6.2f %%  %s\n", 100 * label.probability, hamsa::printable(label.name).c_str());
        }
    }
}

// Whether an output is said to be logits: by its name, or by labels for the only one.
bool has_classes(const hamsa::Engine& engine) {
    const auto& outputs = engine.outputs();
    const auto is_logits = [](const hamsa::TensorSpec& output) { return output.name == "logits"; };
    return std::any_of(outputs.begin(), outputs.end(), is_logits) || (outputs.size() == 1 && !engine.labels().empty());
}

// As Python prints it: "(1, 64)", "(64,)".
std::string text_of(const hamsa::Shape& shape) {
    std::string text;
    for (const auto size : shape) {
        text += (text.empty() ? "" : ", ") + std::to_string(size);
    }
    return "(" + text + (shape.size() == 1 ? ",)" : ")");
}

void print(const hamsa::Engine& engine, const hamsa::Tensors& outputs, const std::string& path) {
    std::printf("%s\n", hamsa::printable(path).c_str());
    for (const hamsa::TensorSpec& output : engine.outputs()) {
        const hamsa::Tensor& found = outputs.at(output.name);
        std::printf("  %s  %s %s\n", hamsa::printable(output.name).c_str(), hamsa::name_of(found.dtype()),
                    text_of(found.shape()).c_str());
    }
}

void run(const Arguments& arguments) {
    std::optional<Limits> limits;
    if (arguments.timeout > 0 && !arguments.options.public_key) {
        std::vector<std::string> files = arguments.images;
        files.push_back(arguments.bundle);
        limits.emplace(arguments.bundle, bytes_below(files), arguments.timeout);
    }
    const hamsa::Engine engine = hamsa::Engine::load(arguments.bundle, arguments.options);
    for (std::size_t i = 0; i < arguments.images.size(); ++i) {
        if (limits) {
            limits->begin_again();
        }
        const hamsa::Input input = input_from(arguments.images[i]);
        if (!arguments.save.empty()) {
            save(engine.infer(input), arguments.save, i);
        } else if (has_classes(engine)) {
            print(engine.classify(input, arguments.top), arguments.images[i]);
        } else {
            print(engine, engine.infer(input), arguments.images[i]);
        }
    }
}

}  // namespace

int main(int count, char** words) {
    const std::vector<std::string> given(words + 1, words + count);
    if (given == std::vector<std::string>{"--help"}) {
        std::fputs(usage, stdout);
        return 0;
    }
    try {
        run(arguments_from(given));
        return 0;
    } catch (const hamsa::Error& error) {
        if (Limits::is_out_of_memory(error)) {
            return Limits::say_out_of_memory();
        }
        std::fprintf(stderr, "hamsa-run: %s\n", error.what());
        return error.exit_code();
    } catch (const std::bad_alloc&) {
        return Limits::say_out_of_memory();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "hamsa-run: internal error: %s\n", hamsa::printable(error.what()).c_str());
        return 1;
    }
}
