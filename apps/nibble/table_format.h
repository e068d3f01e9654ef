// --format: how a command prints its table.
#pragma once

#include <string>

#include "flags.h"
#include "table.h"

namespace nibble::cli {

struct TableFormatFlag {
  std::string name = "markdown";

  bool is_for_people() const { return name == "markdown" || name == "table"; }
};

/// Adds --format.
Flag add_format_flag(const Command& command, TableFormatFlag& format);

/// Prints a table for people or as CSV; JSON documents are the commands' own.
void print_table(const Table& table, const TableFormatFlag& format);

}  // namespace nibble::cli
