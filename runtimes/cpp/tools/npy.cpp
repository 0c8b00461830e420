#include "npy.hpp"

#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "hamsa/error.hpp"

namespace {

using hamsa::DType;

constexpr std::size_t before_header = 10;
constexpr std::int64_t largest_size = std::int64_t{1} << 40;
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

DType dtype_of(const std::string& header, const std::filesystem::path& path) {
    for (const Descr& each : descrs) {
        if (header.find("'descr': '" + std::string(each.code) + "'") != std::string::npos) {
            return each.dtype;
        }
    }
    throw not_npy(path, "an unknown dtype");
}

hamsa::Shape shape_of(const std::string& header, const std::filesystem::path& path) {
    const std::size_t start = header.find("'shape': (");
    const std::size_t end = start == std::string::npos ? start : header.find(')', start);
    if (end == std::string::npos) {
        throw not_npy(path, "no shape");
    }
    hamsa::Shape shape;
    std::int64_t size = -1;
    for (const char c : header.substr(start, end - start + 1)) {
        if (c >= '0' && c <= '9') {
            if (size > largest_size) {
                throw not_npy(path, "a size that no file holds");
            }
            size = (size < 0 ? 0 : size) * 10 + (c - '0');
        } else if ((c == ',' || c == ')') && size >= 0) {
            shape.push_back(size);
            size = -1;
        }
    }
    return shape;
}

}  // namespace

hamsa::Tensor read_npy(const std::filesystem::path& path) {
    std::ifstream stream(path, std::ios::binary);
    auto data =
        std::make_shared<std::vector<char>>(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
    if (data->size() < before_header || std::string(data->data(), sizeof magic - 1) != magic) {
        throw not_npy(path, "not a .npy file");
    }
    const auto low = static_cast<unsigned char>((*data)[8]);
    const auto high = static_cast<unsigned char>((*data)[9]);
    const std::size_t start = before_header + low + std::size_t{256} * high;
    if (start > data->size()) {
        throw not_npy(path, "a file that was cut");
    }
    const std::string header(data->data() + before_header, start - before_header);
    if (header.find("'fortran_order': False") == std::string::npos) {
        throw not_npy(path, "an array in Fortran order");
    }
    const DType dtype = dtype_of(header, path);
    const std::size_t count = (data->size() - start) / hamsa::size_of(dtype);
    return hamsa::Tensor(dtype, shape_of(header, path), data->data() + start, count, data);
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
