// Continues a prompt: ./example MODEL PROMPT
#include <cstdio>

#include "nibble/core/error.h"
#include "nibble/runtime/generate.h"

int main(int argc, char** argv) try {
  if (argc != 3) nibble::fail("usage: example MODEL PROMPT");
  nibble::ThreadPool threads;
  nibble::Model model(nibble::locate_model(argv[1]), threads);
  const nibble::Tokenizer tokenizer = model.checkpoint().load_tokenizer();
  nibble::KvCache cache = model.make_cache();
  nibble::Sequence sequence(tokenizer, model.spec(), tokenizer.encode(argv[2]), cache.capacity(),
                            {});
  const auto print = [](std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
  };
  nibble::generate(model, cache, sequence, print);
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
