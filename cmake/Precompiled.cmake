# What makes the build quick. Every file includes what it uses all the same, so that it compiles with
# -DNIBBLE_PCH=OFF -DNIBBLE_UNITY=OFF (the debug preset).
option(NIBBLE_PCH "Precompile the standard library's and fmt's headers" ON)
option(NIBBLE_UNITY "Compile the files of a folder as one" ON)

# nibble_unite(TARGET SOURCES...): a folder's files are compiled as one, in half the time. A name that
# is a file's own must then be the only one of its folder.
function(nibble_unite target)
  if(NIBBLE_UNITY)
    foreach(source IN LISTS ARGN)
      get_filename_component(folder ${source} DIRECTORY)
      file(RELATIVE_PATH folder ${PROJECT_SOURCE_DIR} ${folder})
      string(MAKE_C_IDENTIFIER ${folder} group)
      set_property(SOURCE ${source} PROPERTY UNITY_GROUP ${group})
    endforeach()
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
  endif()
endfunction()

# Precompiled headers: what nearly every file includes is parsed once. JSON is not among them: merely
# loading it costs every file a third of a second.

# nibble_precompile(TARGET [HEADER ...]): those headers, and more.
function(nibble_precompile target)
  if(NIBBLE_PCH)
    target_precompile_headers(${target} PRIVATE
      <algorithm> <array> <atomic> <bit> <cassert> <charconv> <chrono> <cmath> <condition_variable>
      <cstddef> <cstdint> <cstdio> <cstdlib> <cstring> <exception> <filesystem> <functional> <limits>
      <map> <memory> <mutex> <numeric> <optional> <set> <span> <stdexcept> <string> <string_view>
      <system_error> <thread> <tuple> <type_traits> <unordered_map> <utility> <variant> <vector>
      <fmt/core.h> ${ARGN})
    target_compile_options(${target} PRIVATE -fpch-preprocess)  # ccache wants it
  endif()
endfunction()

# nibble_precompile_as(TARGET OTHER): those that OTHER has.
function(nibble_precompile_as target other)
  if(NIBBLE_PCH)
    target_precompile_headers(${target} REUSE_FROM ${other})
    target_compile_options(${target} PRIVATE -fpch-preprocess)
  endif()
endfunction()
