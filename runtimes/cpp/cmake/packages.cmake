# cpack: a .tar.gz that runs in any folder, and a .deb; both have what `cmake --install` installs.
set(CPACK_PACKAGE_NAME hamsa-runtime)
set(CPACK_PACKAGE_VENDOR "hamsa-deploy")
set(CPACK_PACKAGE_CONTACT "the maintainers of hamsa-deploy")
set(CPACK_RESOURCE_FILE_LICENSE ${CMAKE_CURRENT_SOURCE_DIR}/../../LICENSE)
string(TOLOWER "${CPACK_PACKAGE_NAME}-${PROJECT_VERSION}-${CMAKE_SYSTEM_NAME}-${CMAKE_SYSTEM_PROCESSOR}"
  CPACK_PACKAGE_FILE_NAME)
set(CPACK_GENERATOR TGZ)
set(CPACK_STRIP_FILES ON)

# The names of the packages that libraries are in differ between releases of Debian and Ubuntu: the system that builds
# the package looks them up, and the package is for that system.
find_program(HAMSA_SHLIBDEPS dpkg-shlibdeps)
if(HAMSA_SHLIBDEPS AND BUILD_SHARED_LIBS)
  list(APPEND CPACK_GENERATOR DEB)
  set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
  set(CPACK_DEBIAN_PACKAGE_SECTION libs)
  set(CPACK_DEBIAN_PACKAGE_RECOMMENDS ocl-icd-libopencl1)  # what OpenVINO's plugin for GPUs needs, and nothing else
  configure_file(cmake/depends.cmake.in depends.cmake.in @ONLY)
  file(GENERATE OUTPUT depends.cmake INPUT ${CMAKE_CURRENT_BINARY_DIR}/depends.cmake.in)
  set(CPACK_PROJECT_CONFIG_FILE ${CMAKE_CURRENT_BINARY_DIR}/depends.cmake)
endif()
include(CPack)
