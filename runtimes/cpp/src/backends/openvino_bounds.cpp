#include "backends/openvino_bounds.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <openvino/op/constant.hpp>
#include <openvino/op/if.hpp>
#include <openvino/op/loop.hpp>
#include <openvino/op/matmul.hpp>
#include <openvino/op/parameter.hpp>
#include <openvino/op/tensor_iterator.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "hamsa/error.hpp"

namespace hamsa {
namespace bounds {
namespace {

constexpr std::uint64_t max_steps = std::uint64_t{1} << 23;
constexpr std::uint64_t max_products = std::uint64_t{1} << 43;
constexpr int max_bodies = 8;
constexpr std::uint64_t gib = std::uint64_t{1} << 30;
constexpr std::uint64_t slack = 2 * gib;
constexpr std::uint64_t files = 16;
constexpr std::uint64_t inputs = 64;
// Beyond all limits: where a sum or a product stops.
constexpr std::uint64_t endless = std::uint64_t{1} << 62;

struct Cost {
    std::uint64_t steps = 0, bytes = 0, products = 0;
};

InputError refused(const std::string& found) {
    return InputError(found,
                      "at most " + std::to_string(max_steps) + " operators, " + std::to_string(max_products) +
                          " multiplications and, for values, " + std::to_string(slack / gib) + " GiB beyond " +
                          std::to_string(files) + " times its files and " + std::to_string(inputs) +
                          " times its inputs",
                      "a model that was made to run without end or to fill the memory; or one whose sizes depend on "
                      "its values",
                      "export the model again, with its loops unrolled and a smaller batch");
}

std::uint64_t plus(std::uint64_t a, std::uint64_t b) { return std::min(a + std::min(b, endless), endless); }

std::uint64_t times(std::uint64_t a, std::uint64_t b) {
    return b != 0 && a > endless / b ? endless : std::min(a * b, endless);
}

// The most that each can be; 1 where that is anything.
std::vector<std::uint64_t> sizes_of(const ov::PartialShape& shape) {
    std::vector<std::uint64_t> sizes;
    if (shape.rank().is_static()) {
        for (const ov::Dimension& size : shape) {
            const auto most = size.get_max_length();
            sizes.push_back(most < 0 ? 1 : static_cast<std::uint64_t>(most));
        }
    }
    return sizes;
}

std::uint64_t product(const std::vector<std::uint64_t>& sizes) {
    // Any 0 is nothing, whatever the others are.
    if (std::find(sizes.begin(), sizes.end(), 0U) != sizes.end()) {
        return 0;
    }
    std::uint64_t all = 1;
    for (const std::uint64_t size : sizes) {
        all = times(all, size);
    }
    return all;
}

std::uint64_t bytes_of(const ov::PartialShape& shape, const ov::element::Type& type, bool is_free) {
    const auto is_any = [](const ov::Dimension& size) { return size.get_max_length() < 0; };
    if (!is_free && (shape.rank().is_dynamic() || std::any_of(shape.begin(), shape.end(), is_any))) {
        throw refused("a value of any size, which other values decide");
    }
    return plus(times(product(sizes_of(shape)), type.bitwidth()), 7) / 8;
}

// Of each number of the output one for each number of the row, or of the filter, that it is summed over.
std::uint64_t products_of(const ov::Node& node) {
    if (const auto* product_of_two = dynamic_cast<const ov::op::v0::MatMul*>(&node)) {
        const auto rows = sizes_of(node.get_input_partial_shape(0));
        const std::size_t from_end = product_of_two->get_transpose_a() && rows.size() > 1 ? 2 : 1;
        return times(product(sizes_of(node.get_output_partial_shape(0))),
                     rows.empty() ? 1 : rows[rows.size() - from_end]);
    }
    if (std::string(node.get_type_name()).find("Convolution") != std::string::npos) {
        const auto outputs = sizes_of(node.get_output_partial_shape(0));
        const std::uint64_t channels = outputs.size() > 1 ? outputs[1] : 1;
        return times(product(outputs), product(sizes_of(node.get_input_partial_shape(1)))) /
               std::max<std::uint64_t>(channels, 1);
    }
    return 0;
}

Cost cost_of(const ov::Model& graph, bool is_free, int depth);

bool has_dynamic_inputs(const ov::Model& graph) {
    const auto& found = graph.get_parameters();
    return std::any_of(found.begin(), found.end(),
                       [](const auto& each) { return each->get_output_partial_shape(0).is_dynamic(); });
}

Cost loop_cost(const ov::op::util::SubGraphOp& loop, std::int64_t steps, bool must_be_known, bool is_free, int depth) {
    if (steps < 0 && must_be_known) {
        throw refused("a loop whose number of steps is no constant of the file");
    }
    bool is_known = true;
    for (std::size_t i = 0; i < loop.get_input_size(); ++i) {
        is_known = is_known && loop.get_input_partial_shape(i).is_static();
    }
    const std::shared_ptr<ov::Model>& body = loop.get_function();
    if (is_known && has_dynamic_inputs(*body)) {
        throw refused("a loop whose values grow with each step");
    }
    const Cost cost = cost_of(*body, is_free, depth + 1);
    const auto often = static_cast<std::uint64_t>(std::max<std::int64_t>(steps, 1));
    return {times(cost.steps, often), cost.bytes, times(cost.products, often)};
}

// Of a loop's body, as often as it is run; of both branches of a condition.
Cost inner_cost(const ov::Node& node, bool is_free, int depth) {
    if (const auto* loop = dynamic_cast<const ov::op::v5::Loop*>(&node)) {
        return loop_cost(*loop, loop->get_num_iterations(), true, is_free, depth);
    }
    if (const auto* iterator = dynamic_cast<const ov::op::v0::TensorIterator*>(&node)) {
        return loop_cost(*iterator, iterator->get_num_iterations(), !is_free, is_free, depth);
    }
    Cost sum;
    if (const auto* branches = dynamic_cast<const ov::op::v8::If*>(&node)) {
        for (const std::size_t i : {0U, 1U}) {
            const Cost cost = cost_of(*branches->get_function(i), is_free, depth + 1);
            sum = {plus(sum.steps, cost.steps), plus(sum.bytes, cost.bytes), plus(sum.products, cost.products)};
        }
    }
    return sum;
}

using Key = std::pair<const ov::Node*, std::size_t>;

Key key_of(const ov::Output<ov::Node>& value) { return {value.get_node(), value.get_index()}; }

// Values as they come and go while operators run one after the other.
class Kept {
  public:
    explicit Kept(const std::vector<std::shared_ptr<ov::Node>>& nodes) {
        for (const auto& node : nodes) {
            for (const auto& value : node->input_values()) {
                ++uses_[key_of(value)];
            }
        }
    }

    void add(const ov::Node& node, bool is_free) {
        const bool is_parameter = dynamic_cast<const ov::op::v0::Parameter*>(&node) != nullptr;
        const bool is_given = is_parameter || dynamic_cast<const ov::op::v0::Constant*>(&node) != nullptr;
        const auto values = node.input_values();
        const bool is_constant =
            !is_parameter && std::all_of(values.begin(), values.end(), [&](const auto& value) {
                return constant_.count(key_of(value)) != 0;
            });
        for (std::size_t i = 0; i < node.get_output_size(); ++i) {
            const std::uint64_t bytes =
                bytes_of(node.get_output_partial_shape(i), node.get_output_element_type(i), is_free);
            const Key key{&node, i};
            bytes_[key] = is_given ? 0 : bytes;  // they are the file's and the caller's
            now_ = plus(now_, bytes_[key]);
            if (is_constant) {
                constant_.insert(key);
            }
        }
    }

    void drop_inputs(const ov::Node& node) {
        for (const auto& value : node.input_values()) {
            const Key key = key_of(value);
            if (--uses_[key] == 0 && constant_.count(key) == 0) {
                now_ -= std::min(bytes_[key], now_);
            }
        }
    }

    std::uint64_t now() const { return now_; }

  private:
    std::map<Key, std::size_t> uses_;
    std::map<Key, std::uint64_t> bytes_;
    std::set<Key> constant_;
    std::uint64_t now_ = 0;
};

Cost cost_of(const ov::Model& graph, bool is_free, int depth) {
    if (depth > max_bodies) {
        throw refused("loops and branches within one another, more than " + std::to_string(max_bodies) + " deep");
    }
    const auto nodes = graph.get_ordered_ops();
    Kept kept(nodes);
    Cost sum;
    for (const auto& node : nodes) {
        const Cost inner = inner_cost(*node, is_free, depth);
        sum.steps = plus(sum.steps, plus(inner.steps, 1));
        sum.products = plus(sum.products, plus(products_of(*node), inner.products));
        kept.add(*node, is_free);
        sum.bytes = std::max(sum.bytes, plus(kept.now(), inner.bytes));
        kept.drop_inputs(*node);
    }
    return sum;
}

void check(const ov::Model& model, std::uint64_t file_bytes) {
    std::uint64_t input_bytes = 0;
    for (const auto& parameter : model.get_parameters()) {
        input_bytes = plus(
            input_bytes, bytes_of(parameter->get_output_partial_shape(0), parameter->get_output_element_type(0), true));
    }
    const Cost cost = cost_of(model, has_dynamic_inputs(model), 0);
    if (cost.steps > max_steps) {
        throw refused("it runs more than " + std::to_string(max_steps) + " operators");
    }
    if (cost.products > max_products) {
        throw refused("it takes more than " + std::to_string(max_products) + " multiplications");
    }
    const std::uint64_t most = plus(slack, plus(times(files, file_bytes), times(inputs, input_bytes)));
    if (cost.bytes > most) {
        throw refused("it takes " + std::to_string(cost.bytes) + " bytes for its values at a time, beyond " +
                      std::to_string(most));
    }
}

}  // namespace
}  // namespace bounds

void check_bounds(const ov::Model& model, std::uint64_t file_bytes) { bounds::check(model, file_bytes); }

}  // namespace hamsa
