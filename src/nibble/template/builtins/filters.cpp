#include "nibble/template/builtins/filters.h"

#include "nibble/template/builtins/filter_tables.h"
#include "nibble/template/values/raised.h"
#include "nibble/template/values/show.h"

namespace nibble::jinja {

Filter find_filter(const std::string& name) {
  for (const FilterTable* table : {&text_filters(), &value_filters(), &sequence_filters()}) {
    if (const auto found = table->find(name); found != table->end()) return found->second;
  }
  return nullptr;
}

Filter get_filter(const std::string& name) {
  const Filter filter = find_filter(name);
  if (filter == nullptr) raise("TemplateRuntimeError", "No filter named {}.", repr_text(name));
  return filter;
}

Test get_test(const std::string& name) {
  const Test test = find_test(name);
  if (test == nullptr) raise("TemplateRuntimeError", "No test named {}.", repr_text(name));
  return test;
}

}  // namespace nibble::jinja
