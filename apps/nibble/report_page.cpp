#include "report_page.h"

#include "nibble/core/embedded_file.h"

NIBBLE_EMBED_FILE(report_page_html, NIBBLE_REPORT_PAGE);

namespace nibble::cli {

std::string_view report_page() {
  return report_page_html;
}

}  // namespace nibble::cli
