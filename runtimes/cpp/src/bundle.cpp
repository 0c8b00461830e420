#include "bundle.hpp"

#include <algorithm>
#include <fstream>
#include <set>
#include <system_error>
#include <vector>

#include "arrays.hpp"
#include "checked.hpp"
#include "hamsa/error.hpp"
#include "named_files.hpp"
#include "names.hpp"
#include "sha256.hpp"
#include "signature.hpp"

namespace hamsa {
namespace {

namespace fs = std::filesystem;

constexpr const char* why_a_manifest =
    "engine files alone are not run: nothing says what they are, or that they are whole";

// Questions that do not throw: what cannot be asked is not there.
bool is_folder(const fs::path& path) {
    std::error_code ignored;
    return fs::is_directory(path, ignored);
}

bool is_file(const fs::path& path) {
    std::error_code ignored;
    return fs::is_regular_file(path, ignored);
}

InputError not_a_folder(const fs::path& path) {
    const std::string expected = std::string("a folder with a ") + manifest_name;
    if (is_file(path)) {
        return InputError(path.string() + ": a file, not a bundle's folder", expected, why_a_manifest,
                          "give the folder: " + path.parent_path().string());
    }
    return InputError(path.string() + ": no such folder", expected);
}

void check_inside(const fs::path& folder, const fs::path& path) {
    std::error_code error;
    const fs::path root = fs::canonical(folder, error);
    const fs::path real = error ? path : fs::canonical(path, error);
    const auto end = std::mismatch(root.begin(), root.end(), real.begin(), real.end()).first;
    if (error || end != root.end()) {
        throw InputError(path.string() + ": a link to " + real.string(), "a file inside the bundle's folder");
    }
}

InputError changed(const fs::path& path, std::uintmax_t size, const std::string& hash, const FileEntry& entry) {
    return InputError(
        path.string() + ": " + std::to_string(size) + " bytes, sha256 " + hash,
        std::to_string(entry.bytes) + " bytes, sha256 " + entry.sha256 + ", as " + manifest_name + " says",
        "the file was changed, swapped or cut after the export", "copy the bundle again, or export it again");
}

// Exactly `size` bytes; one that grows or shrinks meanwhile is an error.
VerifiedFile read(const fs::path& path, std::size_t size) {
    const std::shared_ptr<std::byte> memory = aligned_memory(size);
    std::ifstream stream(path, std::ios::binary);
    stream.read(reinterpret_cast<char*>(memory.get()), static_cast<std::streamsize>(size));
    if (!stream || stream.peek() != std::ifstream::traits_type::eof()) {
        throw InputError(path.string() + ": cannot be read");
    }
    return {memory, size};
}

VerifiedFile verified_file(const fs::path& folder, const std::string& name, const FileEntry& entry) {
    const fs::path path = folder / fs::u8path(name);
    if (!is_file(path)) {  // also keeps pipes and devices from being opened
        throw InputError(path.string() + ": missing", "every file that the manifest lists", "",
                         "copy the bundle again");
    }
    check_inside(folder, path);
    std::error_code error;
    if (const std::uintmax_t links = fs::hard_link_count(path, error); !error && links > 1) {
        throw InputError(path.string() + ": one of " + std::to_string(links) + " names (hard links) of this file",
                         "a file of its own: through another name it can be changed from outside of the folder", "",
                         "make a copy: cp -r " + folder.string() + " COPY");
    }
    const std::uintmax_t size = fs::file_size(path, error);
    if (error) {
        throw InputError(path.string() + ": cannot be read (" + error.message() + ")");
    }
    if (size != entry.bytes || size > max_bytes) {
        throw changed(path, size, "not computed", entry);
    }
    VerifiedFile file = read(path, static_cast<std::size_t>(size));
    const std::string hash = sha256_of(file.data.get(), file.size);
    if (hash != entry.sha256) {
        throw changed(path, size, hash, entry);
    }
    return file;
}

bool is_listed(const Bundle& bundle, const std::string& name) {
    return std::find(std::begin(own_files), std::end(own_files), name) != std::end(own_files) ||
           bundle.manifest.files.count(name) != 0;
}

// Every path below a folder that is no folder itself, or a link to one; none that is hidden: a model may only name
// listed files.
std::vector<fs::path> files_below(const fs::path& folder) {
    std::vector<fs::path> paths;
    std::error_code error;
    fs::recursive_directory_iterator entry(folder, error);
    for (const fs::recursive_directory_iterator end; !error && entry != end; entry.increment(error)) {
        const bool is_hidden = entry->path().filename().u8string().rfind('.', 0) == 0;
        if (is_hidden) {
            entry.disable_recursion_pending();
        } else if (entry->is_symlink(error) || !entry->is_directory(error)) {
            paths.push_back(entry->path());
        }
    }
    if (error) {
        throw InputError(folder.string() + ": the folder cannot be listed (" + error.message() + ")",
                         "a folder that may be read: no file in it may be one that the manifest does not list");
    }
    std::sort(paths.begin(), paths.end());
    return paths;
}

void check_no_other_file(const Bundle& bundle) {
    for (const fs::path& path : files_below(bundle.folder)) {
        if (!is_listed(bundle, path.lexically_relative(bundle.folder).generic_u8string())) {
            throw InputError(path.string() + ": not listed in " + manifest_name, "only files with a known hash", "",
                             "keep other files outside of the bundle's folder");
        }
    }
}

std::set<std::string> named_in(const std::string& name, const VerifiedFile& file) {
    if (name == onnx_file) {
        std::set<std::string> named = locations_in_onnx(file.text());
        check_steps(file.text());
        return named;
    }
    check_ir(file.text());
    return {};
}

// Only listed files may be named by the one that engines are given.
void check_model(const Bundle& bundle, const VerifiedFiles& files) {
    const std::string name = bundle.manifest.target == "openvino" ? ir_file : onnx_file;
    const auto file = files.find(name);
    if (file == files.end()) {
        return;  // and not there either: the engine says so
    }
    const std::string path = (bundle.folder / name).string();
    try {
        for (const std::string& location : named_in(name, file->second)) {
            if (bundle.manifest.files.count(location) == 0) {
                throw InputError("its tensors lie in " + repr(location.substr(0, 80)) + ", which " + manifest_name +
                                     " does not list",
                                 "weights in files of the bundle, each with its hash",
                                 "a bundle that was made by hand, or changed: whoever changes that file changes the "
                                 "model",
                                 "export the model again");
            }
        }
    } catch (const InputError& error) {
        throw InputError(path + ": " + error.found(), error.expected(), error.cause(), error.fix());
    }
}

}  // namespace

Bundle open_bundle(const fs::path& folder, const std::optional<fs::path>& public_key) {
    const fs::path path = folder / manifest_name;
    if (!is_folder(folder)) {
        throw not_a_folder(folder);
    }
    if (!is_file(path)) {
        throw InputError(folder.string() + ": no " + manifest_name + " in this folder",
                         "a bundle, as hamsa-export writes it", why_a_manifest,
                         "export the model again, or copy the whole bundle folder");
    }
    check_inside(folder, path);
    const std::string data = manifest_bytes(path);
    if (public_key) {
        check_signature(folder, data, *public_key);
    }
    try {
        return {folder, manifest_from_json(data)};
    } catch (const InputError& error) {
        throw InputError(folder.string() + ": " + error.found(), error.expected(), error.cause(), error.fix());
    }
}

VerifiedFiles verified_files(const Bundle& bundle) {
    VerifiedFiles files;
    for (const auto& [name, entry] : bundle.manifest.files) {
        files[name] = verified_file(bundle.folder, name, entry);
    }
    check_no_other_file(bundle);
    check_model(bundle, files);
    return files;
}

}  // namespace hamsa
