// The page of `nibble report`, built from apps/web/report and linked into the command.
#pragma once

#include <string_view>

namespace nibble::cli {

/// HTML with two places to fill: {{summary}} and {{results}}.
std::string_view report_page();

}  // namespace nibble::cli
