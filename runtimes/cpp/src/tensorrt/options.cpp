#include "tensorrt/options.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "names.hpp"
#include "pattern.hpp"
#include "schema.hpp"

namespace hamsa::tensorrt {
namespace {

using Json = nlohmann::json;

[[noreturn]] void refuse(const std::string& name, const Json& value, const std::string& like) {
    const std::string found = schema::rejected(value, "options." + name, "").found();
    throw InputError(found, "a value like " + like);
}

void read(const Json& options, const std::string& name, std::int64_t& into) {
    if (!options.contains(name)) {
        return;
    }
    if (!options[name].is_number_integer()) {
        refuse(name, options[name], std::to_string(into));
    }
    into = options[name].get<std::int64_t>();
}

void read(const Json& options, const std::string& name, bool& into) {
    if (!options.contains(name)) {
        return;
    }
    if (!options[name].is_boolean()) {
        refuse(name, options[name], into ? "True" : "False");
    }
    into = options[name].get<bool>();
}

void read(const Json& options, const std::string& name, std::string& into, const std::string& like) {
    if (!options.contains(name)) {
        return;
    }
    if (!options[name].is_string()) {
        refuse(name, options[name], like);
    }
    into = options[name].get<std::string>();
}

void read_workspace(const Json& options, std::optional<std::int64_t>& into) {
    const std::string name = "workspace_mib";
    if (!options.contains(name) || options[name].is_null()) {
        return;
    }
    if (!options[name].is_number_integer()) {
        refuse(name, options[name], "None");
    }
    into = options[name].get<std::int64_t>();
}

std::vector<std::string> words_of(const std::string& text) {
    std::istringstream stream(text);
    std::vector<std::string> words;
    for (std::string word; stream >> word;) {
        words.push_back(word);
    }
    return words;
}

void check(const BuildOptions& options) {
    const std::vector<std::int64_t> profile{options.min_batch, options.opt_batch, options.max_batch};
    if (profile.front() < 1 || !std::is_sorted(profile.begin(), profile.end())) {
        throw InputError("batch profile " + std::to_string(profile[0]) + ", " + std::to_string(profile[1]) + ", " +
                             std::to_string(profile[2]),
                         "smallest, best and largest batch, each at least 1 and as large as the one before");
    }
    if (options.workspace_mib && *options.workspace_mib < 1) {
        throw InputError("a workspace of " + std::to_string(*options.workspace_mib) + " MiB", "at least 1 MiB");
    }
    if (options.optimization_level < 0 || options.optimization_level > 5) {
        throw InputError("optimisation level " + std::to_string(options.optimization_level), "0 to 5");
    }
    const std::vector<std::string> levels{"none", "same-compute-capability", "ampere+"};
    if (std::find(levels.begin(), levels.end(), options.hardware_compatibility) == levels.end()) {
        throw InputError("unknown hardware compatibility " + repr(options.hardware_compatibility),
                         "one of ampere+, none, same-compute-capability", "",
                         nearest(options.hardware_compatibility, levels));
    }
    static const Pattern major_minor("^(?:[0-9]|[0-9]{2})\\.[0-9]$");
    for (const std::string& each : options.compute_capabilities) {
        if (!major_minor.matches(each)) {
            throw InputError("compute capability " + repr(each), "major.minor, such as 8.9");
        }
    }
}

}  // namespace

BuildOptions options_from_manifest(const Manifest& manifest) {
    const Json given = Json::parse(manifest.options);
    BuildOptions options;
    read(given, "min_batch", options.min_batch);
    read(given, "opt_batch", options.opt_batch);
    read(given, "max_batch", options.max_batch);
    read_workspace(given, options.workspace_mib);
    read(given, "optimization_level", options.optimization_level);
    read(given, "version_compatible", options.version_compatible);
    read(given, "hardware_compatibility", options.hardware_compatibility, "'none'");
    read(given, "refit", options.refit);
    read(given, "strip_weights", options.strip_weights);
    std::string capabilities;
    read(given, "compute_capabilities", capabilities, "()");
    options.compute_capabilities = words_of(capabilities);
    check(options);
    return options;
}

}  // namespace hamsa::tensorrt
