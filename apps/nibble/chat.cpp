// nibble chat: a conversation in the terminal, or line by line from a pipe.
#include <fmt/core.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "chat.h"
#include "line_editor.h"
#include "nibble/core/error.h"
#include "nibble/core/interrupt.h"
#include "nibble/core/json.h"
#include "nibble/core/log.h"
#include "nibble/core/mapped_file.h"
#include "nibble/core/output.h"
#include "nibble/runtime/conversation.h"

namespace nibble::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kHelp =
    "/reset       forget the conversation\n"
    "/save FILE   write it as JSON, as `nibble template --messages` reads it\n"
    "/stats       what the last answer took\n"
    "/help        this\n"
    "/exit        leave (so does Ctrl-D)\n"
    "A line that ends in \\ goes on; lines between \"\"\" and \"\"\" are one message.\n"
    "Ctrl-C stops the answer.\n";

/// Sampling as generation_config.json says: greedy unless it says do_sample.
SamplerOptions read_sampling(const fs::path& model) {
  SamplerOptions sampler;
  const fs::path file = model / "generation_config.json";
  if (!fs::is_directory(model) || !file_exists(file)) return sampler;
  const Json json = read_json_file(file);
  const JsonObject config(json, file.string());
  sampler.repeat_penalty = config.find_number("repetition_penalty").value_or(1.0);
  if (!config.get_bool("do_sample", false)) return sampler;
  sampler.temperature = config.find_number("temperature").value_or(1.0);
  sampler.top_k = config.find_int("top_k").value_or(50);  // transformers' default
  sampler.top_p = config.find_number("top_p").value_or(1.0);
  sampler.min_p = config.find_number("min_p").value_or(0.0);
  try {
    const Sampler checked(sampler);
  } catch (const Error& error) {
    fail("{}: {}", file.string(), error.what());
  }
  return sampler;
}

fs::path history_file() {
  const char* home = std::getenv("HOME");
  return home == nullptr || *home == '\0' ? fs::path()
                                          : fs::path(home) / ".cache/nibble/chat_history";
}

/// For as long as this lives, Ctrl-C stops what is under way, as often as it is pressed, and
/// SIGTERM ends the process at once.
class InterruptOnly {
 public:
  InterruptOnly() {
    struct sigaction action {};
    action.sa_handler = [](int) { request_interrupt(); };
    sigaction(SIGINT, &action, &interrupt_before_);
    action.sa_handler = SIG_DFL;
    sigaction(SIGTERM, &action, &terminate_before_);
  }
  ~InterruptOnly() {
    sigaction(SIGINT, &interrupt_before_, nullptr);
    sigaction(SIGTERM, &terminate_before_, nullptr);
  }
  InterruptOnly(const InterruptOnly&) = delete;
  InterruptOnly& operator=(const InterruptOnly&) = delete;

 private:
  struct sigaction interrupt_before_ {};
  struct sigaction terminate_before_ {};
};

Json turn_json(const ChatTurn& turn) {
  return {
      {"prompt_tokens", turn.prompt_tokens},
      {"cached_tokens", turn.cached_tokens},
      {"generated_tokens", turn.generation.ids.size()},
      {"stop_reason", turn.interrupted ? "interrupt" : stop_reason_name(turn.generation.reason)},
      {"dropped_messages", turn.dropped},
      {"prefill_ms", turn.generation.prefill_ms},
      {"ms_per_token", turn.generation.ms_per_token()}};
}

/// One chat under way.
class ChatLoop {
 public:
  ChatLoop(Conversation& conversation, bool json)
      : conversation_(conversation), json_(json), editor_(history_file()) {}

  void run() {
    // While it waits for a pipe, Ctrl-C ends the command as it does any other.
    std::optional<InterruptOnly> always;
    if (editor_.is_terminal()) {
      always.emplace();
      log_message(LogLevel::kNormal, "/help lists the commands; Ctrl-D leaves");
    }
    std::string message;
    while (read_message(message)) {
      if (message.empty()) continue;
      if (message[0] == '/') {
        if (!command(message)) break;
      } else {
        say(message);
      }
    }
    if (json_) print_json({{"messages", messages_json()}, {"turns", turns_json()}});
  }

 private:
  /// A message of one line or several; false at the end.
  bool read_message(std::string& message) {
    message.clear();
    std::string line;
    bool in_block = false;
    for (;;) {
      const bool first = message.empty() && !in_block;
      const auto result = editor_.read(first ? "> " : "... ", line);
      if (result == LineEditor::Result::kEnd) {
        if (editor_.is_terminal()) print_text("\n");  // behind the ^D
        return !message.empty();
      }
      if (result == LineEditor::Result::kInterrupted) {
        print_text("\n");
        message.clear();
        in_block = false;
        continue;
      }
      if (first && line.starts_with("\"\"\"")) {
        in_block = true;
        line.erase(0, 3);
      }
      if (in_block && line.ends_with("\"\"\"")) {
        message += line.substr(0, line.size() - 3);
        break;
      }
      const bool goes_on = !in_block && line.ends_with('\\');
      if (goes_on) line.pop_back();
      message += line;
      if (!in_block && !goes_on) break;
      if (!message.empty() || !in_block) message += '\n';
    }
    return true;
  }

  /// Runs a command; false if it ends the chat.
  bool command(const std::string& line) {
    const std::size_t blank = std::min(line.find(' '), line.size());
    const std::string name = line.substr(0, blank);
    const std::string argument =
        line.substr(std::min(line.find_first_not_of(' ', blank), line.size()));
    if (name == "/exit" || name == "/quit") return false;
    if (name == "/reset") {
      conversation_.reset();
      log_message(LogLevel::kNormal, "the conversation starts anew");
    } else if (name == "/save") {
      save(argument);
    } else if (name == "/stats") {
      print_stats();
    } else {
      if (name != "/help") complain(fmt::format("{}: no such command", name));
      show(kHelp);
    }
    return true;
  }

  void say(const std::string& message) {
    const InterruptOnly interrupt_only;
    ChatTurn turn;
    try {
      turn = conversation_.answer(message, [this](std::string_view piece) {
        if (!json_) print_text(piece);
      });
    } catch (const Interrupted&) {  // before the answer began
      clear_interrupt();
      return complain("stopped");
    } catch (const Error& error) {
      // A message that does not fit is the user's to shorten; a pipe's is nobody's.
      if (!editor_.is_terminal()) throw;
      return complain(error.what());
    }
    if (!json_) print_text("\n");
    if (turn.interrupted) complain("stopped");
    if (turn.dropped > 0) {
      complain(fmt::format("the context of {} tokens was full: the oldest {} messages were dropped",
                           conversation_.context(), turn.dropped));
    }
    if (turn.generation.reason == StopReason::kContext) {
      complain(fmt::format("stopped: the context of {} tokens is full (-c/--context)",
                           conversation_.context()));
    }
  }

  void save(const std::string& path) {
    if (path.empty()) return complain("/save wants the name of a file");
    try {
      OutputFile file(path);
      file.write(messages_json().dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
      file.commit();
      log_message(LogLevel::kNormal,
                  fmt::format("{} messages written to {}", conversation_.messages().size(), path));
    } catch (const Error& error) {
      complain(error.what());
    }
  }

  void print_stats() {
    const auto& turns = conversation_.turns();
    if (turns.empty()) {
      return show(fmt::format("context: {} tokens; no answer yet\n", conversation_.context()));
    }
    std::string text = fmt::format("context: {} of {} tokens\n", conversation_.context_used(),
                                   conversation_.context());
    const ChatTurn& turn = turns.back();
    const Generation& made = turn.generation;
    const std::int64_t computed = turn.prompt_tokens - turn.cached_tokens;
    const double ms = made.ms_per_token();
    text += fmt::format(
        "turn {}: prompt {} tokens, {} of them from the cache, {} computed in {:.1f} ms\n",
        turns.size(), turn.prompt_tokens, turn.cached_tokens, computed, made.prefill_ms);
    text +=
        turn.interrupted
            ? "answer stopped by Ctrl-C\n"
            : fmt::format("answer: {} tokens{}, ended by {}\n", made.ids.size(),
                          ms > 0 ? fmt::format(", {:.2f} ms each ({:.1f} a second)", ms, 1000 / ms)
                                 : std::string(),
                          stop_reason_name(made.reason));
    show(text);
  }

  /// What a command prints: a result, so on standard output unless that is one JSON document.
  void show(const std::string& text) const {
    if (json_) {
      fmt::print(stderr, "{}", text);
    } else {
      print_text(text);
    }
  }

  static void complain(const std::string& text) { log_message(LogLevel::kNormal, text); }

  Json messages_json() const {
    Json messages = Json::array();
    for (const auto& [role, content] : conversation_.messages()) {
      messages.push_back({{"role", role}, {"content", content}});
    }
    return messages;
  }

  Json turns_json() const {
    Json turns = Json::array();
    for (const ChatTurn& turn : conversation_.turns()) turns.push_back(turn_json(turn));
    return turns;
  }

  Conversation& conversation_;
  bool json_;
  LineEditor editor_;
};

}  // namespace

void chat(const ChatFlags& flags, const CommonFlags& common) {
  const fs::path path = locate_model(flags.model);
  const ChatFormat format = ChatFormat::load(path);
  ConversationOptions options = flags.options;
  options.context = flags.compute.context;
  options.generate = flags.sampling.generate;
  options.generate.sampler = read_sampling(path);
  flags.sampling.override(options.generate.sampler);
  options.generate.sampler.seed = common.seed;
  ThreadPool pool(common.threads);
  Model model(path, pool, flags.compute.options());
  const Tokenizer tokenizer = model.checkpoint().load_tokenizer();
  Conversation conversation(model, tokenizer, format, options);
  ChatLoop(conversation, common.json).run();
}

void add_chat(CommandLine& line, CommonFlags& common) {
  const Command command = line.add_command("chat", "Talk with a model");
  auto flags = std::make_shared<ChatFlags>();
  add_model_argument(command, flags->model);
  command.add("--system", flags->options.system, "What the model is told to be");
  add_sampling_flags(command, flags->sampling, SamplingDefaults::kModels);
  add_compute_flags(command, flags->compute);
  add_common_flags(command, common);
  command.set_example(
      "nibble chat SmolLM2-135M-Instruct --system \"You answer in one word.\"",
      "The model's chat template writes the prompt; its generation_config.json says\n"
      "how to draw tokens, where no flag does. The KV cache stays between turns.\n"
      "Messages may come from a pipe, one a line. --json prints the conversation when\n"
      "it is over.");
  command.check([flags] { check_sampling(flags->sampling); });
  command.set_action([flags, &common] { chat(*flags, common); });
}

}  // namespace nibble::cli
