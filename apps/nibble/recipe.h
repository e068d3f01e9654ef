// What `nibble quantize` was told, as one JSON file: the checkpoint has it, and --recipe reads it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "flags.h"
#include "nibble/core/json.h"

namespace nibble::cli {

class RecipeFlags {
 public:
  using Value = std::variant<const std::string*, const int*, const std::int64_t*,
                             const std::uint64_t*, const double*, const std::optional<double>*,
                             const bool*, const std::vector<std::string>*>;

  /// A flag of the command ("--w-bit"), in the recipe under its name with _ for - ("w_bit"); its
  /// variable must outlive this. counts: whether the result depends on it, by default it does.
  void add(const Flag& flag, const std::string& name, Value value,
           std::function<bool()> counts = {});

  /// All that counts, with the values that the variables have.
  Json recipe() const;
  /// Gives flags that the command line does not have the values of a recipe. Throws Error, naming
  /// the file and the key, for keys that are no flags' and for values that are wrong.
  void read(const std::string& file);
  /// Throws Error if the recipe that was read names another digest, and no flag changed the recipe.
  void check_digest(const std::string& of, const std::string& digest) const;

 private:
  struct Field {
    Flag flag;
    std::string name;
    Value value;
    std::function<bool()> counts;
  };

  const Field& find(const std::string& key) const;

  std::vector<Field> fields_;
  std::string file_;         // that was read
  bool is_changed_ = false;  // by flags of the command line
  std::map<std::string, std::string> digests_;
};

/// "best; effort: normal; ...", of a recipe.
std::string recipe_line(const Json& recipe);

}  // namespace nibble::cli
