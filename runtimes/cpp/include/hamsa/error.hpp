// The exception family of hamsa_runtime: the kinds, exit codes and texts of the Python runtime.
#pragma once

#include <exception>
#include <string>

#include "hamsa/export.hpp"

namespace hamsa {

// A text of a file with all escaped that a terminal obeys, or that turns the direction of a line, as Python's repr() does;
// line breaks and tabs stay.
HAMSA_API std::string printable(const std::string& text);

// Base of all errors raised on purpose. what() is "found", then one indented line each for what was expected, the
// likely cause and what to try, where there is something to say.
class HAMSA_API Error : public std::exception {
  public:
    explicit Error(std::string found, std::string expected = "", std::string cause = "", std::string fix = "");

    const char* what() const noexcept override { return message_.c_str(); }
    // The class's name, such as "InputError".
    virtual const char* kind() const noexcept { return "Error"; }
    // What a command that fails with this error exits with.
    virtual int exit_code() const noexcept { return 1; }

    const std::string& found() const noexcept { return found_; }
    const std::string& expected() const noexcept { return expected_; }
    const std::string& cause() const noexcept { return cause_; }
    const std::string& fix() const noexcept { return fix_; }

  private:
    std::string found_, expected_, cause_, fix_, message_;
};

// Bad usage or bad input: an option, a file, an image, an array.
class HAMSA_API InputError : public Error {
  public:
    using Error::Error;
    const char* kind() const noexcept override { return "InputError"; }
    int exit_code() const noexcept override { return 2; }
};

// An engine or device that was asked for is not here. Nothing else is ever put in its place.
class HAMSA_API MissingError : public Error {
  public:
    using Error::Error;
    const char* kind() const noexcept override { return "MissingError"; }
    int exit_code() const noexcept override { return 4; }
};

// An engine could not load, compile or run the model.
class HAMSA_API BuildError : public Error {
  public:
    using Error::Error;
    const char* kind() const noexcept override { return "BuildError"; }
    int exit_code() const noexcept override { return 5; }
};

// An engine was used after close(), or after it was moved from.
class HAMSA_API EngineClosedError : public Error {
  public:
    using Error::Error;
    const char* kind() const noexcept override { return "EngineClosedError"; }
    int exit_code() const noexcept override { return 2; }
};

}  // namespace hamsa
