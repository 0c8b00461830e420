// What the shared library shows to others; everything else in it is hidden.
#pragma once

#if defined(_WIN32)
#define HAMSA_API
#else
#define HAMSA_API __attribute__((visibility("default")))
#endif
