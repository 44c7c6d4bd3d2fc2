# spq_library(NAME SOURCES ... LIBS ...): one static library per folder; it may link lower folders only
# (tools/check_layers.py checks the includes).
# The wheel ships a newer fmt beside ATen; Debian's, the one we link, has to come first.
file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/fmt_first")
file(CREATE_LINK /usr/include/fmt "${PROJECT_BINARY_DIR}/fmt_first/fmt" SYMBOLIC)

add_library(spq_flags INTERFACE)
target_compile_options(spq_flags INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wpedantic;-Wshadow;-Wnon-virtual-dtor;-Werror>")
if(SPQ_WITH_CUDA)
  # Without -Wpedantic, which objects to what nvcc itself writes.
  target_compile_options(spq_flags INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr>
    "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:-Werror all-warnings>"
    "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra,-Wshadow,-Werror>")
endif()
target_include_directories(spq_flags BEFORE INTERFACE "${PROJECT_SOURCE_DIR}" "${PROJECT_BINARY_DIR}/fmt_first")
target_link_libraries(spq_flags INTERFACE fmt::fmt)
if(SPQ_SANITIZE)
  target_compile_options(spq_flags INTERFACE
    "$<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${SPQ_SANITIZE};-fno-sanitize-recover=all;-fno-omit-frame-pointer>")
  target_link_options(spq_flags INTERFACE -fsanitize=${SPQ_SANITIZE})
endif()

function(spq_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS;PRIVATE_LIBS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC spq_flags ${ARG_LIBS} PRIVATE ${ARG_PRIVATE_LIBS})
endfunction()

# spq_test(NAME SOURCES ... LIBS ...): a GoogleTest program, one ctest entry per program.
function(spq_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;LIBS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS} spq_flags GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE SPQ_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} ENVIRONMENT "${SPQ_TEST_ENVIRONMENT}")
endfunction()

# spq_mpi_test(NAME RANKS 1 2 3 4 SOURCES ... LIBS ...): the same program under mpirun at each rank count.
# The program brings its own main (tests/mpi_main.cpp).
function(spq_mpi_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "RANKS;SOURCES;LIBS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_executable(${name} ${ARG_SOURCES} ${PROJECT_SOURCE_DIR}/tests/mpi_main.cpp)
  target_link_libraries(${name} PRIVATE ${ARG_LIBS} spq_flags GTest::gmock GTest::gtest MPI::MPI_CXX)
  target_compile_definitions(${name} PRIVATE SPQ_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  foreach(ranks ${ARG_RANKS})
    add_test(NAME ${name}.np${ranks} COMMAND ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} ${ranks} --oversubscribe
      --bind-to none $<TARGET_FILE:${name}>)
    set_tests_properties(${name}.np${ranks} PROPERTIES PROCESSORS 2 TIMEOUT ${ARG_TIMEOUT}
      ENVIRONMENT "${SPQ_TEST_ENVIRONMENT}")
  endforeach()
endfunction()
