#include "json_document.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "hamsa/error.hpp"

namespace hamsa {
namespace {

using Json = nlohmann::json;

InputError not_json(const std::string& why) {
    return InputError("manifest.json: not JSON (" + why + ")", "a UTF-8 JSON object",
                      "the file is cut or was edited by hand", "copy or export the bundle again");
}

// How deep brackets nest outside strings. Counted before parsing: no parser needs to be trusted with depth.
int depth_of(const std::string& data) {
    int deepest = 0;
    int depth = 0;
    bool in_text = false;
    for (std::size_t i = 0; i < data.size(); ++i) {
        const char c = data[i];
        if (in_text && c == '\\') {
            ++i;
        } else if (c == '"') {
            in_text = !in_text;
        } else if (!in_text && (c == '[' || c == '{')) {
            deepest = std::max(deepest, ++depth);
        } else if (!in_text && (c == ']' || c == '}')) {
            --depth;
        }
    }
    return deepest;
}

// The parser keeps the last of two equal names and says nothing: this sees both. A pass of its own, because a parser with
// a callback looks through all members of an object again at the end of each: hours for the largest manifest.
class NamesOnce : public Json::json_sax_t {
  public:
    bool key(string_t& name) override {
        if (!open_.back().insert(name).second) {
            throw not_json("the same name twice in one object");
        }
        return true;
    }
    bool start_object(std::size_t /*elements*/) override {
        open_.emplace_back();
        return true;
    }
    bool end_object() override {
        open_.pop_back();
        return true;
    }
    bool parse_error(std::size_t /*at*/, const std::string& /*token*/, const Json::exception& /*why*/) override {
        return false;  // the parser says it
    }
    bool null() override { return true; }
    bool boolean(bool /*value*/) override { return true; }
    bool number_integer(number_integer_t /*value*/) override { return true; }
    bool number_unsigned(number_unsigned_t /*value*/) override { return true; }
    bool number_float(number_float_t /*value*/, const string_t& /*text*/) override { return true; }
    bool string(string_t& /*value*/) override { return true; }
    bool binary(binary_t& /*value*/) override { return true; }
    bool start_array(std::size_t /*elements*/) override { return true; }
    bool end_array() override { return true; }

  private:
    std::vector<std::set<std::string>> open_;
};

}  // namespace

Json json_document(const std::string& data) {
    const std::string limit = std::to_string(max_manifest_bytes);
    if (data.size() > max_manifest_bytes) {
        throw InputError("manifest.json: more than " + limit + " bytes", "at most " + limit + " bytes");
    }
    if (const int depth = depth_of(data); depth > max_manifest_depth) {
        throw InputError("manifest.json: nested " + std::to_string(depth) + " levels deep",
                         "at most " + std::to_string(max_manifest_depth) + " levels");
    }
    if (data.rfind("\xef\xbb\xbf", 0) == 0) {
        throw not_json("a byte order mark");  // which the parser would skip
    }
    if (data.find('\0') != std::string::npos) {
        throw not_json("a zero byte");  // which the parser would take for the end
    }
    NamesOnce once;
    try {
        Json::sax_parse(data, &once);
        return Json::parse(data);
    } catch (const Json::exception& error) {  // also numbers beyond what a double holds
        throw not_json(error.what());
    }
}

}  // namespace hamsa
