# Precompiled headers: what nearly every file includes is parsed once a target. Every file includes
# what it uses all the same, so that it compiles with -DNIBBLE_PCH=OFF. JSON is not among them: merely
# loading it costs every file a third of a second.
option(NIBBLE_PCH "Precompile the standard library's and fmt's headers" ON)

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
