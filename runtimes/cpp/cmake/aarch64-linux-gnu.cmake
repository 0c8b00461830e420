# 64-bit ARM from any Debian or Ubuntu machine: g++-aarch64-linux-gnu, and the libraries as packages of :arm64.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)

set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
# FindOpenSSL and FindPNG believe pkg-config first, which would name the libraries of this machine.
set(ENV{PKG_CONFIG_LIBDIR} /usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig)

# What ctest runs the programs with: loader and libraries are those of Debian's arm64, all of one build.
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64)
