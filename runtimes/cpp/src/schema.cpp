#include "schema.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "names.hpp"
#include "pattern.hpp"

namespace hamsa::schema {
namespace {

// Of schemas, whose order of names is that of errors.
using Node = nlohmann::ordered_json;
using Names = std::vector<std::string>;

const std::string definitions = "#/$defs/";

const Names annotations{"$schema", "$id", "$comment", "title", "description", "examples", "x-expected"};
const Names applied{"type",     "enum",    "minimum", "exclusiveMinimum", "maximum",  "minItems",
                    "maxItems", "pattern", "items",   "properties",       "required", "additionalProperties",
                    "anyOf",    "not",     "$ref",    "propertyNames",    "$defs"};

struct Words {
    const char *name, *words;
};
constexpr std::array bounds{Words{"minimum", "of at least"}, Words{"exclusiveMinimum", "above"},
                            Words{"maximum", "at most"}, Words{"minItems", "of at least"},
                            Words{"maxItems", "at most"}};
constexpr std::array types{Words{"null", "null"},
                           Words{"boolean", "true or false"},
                           Words{"integer", "a whole number"},
                           Words{"number", "a finite number"},
                           Words{"string", "a text"},
                           Words{"array", "a list"},
                           Words{"object", "an object"}};

constexpr std::size_t shown_length = 80;

std::string shown(const Json& value);

// Enough of a list or an object to fill a line: values may be megabytes.
template <typename Each>
std::string shown_items(const Json& value, char open, char close, Each each) {
    std::string result(1, open);
    for (auto item = value.begin(); item != value.end() && result.size() <= 4 * shown_length; ++item) {
        result += (item == value.begin() ? "" : ", ") + each(item);
    }
    return result + close;
}

std::string shown(const Json& value) {
    using Item = Json::const_iterator;
    if (value.is_object()) {
        return shown_items(value, '{', '}',
                           [](const Item& item) { return repr(item.key()) + ": " + shown(item.value()); });
    }
    if (value.is_array()) {
        return shown_items(value, '[', ']', [](const Item& item) { return shown(*item); });
    }
    if (value.is_string()) {
        return repr(value.get_ref<const std::string&>().substr(0, 4 * shown_length));
    }
    if (value.is_boolean()) {
        return value.get<bool>() ? "True" : "False";
    }
    return value.is_null() ? "None" : value.dump();
}

// The first `count` characters of a UTF-8 text.
std::string first_characters(const std::string& text, std::size_t count) {
    std::size_t end = 0;
    for (std::size_t seen = 0; end < text.size(); ++end) {
        const bool starts = (static_cast<unsigned char>(text[end]) & 0xC0) != 0x80;
        if (starts && seen++ == count) {
            break;
        }
    }
    return text.substr(0, end);
}

bool has(const Names& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_null_type(const Node& node) { return node == Node{{"type", "null"}}; }

Names types_of(const Node& node) {
    if (!node.contains("type")) {
        return {};
    }
    return node["type"].is_string() ? Names{node["type"].get<std::string>()} : node["type"].get<Names>();
}

const char* words_of_type(const std::string& name) {
    const auto* found = std::find_if(types.begin(), types.end(), [&](const Words& each) { return name == each.name; });
    if (found == types.end()) {
        throw std::logic_error("the type " + repr(name) + " is not known");
    }
    return found->words;
}

Names names_in(const Node& object) {
    Names names;
    for (const auto& item : object.items()) {
        names.push_back(item.key());
    }
    return names;
}

const Node& part_of(const Node& node, const char* name) {
    static const Node anything = Node::object();
    return node.contains(name) ? node[name] : anything;
}

// Every schema directly in another.
std::vector<const Node*> inner_of(const Node& node) {
    std::vector<const Node*> inner;
    for (const char* name : {"properties", "$defs", "anyOf"}) {
        if (node.contains(name)) {
            std::transform(node[name].begin(), node[name].end(), std::back_inserter(inner),
                           [](const Node& each) { return &each; });
        }
    }
    for (const char* name : {"items", "propertyNames", "not", "additionalProperties"}) {
        if (node.contains(name) && node[name].is_object()) {
            inner.push_back(&node[name]);
        }
    }
    return inner;
}

// std::logic_error for what is not applied, or leaves errors without words.
void check_known(const Node& node) {
    for (const auto& item : node.items()) {
        if (!has(annotations, item.key()) && !has(applied, item.key())) {
            throw std::logic_error("the keyword " + repr(item.key()) + " is not applied to manifests");
        }
    }
    for (const std::string& name : types_of(node)) {
        words_of_type(name);
    }
    for (const Node& each : node.value("enum", Node::array())) {
        if (!each.is_string() && !each.is_number_integer()) {
            throw std::logic_error("enum lists what is neither a text nor a whole number");
        }
    }
    const Node any_of = node.value("anyOf", Node::array());
    const bool several = types_of(node).size() > 1 || any_of.size() > 2 ||
                         (any_of.size() == 2 && std::none_of(any_of.begin(), any_of.end(), is_null_type));
    const bool has_words = node.contains("x-expected") && (!node.contains("not") || node["not"].contains("x-expected"));
    if ((several || node.contains("pattern") || node.contains("not")) && !has_words) {
        throw std::logic_error("x-expected has to say what " + joined(names_in(node)) + " expect");
    }
}

std::string text_of(const Node& node, const char* name) {
    return node.contains(name) ? node[name].get<std::string>() : std::string();
}

// Beyond what an int64 holds, its largest.
std::int64_t whole(const Json& value) {
    constexpr std::int64_t largest = std::numeric_limits<std::int64_t>::max();
    const bool beyond = value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(largest);
    return beyond ? largest : value.get<std::int64_t>();
}

bool is_a(const Json& value, const std::string& type) {
    return (type == "null" && value.is_null()) || (type == "boolean" && value.is_boolean()) ||
           (type == "integer" && value.is_number_integer()) || (type == "number" && value.is_number()) ||
           (type == "string" && value.is_string()) || (type == "array" && value.is_array()) ||
           (type == "object" && value.is_object());
}

bool is_listed(const Json& value, const Node& names) {
    return std::any_of(names.begin(), names.end(), [&](const Node& each) {
        if (each.is_string()) {
            return value.is_string() && value.get_ref<const std::string&>() == each.get_ref<const std::string&>();
        }
        return value.is_number_integer() && whole(value) == each.get<std::int64_t>();
    });
}

// Two whole numbers are compared as such: not every one is a double. A limit of 0.1 is none.
template <typename Compare>
bool is_on_its_side(const Json& value, const Node& node, const char* name, Compare compare) {
    if (!node.contains(name)) {
        return true;
    }
    const Node& limit = node[name];
    return value.is_number_integer() && limit.is_number_integer()
               ? compare(whole(value), limit.get<std::int64_t>())
               : compare(value.get<double>(), limit.get<double>());
}

bool is_within(const Json& value, const Node& node) {
    return std::isfinite(value.get<double>()) && is_on_its_side(value, node, "minimum", std::greater_equal<>()) &&
           is_on_its_side(value, node, "exclusiveMinimum", std::greater<>()) &&
           is_on_its_side(value, node, "maximum", std::less_equal<>());
}

std::string expected_by(const Node& node) {
    if (node.contains("x-expected")) {
        return text_of(node, "x-expected");
    }
    if (node.contains("enum")) {
        Names valid;
        for (const Node& each : node["enum"]) {
            valid.push_back(each.is_string() ? repr(each.get_ref<const std::string&>()) : each.dump());
        }
        return "one of " + joined(valid);
    }
    const Names kinds = types_of(node);
    std::string found = kinds.empty() ? "" : words_of_type(kinds.front());
    if (node.contains("required")) {
        return found + " with " + joined(node["required"].get<Names>());
    }
    if (node.contains("minItems") && node.value("maxItems", Node()) == node["minItems"]) {
        return found + " of " + node["minItems"].dump();
    }
    Names limits;
    for (const auto& [name, words] : bounds) {
        if (node.contains(name)) {
            limits.push_back(std::string(words) + " " + node[name].dump());
        }
    }
    return limits.empty() ? found : found + " " + joined(limits, " and ");
}

std::string hint_for(const Json& value, const Node& node) {
    if (!value.is_string() || !node.contains("enum")) {
        return "";
    }
    Names valid;
    for (const Node& each : node["enum"]) {
        valid.push_back(each.is_string() ? each.get<std::string>() : each.dump());
    }
    return nearest(value.get_ref<const std::string&>(), valid);
}

}  // namespace

struct Schema::Parts {
    Node document;
    std::map<std::string, Pattern> patterns;

    void prepare(const Node& node) {
        check_known(node);
        if (node.contains("$ref")) {
            definition(node);
        }
        if (node.contains("pattern")) {
            patterns.emplace(node["pattern"], Pattern(node["pattern"]));
        }
        for (const Node* each : inner_of(node)) {
            prepare(*each);
        }
    }

    const Node& definition(const Node& node) const {
        const auto& reference = node["$ref"].get_ref<const std::string&>();
        const bool local = reference.rfind(definitions, 0) == 0;
        const std::string name = local ? reference.substr(definitions.size()) : "";
        if (!document.contains("$defs") || !document["$defs"].contains(name)) {
            throw std::logic_error("$ref " + repr(reference) + " is none of " + definitions + "...");
        }
        return document["$defs"][name];
    }

    void check(const Node& node, const Json& value, const std::string& where) const {
        if (node.contains("$ref")) {
            check(definition(node), value, where);
        }
        if (node.contains("anyOf")) {
            check_any_of(node, value, where);
        }
        if (!fits(node, value)) {
            throw rejected(value, where, expected_by(node), hint_for(value, node));
        }
        if (node.contains("not") && accepts(node["not"], value)) {
            throw rejected(value, where, text_of(node["not"], "x-expected"));
        }
        if (value.is_object()) {
            check_object(node, value, where);
        }
        if (value.is_array() && node.contains("items")) {
            for (std::size_t i = 0; i < value.size(); ++i) {
                check(node["items"], value[i], where + "[" + std::to_string(i) + "]");
            }
        }
    }

    bool accepts(const Node& node, const Json& value) const {
        try {
            check(node, value, "");
        } catch (const InputError&) {
            return false;
        }
        return true;
    }

    // Whether a value is what the node says of it, leaving aside what is in it.
    bool fits(const Node& node, const Json& value) const {
        const Names kinds = types_of(node);
        const bool is_one =
            std::any_of(kinds.begin(), kinds.end(), [&](const auto& kind) { return is_a(value, kind); });
        if ((!kinds.empty() && !is_one) || (node.contains("enum") && !is_listed(value, node["enum"]))) {
            return false;
        }
        if (value.is_string()) {
            return !node.contains("pattern") ||
                   patterns.at(node["pattern"]).matches(value.get_ref<const std::string&>());
        }
        if (value.is_array()) {
            return value.size() >= node.value("minItems", std::size_t{0}) &&
                   value.size() <= node.value("maxItems", value.size());
        }
        return !value.is_number() || is_within(value, node);
    }

    // null, or what the other says, with its words; or one of several, with this node's.
    void check_any_of(const Node& node, const Json& value, const std::string& where) const {
        std::vector<const Node*> others;
        for (const Node& each : node["anyOf"]) {
            if (!is_null_type(each)) {
                others.push_back(&each);
            }
        }
        if (value.is_null() && others.size() < node["anyOf"].size()) {
            return;
        }
        if (others.size() == 1) {
            check(*others.front(), value, where);
        } else if (std::none_of(others.begin(), others.end(),
                                [&](const Node* each) { return accepts(*each, value); })) {
            throw rejected(value, where, expected_by(node));
        }
    }

    void check_object(const Node& node, const Json& value, const std::string& where) const {
        const Node& properties = part_of(node, "properties");
        const Node& rest = part_of(node, "additionalProperties");
        const std::string dot = where.empty() ? "" : where + ".";
        for (const auto& item : value.items()) {
            if (rest.is_boolean() && !rest.get<bool>() && !properties.contains(item.key())) {
                throw unknown_key(dot, item.key(), names_in(properties));
            }
        }
        for (const std::string& name : node.value("required", Names())) {
            if (!value.contains(name)) {
                std::string found = "manifest.json: ";
                found.append(dot).append(name).append(" is missing");
                throw InputError(found, joined(node["required"].get<Names>()));
            }
        }
        for (const auto& item : properties.items()) {
            if (value.contains(item.key())) {
                check(item.value(), value[item.key()], dot + item.key());
            }
        }
        for (const auto& item : value.items()) {
            check(part_of(node, "propertyNames"), item.key(), where + ": the name");
        }
        for (const auto& item : value.items()) {
            if (!properties.contains(item.key())) {
                // Cut: it is built anew for each value in a list.
                check(rest, item.value(), where + "." + first_characters(item.key(), shown_length));
            }
        }
    }

    static InputError unknown_key(const std::string& dot, const std::string& name, const Names& known) {
        return InputError("manifest.json: unknown key " + repr(first_characters(dot + name, shown_length)),
                          "only " + joined(known), "a misspelling, or a bundle written by a newer version",
                          nearest(name, known));
    }
};

Schema::Schema(const std::string& text) {
    auto parts = std::make_unique<Parts>();
    parts->document = Node::parse(text);
    parts->prepare(parts->document);
    parts_ = std::move(parts);
}

Schema::~Schema() = default;

void Schema::check(const Json& value) const { parts_->check(parts_->document, value, ""); }

InputError rejected_text(const std::string& shown, const std::string& where, const std::string& expected,
                         const std::string& fix, const std::string& cause) {
    const bool fits = first_characters(shown, shown_length) == shown;
    const std::string value = fits ? shown : first_characters(shown, shown_length - 3) + "...";
    return InputError("manifest.json: " + (where.empty() ? "the whole file" : where) + " is " + value, expected, cause,
                      fix);
}

InputError rejected(const Json& value, const std::string& where, const std::string& expected, const std::string& fix) {
    return rejected_text(shown(value), where, expected, fix);
}

}  // namespace hamsa::schema
