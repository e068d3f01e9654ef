#include "table_format.h"

#include "command.h"

namespace nibble::cli {

Flag add_format_flag(const Command& command, TableFormatFlag& format) {
  return command.add("--format", format.name, "How the table is printed")
      .one_of({"markdown", "table", "csv", "json"})
      .show_default();
}

void print_table(const Table& table, const TableFormatFlag& format) {
  print_text(format.name == "csv"     ? table.csv()
             : format.name == "table" ? table.text()
                                      : table.markdown());
}

}  // namespace nibble::cli
