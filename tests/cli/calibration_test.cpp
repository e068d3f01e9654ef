// What `nibble quantize` calibrates on.
#include "cli/in_a_folder.h"

namespace nibble::testing {
namespace {

class Calibration : public BesideAModel {
 protected:
  Outcome quantize(const std::vector<std::string>& more) {
    std::vector<std::string> args = {
        "quantize", "model",       "-o", "out",       "--force", "-q",           "--algorithm",
        "gptq",     "--n-samples", "2",  "--seq-len", "32",      "--group-size", "32"};
    args.insert(args.end(), more.begin(), more.end());
    return here(args);
  }
  std::string weights() { return read_file(folder_ / "out/model.safetensors"); }
};

TEST_F(Calibration, WithoutATextIsOnOneThatComesWithNibble) {
  expect_success(quantize({}));
  const std::string own = weights();
  write_file(folder_ / "cat.txt", std::string(4000, 'a'));
  expect_success(quantize({"--calib", "cat.txt"}));
  EXPECT_NE(weights(), own);
}

TEST_F(Calibration, OnConversationsTakesAChatTemplate) {
  std::string line = R"({"messages": [{"role": "user", "content": ")" + std::string(400, 'b');
  write_file(folder_ / "chat.jsonl", line + "\"}]}\n");
  expect_failure(quantize({"--calib", "chat.jsonl"}), 1, {"model", "chat template"});
  write_file(folder_ / "model/chat_template.jinja",
             "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}");
  expect_success(quantize({"--calib", "chat.jsonl"}));
}

}  // namespace
}  // namespace nibble::testing
