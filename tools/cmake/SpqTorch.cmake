# Imported targets for the LibTorch inside the PyPI wheel: spq::torch (CPU part).
# find_package(Torch) is not used: the wheel's own config insists on a CUDA toolkit even for CPU builds.
set(SPQ_TORCH_DIR "" CACHE PATH "site-packages/torch of the wheel (default: the one launch/setup.sh installs)")
if(NOT SPQ_TORCH_DIR)
  file(GLOB _candidates "${PROJECT_SOURCE_DIR}/.deps/venv/lib/python3*/site-packages/torch")
  list(GET _candidates 0 SPQ_TORCH_DIR)
endif()
if(NOT EXISTS "${SPQ_TORCH_DIR}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "LibTorch not found (SPQ_TORCH_DIR='${SPQ_TORCH_DIR}'). Run: bash launch/setup.sh")
endif()
find_package(Threads REQUIRED)
foreach(lib c10 torch_cpu)
  add_library(spq::${lib} SHARED IMPORTED GLOBAL)
  set_target_properties(spq::${lib} PROPERTIES IMPORTED_LOCATION "${SPQ_TORCH_DIR}/lib/lib${lib}.so")
endforeach()
target_include_directories(spq::c10 SYSTEM INTERFACE
  "${SPQ_TORCH_DIR}/include" "${SPQ_TORCH_DIR}/include/torch/csrc/api/include")
target_compile_definitions(spq::c10 INTERFACE _GLIBCXX_USE_CXX11_ABI=1)
target_link_libraries(spq::torch_cpu INTERFACE spq::c10 Threads::Threads dl)
file(STRINGS "${SPQ_TORCH_DIR}/version.py" _version REGEX "^__version__ = ")
string(REGEX REPLACE ".*'(.*)'.*" "\\1" SPQ_TORCH_VERSION "${_version}")

add_library(spq::torch INTERFACE IMPORTED GLOBAL)
target_link_libraries(spq::torch INTERFACE spq::torch_cpu spq::c10)
# The wheel's libraries need the CUDA runtime of the nvidia wheels beside it when linking.
get_filename_component(_site "${SPQ_TORCH_DIR}" DIRECTORY)
target_link_options(spq::torch_cpu INTERFACE "LINKER:-rpath-link,${_site}/nvidia/cu13/lib")
