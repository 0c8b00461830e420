// All of hamsa_runtime for C++. It shows no header of an engine, a JSON or an image library.
#pragma once

#include "hamsa/clip.hpp"
#include "hamsa/engine.hpp"
#include "hamsa/error.hpp"
#include "hamsa/image.hpp"
#include "hamsa/tensor.hpp"
