// Names of devices: the cases of tests/runtime/test_devices.py.
#include "devices.hpp"
#include "errors.hpp"

using hamsa::device_from;

TEST_CASE("case does not count, and a colon is a dot") {
    const char* cases[][2] = {{"cpu", "CPU"},
                              {"GPU.1", "GPU.1"},
                              {"cuda:0", "CUDA.0"},
                              {"openvino:gpu", "OPENVINO.GPU"},
                              {"auto", "AUTO"},
                              {"AUTO:GPU,cpu", "AUTO:GPU,CPU"},
                              {"hetero:cuda:1,CPU", "HETERO:CUDA.1,CPU"}};
    for (const auto& [text, expected] : cases) {
        CHECK(device_from(text).text() == expected);
        CHECK(device_from(expected).text() == expected);
    }
    CHECK(device_from("AUTO").names.empty());
    CHECK(device_from("HETERO:GPU.1,CPU").names[0].which == "1");
}

TEST_CASE("what is no name is refused") {
    for (const char* text :
         {"", " ", "0", "gpu:", "GPU.", "GPU.1.2", "a b", "CPU,GPU", "HETERO", "HETERO:", "AUTO:", "HETERO:CPU,",
          "HETERO:CPU,cpu", "AUTO:HETERO", "HETERO:AUTO:GPU", "GPU.1\n"}) {
        const auto error = error_of<hamsa::InputError>([&] { device_from(text); });
        CHECK(has(error.found(), "device is "));
        CHECK(has(error.expected(), "HETERO:GPU,CPU"));
    }
}

TEST_CASE("an engine that runs on one device takes one name") {
    CHECK(hamsa::only_name("gpu:1", "TensorRT").text() == "GPU.1");
    CHECK_THROWS_AS(hamsa::only_name("HETERO:GPU,CPU", "TensorRT"), hamsa::InputError);
}
