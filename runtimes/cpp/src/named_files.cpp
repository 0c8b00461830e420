#include "named_files.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <map>
#include <vector>

#include "hamsa/error.hpp"

namespace hamsa {
namespace {

constexpr int max_depth = 100;  // of messages within messages; protobuf's own
constexpr std::size_t max_fields = std::size_t{1} << 21;

enum class Kind { model, training, function, graph, node, attribute, sparse, tensor, entry };

struct Inner {
    Kind kind;
    std::uint64_t number;
    Kind holds;
};

// The numbers that onnx.proto gives to the fields that hold such messages.
constexpr std::array<Inner, 17> inner_fields{{
    {Kind::model, 7, Kind::graph},          {Kind::model, 20, Kind::training},  {Kind::model, 25, Kind::function},
    {Kind::training, 1, Kind::graph},       {Kind::training, 2, Kind::graph},   {Kind::function, 7, Kind::node},
    {Kind::function, 11, Kind::attribute},  {Kind::graph, 1, Kind::node},       {Kind::graph, 5, Kind::tensor},
    {Kind::graph, 15, Kind::sparse},        {Kind::node, 5, Kind::attribute},   {Kind::attribute, 5, Kind::tensor},
    {Kind::attribute, 6, Kind::graph},      {Kind::attribute, 10, Kind::tensor}, {Kind::attribute, 11, Kind::graph},
    {Kind::attribute, 22, Kind::sparse},    {Kind::attribute, 23, Kind::sparse},
}};
constexpr std::uint64_t node_operator = 4;
constexpr std::uint64_t entry_key = 1;
constexpr std::uint64_t entry_value = 2;
constexpr std::uint64_t tensor_entry = 13;
// A whole compiled model for one device, in a file that an attribute names.
constexpr std::string_view opens_files = "EPContext";
// What OpenVINO takes for "the offset is an address".
constexpr std::string_view in_memory = "*/_ORT_MEM_ADDR_/*";

const Inner* inner_of(Kind kind, std::uint64_t number) {
    if (kind == Kind::sparse && (number == 1 || number == 2)) {
        static constexpr Inner tensors{Kind::sparse, 0, Kind::tensor};
        return &tensors;
    }
    if (kind == Kind::tensor && number == tensor_entry) {
        static constexpr Inner entries{Kind::tensor, tensor_entry, Kind::entry};
        return &entries;
    }
    const auto* found = std::find_if(inner_fields.begin(), inner_fields.end(), [&](const Inner& each) {
        return each.kind == kind && each.number == number;
    });
    return found == inner_fields.end() ? nullptr : found;
}

InputError no_onnx(const std::string& why) {
    return InputError("no ONNX model that can be looked through: " + why,
                      "the files that it names have to be known before an engine opens them",
                      "the file was cut, is of another kind, or was made to mislead", "export the model again");
}

struct Field {
    std::uint64_t number;
    std::string_view whole;  // with its tag
    std::string_view text;   // what it holds, if that is bytes
    bool is_text;
};

// The fields of one message, in order.
class Fields {
  public:
    explicit Fields(std::string_view message) : rest_(message) {}

    bool done() const { return rest_.empty(); }

    Field next() {
        const std::string_view begin = rest_;
        const std::uint64_t tag = varint(5);
        if (tag >> 3 == 0 || tag >= std::uint64_t{1} << 32) {
            throw no_onnx("a field that its message does not hold");
        }
        Field field{tag >> 3, {}, {}, (tag & 7) == 2};
        switch (tag & 7) {
            case 0:
                varint(10);
                break;
            case 1:
                take(8);
                break;
            case 2:
                field.text = take(varint(5));
                break;
            case 5:
                take(4);
                break;
            default:
                throw no_onnx("a field of wire type " + std::to_string(tag & 7));
        }
        field.whole = begin.substr(0, begin.size() - rest_.size());
        return field;
    }

    // A number of at most so many bytes, which are taken off.
    static std::uint64_t varint_of(std::string_view& rest, std::size_t most) {
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < std::min(most, rest.size()); ++i) {
            const auto byte = static_cast<unsigned char>(rest[i]);
            value |= std::uint64_t{byte & 0x7FU} << (7 * i);
            if (byte < 0x80) {
                rest.remove_prefix(i + 1);
                return value;
            }
        }
        throw no_onnx("a number without end");
    }

  private:
    std::uint64_t varint(std::size_t most) { return varint_of(rest_, most); }

    std::string_view take(std::uint64_t size) {
        if (size > rest_.size()) {
            throw no_onnx("a field that its message does not hold");
        }
        const std::string_view taken = rest_.substr(0, size);
        rest_.remove_prefix(size);
        return taken;
    }

    std::string_view rest_;
};

struct Message {
    Kind kind;
    std::string_view data;
    int depth;
};

// Looks through one message: adds those in it to `pending`, and to `found` what an entry says of a location.
void look_through(const Message& message, std::vector<Message>& pending, std::set<std::string>& found,
                  std::size_t& fields) {
    bool is_location = false;
    std::vector<std::string> values;
    for (Fields all(message.data); !all.done();) {
        const Field field = all.next();
        if (++fields > max_fields) {
            throw no_onnx("more than " + std::to_string(max_fields) + " fields");
        }
        if (!field.is_text) {
            continue;
        }
        if (const Inner* inner = inner_of(message.kind, field.number)) {
            pending.push_back({inner->holds, field.text, message.depth + 1});
        } else if (message.kind == Kind::entry && field.number == entry_key) {
            is_location = is_location || field.text == "location";
        } else if (message.kind == Kind::entry && field.number == entry_value) {
            values.emplace_back(field.text);
        } else if (message.kind == Kind::node && field.number == node_operator && field.text == opens_files) {
            throw InputError("the operator " + std::string(field.text) + ", which opens a file by itself",
                             "operators that compute",
                             "a model that was compiled for one device, or made to mislead",
                             "use the model that it was compiled from");
        }
    }
    if (is_location && values.empty()) {
        values.emplace_back();
    }
    if (is_location) {
        found.insert(values.begin(), values.end());
    }
}

void append_varint(std::string& out, std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) {
        out += static_cast<char>((value & 0x7F) | 0x80);
    }
    out += static_cast<char>(value);
}

void append_text(std::string& out, std::uint64_t number, std::string_view text) {
    append_varint(out, number << 3 | 2);
    append_varint(out, text.size());
    out += text;
}

void append_entry(std::string& tensor, std::string_view key, std::string_view value) {
    std::string entry;
    append_text(entry, entry_key, key);
    append_text(entry, entry_value, value);
    append_text(tensor, tensor_entry, entry);
}

InputError no_extent(const std::string& why) {
    return InputError("external data " + why, "one location, offset and length inside of that file",
                      "a file that was made to mislead, or was cut", "export the model again");
}

std::pair<std::string, std::string> key_and_value(std::string_view entry) {
    std::pair<std::string, std::string> found;
    for (Fields all(entry); !all.done();) {
        const Field field = all.next();
        if (field.number == entry_key) {
            found.first = field.text;
        } else if (field.number == entry_value) {
            found.second = field.text;
        }
    }
    return found;
}

std::size_t number_in(const std::map<std::string, std::string>& entries, const std::string& key, std::size_t otherwise) {
    const auto entry = entries.find(key);
    if (entry == entries.end()) {
        return otherwise;
    }
    std::size_t number = 0;
    const char* end = entry->second.data() + entry->second.size();
    const auto [last, error] = std::from_chars(entry->second.data(), end, number);
    if (error != std::errc{} || last != end) {
        throw no_extent("with the " + key + " " + entry->second.substr(0, 40));
    }
    return number;
}

using BytesOf = std::function<std::string_view(const std::string&)>;

std::string tensor_with_address(std::string_view tensor, const BytesOf& bytes_of) {
    std::string out;
    std::map<std::string, std::string> entries;
    for (Fields all(tensor); !all.done();) {
        const Field field = all.next();
        if (field.number != tensor_entry || !field.is_text) {
            out += field.whole;
        } else if (!entries.insert(key_and_value(field.text)).second) {
            throw no_extent("with a key that is there twice");
        }
    }
    if (entries.empty()) {
        return out;
    }
    if (entries.count("location") == 0) {  // an offset alone would count from the address of another tensor's
        throw no_extent("without a location");
    }
    const std::string_view file = bytes_of(entries["location"]);
    const std::size_t offset = number_in(entries, "offset", 0);
    if (offset > file.size()) {
        throw no_extent("from byte " + std::to_string(offset) + " on of a file of " + std::to_string(file.size()));
    }
    const std::size_t length = number_in(entries, "length", file.size() - offset);
    if (length > file.size() - offset) {
        throw no_extent("of " + std::to_string(length) + " bytes, where there are " +
                        std::to_string(file.size() - offset));
    }
    append_entry(out, "location", in_memory);
    append_entry(out, "offset", std::to_string(reinterpret_cast<std::uintptr_t>(file.data() + offset)));
    append_entry(out, "length", std::to_string(length));
    return out;
}

constexpr std::uint64_t max_steps = std::uint64_t{1} << 23;
constexpr int max_calls = 100;  // of functions within functions
constexpr std::size_t longest_name = 4096;

// Domain and name of a function or an operator; the graph itself has none.
using Name = std::pair<std::string, std::string>;
using Texts = std::map<std::uint64_t, std::vector<std::string>>;

struct Runs {
    std::map<Name, std::map<Name, std::uint64_t>> times;
    std::set<Name> functions;
};

InputError endless(const std::string& found) {
    return InputError(found,
                      "at most " + std::to_string(max_steps) +
                          " nodes in all, and loops whose number of steps stands in the file",
                      "a model that was made to run without end, or one that loops over a size that varies",
                      "export the model with its loops unrolled, for a fixed size");
}

// What the fields of a message hold that are short texts.
Texts texts_in(std::string_view message) {
    Texts found;
    for (Fields all(message); !all.done();) {
        const Field field = all.next();
        if (field.is_text && field.text.size() <= longest_name) {
            found[field.number].emplace_back(field.text);
        }
    }
    return found;
}

Name name_in(Texts& texts, std::uint64_t domain, std::uint64_t name) {
    const auto last = [&](std::uint64_t number) { return texts[number].empty() ? "" : texts[number].back(); };
    return {last(domain) == "ai.onnx" ? "" : last(domain), last(name)};
}

// A whole number of one element, in the raw data or in a list of one.
void note_number(Texts tensor, std::map<std::string, std::uint64_t>& found) {
    std::vector<std::uint64_t> numbers;
    for (const std::string& raw : tensor[9]) {
        if (raw.size() == sizeof(std::uint64_t)) {
            std::uint64_t number = 0;
            for (std::size_t i = raw.size(); i > 0; --i) {
                number = number << 8 | static_cast<unsigned char>(raw[i - 1]);
            }
            numbers.push_back(number);
        }
    }
    for (const std::string& packed : tensor[7]) {
        std::string_view rest = packed;
        if (!rest.empty()) {
            const std::uint64_t number = Fields::varint_of(rest, 10);
            if (rest.empty()) {
                numbers.push_back(number);
            }
        }
    }
    for (const std::string& name : tensor[8]) {
        for (const std::uint64_t number : numbers) {
            std::uint64_t& largest = found[name];
            largest = std::max(largest, number);
        }
    }
}

// Whole numbers by name, each name of which nothing else in the file gives a value to; of several, the largest.
std::map<std::string, std::uint64_t> constants_in(std::string_view data) {
    std::map<std::string, std::uint64_t> found;
    std::set<std::string> computed;
    std::vector<Message> pending{{Kind::model, data, 0}};
    while (!pending.empty()) {
        const Message message = pending.back();
        pending.pop_back();
        if (message.kind == Kind::tensor) {
            note_number(texts_in(message.data), found);
        }
        for (Fields all(message.data); !all.done();) {
            const Field field = all.next();
            const Inner* inner = field.is_text ? inner_of(message.kind, field.number) : nullptr;
            if (inner != nullptr) {
                pending.push_back({inner->holds, field.text, 0});
            } else if (field.is_text && message.kind == Kind::graph && field.number == 11) {
                const std::vector<std::string> names = texts_in(field.text)[1];
                computed.insert(names.begin(), names.end());
            } else if (field.is_text && ((message.kind == Kind::node && field.number == 2) ||
                                         (message.kind == Kind::function && field.number == 4))) {
                computed.emplace(field.text);
            }
        }
    }
    for (const std::string& name : computed) {
        found.erase(name);
    }
    return found;
}

std::uint64_t trips(Texts& node, const std::map<std::string, std::uint64_t>& constants) {
    const auto found = node[1].empty() ? constants.end() : constants.find(node[1].front());
    if (found == constants.end()) {
        throw endless("a Loop whose number of steps is no constant of the file");
    }
    return found->second;
}

std::uint64_t times_or_more(std::uint64_t a, std::uint64_t b) {
    return b != 0 && a > 2 * max_steps / b ? 2 * max_steps : std::min(a * b, 2 * max_steps);
}

// How often each function, and the graph, runs which operators; and the functions that there are.
Runs runs_of(std::string_view data, const std::map<std::string, std::uint64_t>& constants) {
    struct Place {
        Kind kind;
        std::string_view data;
        Name function;
        std::uint64_t times;
    };
    Runs runs;
    std::vector<Place> pending{{Kind::model, data, {}, 1}};
    while (!pending.empty()) {
        Place place = pending.back();
        pending.pop_back();
        if (place.kind == Kind::function) {
            Texts texts = texts_in(place.data);
            place.function = name_in(texts, 10, 1);
            runs.functions.insert(place.function);
        } else if (place.kind == Kind::node) {
            Texts texts = texts_in(place.data);
            const Name name = name_in(texts, 7, node_operator);
            std::uint64_t& times = runs.times[place.function][name];
            times = std::min(times + place.times, 2 * max_steps);
            if (name == Name{"", "Loop"}) {
                place.times = times_or_more(trips(texts, constants), place.times);
            }
        }
        for (Fields all(place.data); !all.done();) {
            const Field field = all.next();
            const Inner* inner = field.is_text ? inner_of(place.kind, field.number) : nullptr;
            if (inner != nullptr && inner->holds != Kind::tensor && inner->holds != Kind::sparse) {
                pending.push_back({inner->holds, field.text, place.function, place.times});
            }
        }
    }
    return runs;
}

// How many nodes a function runs, or more than the limit.
std::uint64_t total(const Name& function, const Runs& runs, std::map<Name, std::uint64_t>& known, int depth) {
    if (depth > max_calls) {
        throw endless("functions that call themselves, or one another more than " + std::to_string(max_calls) +
                      " deep");
    }
    if (const auto found = known.find(function); found != known.end()) {
        return found->second;
    }
    std::uint64_t sum = 0;
    if (const auto row = runs.times.find(function); row != runs.times.end()) {
        for (const auto& [name, times] : row->second) {
            const bool is_call = runs.functions.count(name) != 0;
            const std::uint64_t each = is_call ? total(name, runs, known, depth + 1) : 1;
            sum = std::min(sum + times_or_more(times, std::max<std::uint64_t>(each, 1)), 2 * max_steps);
        }
    }
    return known[function] = sum;
}

// `depth` is bounded: `locations_in_onnx` has seen the same messages.
std::string with_addresses(Kind kind, std::string_view message, const BytesOf& bytes_of) {
    if (kind == Kind::tensor) {
        return tensor_with_address(message, bytes_of);
    }
    std::string out;
    out.reserve(message.size());
    for (Fields all(message); !all.done();) {
        const Field field = all.next();
        const Inner* inner = field.is_text ? inner_of(kind, field.number) : nullptr;
        if (inner != nullptr) {
            append_text(out, field.number, with_addresses(inner->holds, field.text, bytes_of));
        } else {
            out += field.whole;
        }
    }
    return out;
}

}  // namespace

std::set<std::string> locations_in_onnx(std::string_view data) {
    std::set<std::string> found;
    std::vector<Message> pending{{Kind::model, data, 0}};
    std::size_t fields = 0;
    bool has_graph = false;
    while (!pending.empty()) {
        const Message message = pending.back();
        pending.pop_back();
        if (message.depth > max_depth) {
            throw no_onnx("nested more than " + std::to_string(max_depth) + " levels deep");
        }
        has_graph = has_graph || message.kind == Kind::graph;
        look_through(message, pending, found, fields);
    }
    if (!has_graph) {
        throw no_onnx("it has no graph");
    }
    return found;
}

void check_ir(std::string_view data) {
    if (data.rfind("<?xml", 0) != 0 && data.rfind("<net", 0) != 0) {
        throw InputError("not OpenVINO's XML", "<?xml or <net at its beginning",
                         "a file of another kind under this name: OpenVINO goes by what is in it",
                         "export the model again");
    }
    if (data.find("__weights_path") != std::string_view::npos) {
        throw InputError("it names a file of weights", "weights in the file beside it",
                         "a file that was made to mislead", "export the model again");
    }
}

void check_steps(std::string_view data) {
    const Runs runs = runs_of(data, constants_in(data));
    std::map<Name, std::uint64_t> known;
    if (total({"", ""}, runs, known, 0) > max_steps) {
        throw endless("its loops and functions run more than " + std::to_string(max_steps) + " nodes");
    }
}

std::string onnx_with_addresses(std::string_view data, const BytesOf& bytes_of) {
    return with_addresses(Kind::model, data, bytes_of);
}

}  // namespace hamsa
