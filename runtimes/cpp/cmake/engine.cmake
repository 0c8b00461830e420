# OpenVINO beside the library, where it is not the system's: what pip has installed on the machine that built this is not
# on the device. What the system has is left to it, and a .deb depends on it.
#
# Its core, its readers of IR and ONNX, its devices, oneTBB and licences; 155 MB in version 2026.4. TensorRT is never
# copied: it is the system's on a Jetson, and not ours to give away.
if(NOT OpenVINO_FOUND)
  return()
endif()

get_target_property(library openvino::runtime LOCATION)
get_filename_component(folder ${library} DIRECTORY)
if(folder IN_LIST CMAKE_CXX_IMPLICIT_LINK_DIRECTORIES)
  return()
endif()

file(GLOB threads ${folder}/libtbb.so*)
if(NOT threads)
  message(WARNING "hamsa: OpenVINO in ${folder} has no libtbb.so beside it, so it is not installed along. "
    "Name the folders that both are in on the device: -D CMAKE_INSTALL_RPATH=...")
  return()
endif()
message(STATUS "hamsa: OpenVINO is installed along from ${folder}")

install(DIRECTORY ${folder}/ DESTINATION ${HAMSA_ENGINE_DIR}
  FILES_MATCHING
  PATTERN libopenvino.so*
  PATTERN libopenvino_ir_frontend.so*
  PATTERN libopenvino_onnx_frontend.so*
  PATTERN libopenvino_*_plugin.so
  PATTERN libtbb*.so*
  PATTERN libhwloc.so*
  PATTERN cache.json)  # of the GPU's plugin
file(GLOB licences ${folder}/../../openvino-*.dist-info/licenses)
if(licences)
  install(DIRECTORY ${licences}/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/openvino)
endif()
