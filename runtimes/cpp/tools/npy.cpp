#include "npy.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "hamsa/error.hpp"

namespace {

using hamsa::DType;

constexpr std::size_t before_header = 10;
constexpr std::size_t longest_header = 10000;  // numpy's own limit
constexpr std::size_t most_dimensions = 32;
constexpr char magic[] = "\x93NUMPY\x01";

struct Descr {
    const char* code;
    DType dtype;
};

constexpr Descr descrs[] = {{"|b1", DType::boolean}, {"|u1", DType::uint8},  {"|i1", DType::int8},
                            {"<i4", DType::int32},   {"<i8", DType::int64},  {"<f2", DType::float16},
                            {"<f4", DType::float32}, {"<f8", DType::float64}};

hamsa::InputError not_npy(const std::filesystem::path& path, const std::string& why) {
    return hamsa::InputError(path.string() + ": " + why, "a C-ordered array, as numpy.save writes it");
}

// The header: a text that is read from its beginning to its end, so that nothing in it is passed over.
class Header {
  public:
    Header(std::string_view text, const std::filesystem::path& path) : rest_(text), path_(path) {}

    DType dtype() {
        expect("{'descr': '");
        for (const Descr& each : descrs) {
            if (skip(each.code)) {
                expect("', 'fortran_order': False, ");
                return each.dtype;
            }
        }
        throw not_npy(path_, "an unknown dtype");
    }

    hamsa::Shape shape() {
        expect("'shape': (");
        hamsa::Shape shape;
        bool is_open = true;  // a number may follow
        while (!skip(")")) {
            if (!is_open || shape.size() == most_dimensions) {
                throw not_npy(path_, "a shape that is none");
            }
            shape.push_back(number());
            is_open = skip(",");
            skip(" ");
        }
        if (shape.size() == 1 && !is_open) {
            throw not_npy(path_, "a number in place of a shape");
        }
        expect(", }");
        if (rest_.find_first_not_of(" \n") != std::string_view::npos) {
            throw damaged();
        }
        return shape;
    }

  private:
    std::int64_t number() {
        const std::size_t digits = std::min(rest_.find_first_not_of("0123456789"), rest_.size());
        std::int64_t value = 0;
        const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + digits, value);
        if (error != std::errc{} || end != rest_.data() + digits || (digits > 1 && rest_.front() == '0')) {
            throw not_npy(path_, "a size that no file holds");
        }
        rest_.remove_prefix(digits);
        return value;
    }

    bool skip(std::string_view text) {
        const bool is_there = rest_.substr(0, text.size()) == text;
        rest_.remove_prefix(is_there ? text.size() : 0);
        return is_there;
    }

    void expect(std::string_view text) {
        if (!skip(text)) {
            throw damaged();
        }
    }

    hamsa::InputError damaged() const {
        return not_npy(path_, "a header that numpy.save does not write, or an array in Fortran order");
    }

    std::string_view rest_;
    const std::filesystem::path& path_;
};

}  // namespace

hamsa::Tensor read_npy(const std::filesystem::path& path) {
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(path, ignored)) {
        throw not_npy(path, "no such file");  // and no pipe or device, which may have no end
    }
    std::ifstream stream(path, std::ios::binary);
    auto data =
        std::make_shared<std::vector<char>>(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
    if (data->size() < before_header || std::string(data->data(), sizeof magic - 1) != magic) {
        throw not_npy(path, "not a .npy file");
    }
    const auto low = static_cast<unsigned char>((*data)[8]);
    const auto high = static_cast<unsigned char>((*data)[9]);
    const std::size_t length = low + std::size_t{256} * high;
    const std::size_t start = before_header + length;
    if (start > data->size() || length > longest_header) {
        throw not_npy(path, "a file that was cut");
    }
    Header header({data->data() + before_header, length}, path);
    const DType dtype = header.dtype();
    hamsa::Shape shape = header.shape();
    const std::size_t bytes = data->size() - start;
    if (bytes % hamsa::size_of(dtype) != 0) {
        throw not_npy(path, std::to_string(bytes) + " bytes of elements of " + std::to_string(hamsa::size_of(dtype)));
    }
    return hamsa::Tensor(dtype, std::move(shape), data->data() + start, bytes / hamsa::size_of(dtype), data);
}

void write_npy(const std::filesystem::path& path, const hamsa::Tensor& tensor) {
    std::string shape;
    for (const std::int64_t size : tensor.shape()) {
        shape += std::to_string(size) + ",";
    }
    std::string header = "{'descr': '" + std::string(descrs[static_cast<std::size_t>(tensor.dtype())].code) +
                         "', 'fortran_order': False, 'shape': (" + shape + "), }";
    header.append(63 - (before_header + header.size()) % 64, ' ');
    header += '\n';
    std::ofstream stream(path, std::ios::binary);
    stream.write(magic, sizeof magic - 1);
    stream.put('\0');
    stream.put(static_cast<char>(header.size() & 255));
    stream.put(static_cast<char>(header.size() >> 8));
    stream << header;
    stream.write(static_cast<const char*>(tensor.data()), static_cast<std::streamsize>(tensor.bytes()));
    stream.flush();
    if (!stream) {
        throw hamsa::InputError(path.string() + ": cannot be written");
    }
}
