#include "targets.hpp"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <stdexcept>

#include "bundle.hpp"
#include "hamsa/clip.hpp"
#include "hamsa/error.hpp"
#include "hamsa/image.hpp"
#include "manifest.hpp"
#include "named_files.hpp"
#include "npy.hpp"
#include "sha256.hpp"

namespace hamsa::fuzz {
namespace {

namespace fs = std::filesystem;

// One folder for the process, in memory where the system has such a place; gone at its end.
class Folder {
  public:
    Folder() {
        const fs::path memory = "/dev/shm";
        path_ = (fs::is_directory(memory) ? memory : fs::temp_directory_path()) /
                ("hamsa-fuzz-" + std::to_string(getpid()));
        fs::create_directories(path_);
    }
    ~Folder() {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;

    fs::path written(const std::string& name, const std::string& data) const {
        std::ofstream(path_ / name, std::ios::binary) << data;
        return path_ / name;
    }
    const fs::path& path() const { return path_; }

  private:
    fs::path path_;
};

const Folder& folder() {
    static const Folder one;
    return one;
}

void manifest(const std::string& data) { manifest_from_json(data); }

void bundle(const std::string& data) {
    const std::size_t zero = std::min(data.find('\0'), data.size());
    fs::create_directories(folder().path() / "bundle");
    folder().written("bundle/manifest.json", data.substr(0, zero));
    folder().written("bundle/model.onnx", data.substr(std::min(zero + 1, data.size())));
    verified_files(open_bundle(folder().path() / "bundle"));
}

// The bytes are a file of a bundle, listed with its hash, and another file is beside it.
void verify(const std::string& target, const std::string& name, const std::string& data, const std::string& weights) {
    Bundle bundle{folder().path() / target, {}};
    bundle.manifest.target = target;
    fs::create_directories(bundle.folder);
    for (const auto& [file, bytes] : {std::pair{name, data}, std::pair{weights, std::string(64, '\0')}}) {
        folder().written(target + "/" + file, bytes);
        bundle.manifest.files[file] = {sha256_of(bytes.data(), bytes.size()), bytes.size()};
    }
    verified_files(bundle);
}

void external(const std::string& data) { verify("onnx", "model.onnx", data, "weights.bin"); }

void ir(const std::string& data) { verify("openvino", "model.xml", data, "model.bin"); }

// What is found is also what is rewritten: every place has to be the one that was looked through.
void onnx(const std::string& data) {
    static const std::string file(64, 'x');
    locations_in_onnx(data);
    check_steps(data);
    locations_in_onnx(onnx_with_addresses(data, [](const std::string&) { return std::string_view(file); }));
}

void image(const std::string& data) { load_image(folder().written("image.jpg", data)); }

// Every value is read: memory that is not the file's would be found.
void npy(const std::string& data) {
    const Tensor tensor = read_npy(folder().written("array.npy", data));
    const auto* bytes = static_cast<const std::uint8_t*>(tensor.data());
    volatile unsigned sum = 0;
    for (std::size_t i = 0; i < tensor.bytes(); ++i) {
        sum = sum + bytes[i];
    }
}

void wav(const std::string& data) { load_clip(folder().written("clip.wav", data)); }

using Target = std::function<void(const std::string&)>;

const std::map<std::string, Target>& table() {
    static const std::map<std::string, Target> table{
        {"manifest", manifest}, {"bundle", bundle}, {"external", external}, {"ir", ir},
        {"onnx", onnx},         {"image", image},   {"npy", npy},           {"wav", wav}};
    return table;
}

}  // namespace

const std::vector<std::string>& targets() {
    static const std::vector<std::string> names = [] {
        std::vector<std::string> found;
        for (const auto& row : table()) {
            found.push_back(row.first);
        }
        return found;
    }();
    return names;
}

void take(const std::string& target, const std::string& data) { table().at(target)(data); }

bool is_taken(const std::string& target, const std::uint8_t* data, std::size_t size) {
    try {
        take(target, {reinterpret_cast<const char*>(data), size});
    } catch (const Error&) {
        return false;
    }
    return true;
}

}  // namespace hamsa::fuzz
