#include "tensorrt/plans.hpp"

#include <sys/utsname.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "arrays.hpp"
#include "checked.hpp"
#include "hamsa/error.hpp"
#include "names.hpp"
#include "sha256.hpp"
#include "tensorrt/options.hpp"

namespace hamsa::tensorrt {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int format = 1;
constexpr const char* onnx = "model.onnx";
constexpr const char* plan = "model.plan";

Json text_or_null(const std::optional<std::string>& text) { return text ? Json(*text) : Json(); }

// What json.dumps(value, sort_keys=True) writes, for objects of scalars and objects: the key is the hash of this text.
std::string as_python(const Json& value) {
    if (!value.is_object()) {
        return value.dump(-1, ' ', true);
    }
    std::vector<std::string> members;
    for (const auto& item : value.items()) {
        members.push_back(Json(item.key()).dump(-1, ' ', true) + ": " + as_python(item.value()));
    }
    return "{" + joined(members) + "}";
}

Json as_json(const BuildOptions& options) {
    return {
        {"min_batch", options.min_batch},
        {"opt_batch", options.opt_batch},
        {"max_batch", options.max_batch},
        {"workspace_mib", options.workspace_mib ? Json(*options.workspace_mib) : Json()},
        {"optimization_level", options.optimization_level},
        {"version_compatible", options.version_compatible},
        {"hardware_compatibility", options.hardware_compatibility},
        {"refit", options.refit},
        {"strip_weights", options.strip_weights},
        {"compute_capabilities", joined(options.compute_capabilities, " ")},
    };
}

// Everything that a plan depends on.
Json identity_of(const Manifest& manifest, const Machine& machine, const std::string& version) {
    Json hashes = Json::object();
    for (const auto& [name, entry] : manifest.files) {
        if (name.rfind(onnx, 0) == 0) {
            hashes[name] = entry.sha256;
        }
    }
    return {
        {"format", format},
        {"onnx", hashes},
        {"options", as_json(options_from_manifest(manifest))},
        {"module", machine.module},
        {"version", version},
        {"gpu", text_or_null(machine.gpu)},
        {"compute_capability", text_or_null(machine.compute_capability)},
        {"system", machine.system},
    };
}

std::string hash_of(const Json& identity) {
    const std::string text = as_python(identity);
    return sha256_of(text.data(), text.size());
}

bool fits(const EngineBuild& stored, const Machine& here) {
    const auto same = [](const std::optional<std::string>& asked, const std::optional<std::string>& found) {
        return !asked || asked == found;
    };
    const bool same_version =
        std::find(here.versions.begin(), here.versions.end(), stored.version) != here.versions.end();
    return stored.module == here.module && same_version && stored.system == here.system &&
           same(stored.gpu, here.gpu) && same(stored.compute_capability, here.compute_capability);
}

// "tensorrt 10.3.0 on Orin (8.7), Linux aarch64".
std::string machine_text(const std::string& module, const std::string& version, const std::optional<std::string>& gpu,
                         const std::optional<std::string>& capability, const std::string& system) {
    const std::string on = gpu ? " on " + *gpu + " (" + capability.value_or("None") + ")" : "";
    return module + " " + version + on + ", " + system;
}

// None without a home folder.
std::optional<fs::path> plans_folder() {
    const char* cache = std::getenv("XDG_CACHE_HOME");  // NOLINT(concurrency-mt-unsafe): nothing here sets it
    const char* home = std::getenv("HOME");             // NOLINT(concurrency-mt-unsafe)
    fs::path base(cache == nullptr ? "" : cache);
    if (!base.is_absolute()) {  // the XDG specification: relative paths are to be ignored
        base = fs::path(home == nullptr ? "" : home) / ".cache";
    }
    return base.is_absolute() ? std::optional(base / "hamsa-runtime" / "plans") : std::nullopt;
}

std::optional<VerifiedFile> whole_file(const fs::path& path) {
    std::error_code error;
    const std::uintmax_t size = fs::file_size(path, error);
    if (error || size > max_bytes) {
        return std::nullopt;
    }
    const std::shared_ptr<std::byte> memory = aligned_memory(static_cast<std::size_t>(size));
    std::ifstream stream(path, std::ios::binary);
    stream.read(reinterpret_cast<char*>(memory.get()), static_cast<std::streamsize>(size));
    return stream ? std::optional(VerifiedFile{memory, static_cast<std::size_t>(size)}) : std::nullopt;
}

// A plan of the cache whose entry says that it is the one that is looked for, and whose hash is right.
std::optional<VerifiedFile> cached(const fs::path& place, const Json& identity) {
    const std::optional<VerifiedFile> text = whole_file(place / "entry.json");
    const std::optional<VerifiedFile> found = whole_file(place / plan);
    if (!text || !found) {
        return std::nullopt;
    }
    const auto* start = reinterpret_cast<const char*>(text->data.get());
    const Json entry = Json::parse(start, start + text->size, nullptr, false);
    const bool known = entry.is_object() && entry.contains("identity") && entry["identity"] == identity &&
                       entry.contains("sha256") && entry["sha256"] == sha256_of(found->data.get(), found->size);
    return known ? found : std::nullopt;
}

BuildError no_plan(const Manifest& manifest, const Machine& here, const std::optional<fs::path>& folder) {
    const std::string wanted =
        machine_text(here.module, here.versions.at(0), here.gpu, here.compute_capability, here.system);
    std::string found = "no plan for " + wanted;
    const auto& stored = manifest.engine;
    if (stored && stored->missing.empty()) {
        found = "the bundle's plan is of " +
                machine_text(stored->module, stored->version, stored->gpu, stored->compute_capability, stored->system) +
                ", this is " + wanted;
    }
    return BuildError(found, "a plan in " + (folder ? folder->string() : "a home folder's cache"),
                      "plans run only where they were built; this library builds none",
                      "hamsa-build BUNDLE on this device");
}

}  // namespace

std::string this_system() {
    utsname names{};
    uname(&names);
    return std::string(names.sysname) + " " + names.machine;
}

std::string key_of(const Manifest& manifest, const Machine& machine, const std::string& version) {
    return hash_of(identity_of(manifest, machine, version));
}

VerifiedFile plan_for(const Manifest& manifest, const VerifiedFiles& files, const Machine& machine) {
    const auto& stored = manifest.engine;
    const auto own = files.find(plan);
    if (stored && stored->missing.empty() && own != files.end() && fits(*stored, machine)) {
        return own->second;
    }
    const std::optional<fs::path> folder = plans_folder();
    for (const std::string& version : folder ? machine.versions : std::vector<std::string>{}) {
        const Json identity = identity_of(manifest, machine, version);
        if (const auto found = cached(*folder / hash_of(identity), identity)) {
            return *found;
        }
    }
    throw no_plan(manifest, machine, folder);
}

}  // namespace hamsa::tensorrt
