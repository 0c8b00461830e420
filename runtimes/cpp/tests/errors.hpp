// Asking for an error and looking at its parts. One of another type fails the test by itself.
#pragma once

#include <doctest/doctest.h>

#include <string>

#include "hamsa/error.hpp"

template <typename E, typename Body>
E error_of(Body body) {
    try {
        body();
    } catch (const E& error) {
        return error;
    }
    FAIL("no error");
    return E("");
}

inline bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
