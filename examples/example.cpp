// Says what a model folder holds, by its config.json: ./example MODEL
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>

#include "nibble/core/error.h"
#include "nibble/core/json.h"

int main(int argc, char** argv) try {
  if (argc != 2) nibble::fail("usage: example MODEL");
  const auto path = std::string(argv[1]) + "/config.json";
  const nibble::Json config = nibble::read_json_file(path);
  const nibble::JsonObject model(config, path);
  const auto layers = model.get_int("num_hidden_layers", 1, std::numeric_limits<int>::max());
  std::printf("%s, %d layers\n", model.get_string("model_type").c_str(), static_cast<int>(layers));
} catch (const nibble::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
