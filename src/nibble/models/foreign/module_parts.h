// The tensors of one quantized module, checked as they are asked for.
#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nibble/core/error.h"
#include "nibble/models/model_spec.h"
#include "nibble/models/tensor_source.h"

namespace nibble::foreign {

/// Every function throws Error, opening with `origin`, naming the tensor, what was expected and
/// found. `suffix` comes behind the module's name: ".qweight".
class ModuleParts {
 public:
  ModuleParts(const TensorSource& source, const std::string& origin, const LinearSpec& linear)
      : source_(source), origin_(origin), linear_(linear) {}

  const LinearSpec& linear() const { return linear_; }
  /// The names of all parts that were asked for, and are there.
  std::vector<std::string> take_names() { return std::move(names_); }

  std::optional<TensorView> find(const char* suffix) const;
  /// A part of one of the dtypes, of any shape.
  TensorView part(const char* suffix, std::initializer_list<DType> dtypes);
  /// The same with two dimensions.
  TensorView matrix(const char* suffix, std::initializer_list<DType> dtypes);
  TensorView shaped(const char* suffix, std::initializer_list<DType> dtypes,
                    const std::vector<std::int64_t>& shape);

  /// Symmetric layers may have zero points, but of 0 only.
  void refuse_zeros(const char* suffix) const;
  /// The group of each column: neighbours of `group_size` (0: all) share one.
  std::vector<std::int32_t> group_of(std::int64_t group_size) const;
  /// The same as the tensor `suffix` says, where the module has one. compressed-tensors writes -1
  /// into it where it means nothing.
  std::vector<std::int32_t> group_of(const char* suffix, std::int64_t group_size,
                                     std::int64_t groups);

  [[noreturn]] void refuse_shape(const char* suffix, const TensorView& view,
                                 const std::vector<std::int64_t>& expected) const;
  /// A remark on the module, once for all modules of a checkpoint.
  void remark(const std::string& text) const;
  template <typename... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    fail("{}: module \"{}\": {}", origin_, linear_.name,
         fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  const TensorSource& source_;
  const std::string& origin_;
  const LinearSpec& linear_;
  std::vector<std::string> names_;
};

/// Groups of `group_size` columns (0: a whole row) in a row of `cols`.
std::int64_t count_groups(std::int64_t cols, std::int64_t group_size);

}  // namespace nibble::foreign
