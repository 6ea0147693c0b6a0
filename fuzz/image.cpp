#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "format/escape.hpp"
#include "fuzz/targets.hpp"
#include "pyscope/render.hpp"
#include "read_snapshot.hpp"
#include "recording.hpp"

namespace pyscope::fuzz {
namespace {

[[noreturn]] void broken(const char* promise) {
  std::fprintf(stderr, "broken promise: %s\n", promise);
  std::abort();
}

/// What may be sent to a terminal.
void check_text(std::string_view text) {
  while (!text.empty()) {
    const Character character = first_character(text);
    const std::int32_t c = character.code_point;
    const bool harmless = (c >= 0x20 || c == '\n') && c != 0x7F && (c < 0x80 || c > 0x9F) &&
                          (c < 0x202A || c > 0x202E) && (c < 0x2066 || c > 0x2069) &&
                          (c < 0xD800 || c > 0xDFFF);
    if (!harmless) broken("the text is harmless");
    text.remove_prefix(character.size);
  }
}

/// A recording, and where the words of its memory are.
struct Seed {
  Recording recording;
  DebugOffsets offsets;
  std::vector<std::uint64_t> words;  // their addresses
};

std::vector<Seed> load_seeds() {
  const char* folder = std::getenv("PYSCOPE_FUZZ_RECORDINGS");
  if (folder == nullptr) broken("PYSCOPE_FUZZ_RECORDINGS names a folder of recordings");
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<Seed> seeds;
  for (const std::string& path : paths) {
    auto recording = read_recording(path);
    if (!recording) broken("a recording can be read");
    std::array<std::byte, DebugOffsets::kMaxSize> table{};
    if (!recording->memory.read(recording->runtime, table)) broken("a recording has the table");
    auto offsets = DebugOffsets::decode(table);
    if (!offsets) broken("the table of a recording is valid");
    Seed seed{*std::move(recording), *std::move(offsets), {}};
    seed.recording.memory.for_each_range([&](RemoteAddr at, std::span<const std::byte> bytes) {
      for (std::uint64_t i = (8 - at.raw() % 8) % 8; i + 8 <= bytes.size(); i += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes.data() + i, 8);
        if (word != 0) seed.words.push_back(at.raw() + i);  // what is used isn't zero, mostly
      }
    });
    seeds.push_back(std::move(seed));
  }
  if (seeds.empty()) broken("there is a recording");
  return seeds;
}

/// Passes reads on and counts what they cost.
class CountingMemory final : public Memory {
 public:
  explicit CountingMemory(const Memory& memory) : memory_(memory) {}
  void read_many(std::span<ReadRequest> requests) const override {
    for (const ReadRequest& request : requests)
      bytes_ += request.out.size();
    constexpr std::uint64_t kMostBytes = std::uint64_t{4} << 30U;
    if (bytes_ > kMostBytes) broken("what is read has a bound");
    memory_.read_many(requests);
  }

 private:
  const Memory& memory_;
  mutable std::uint64_t bytes_ = 0;
};

void dump(const Memory& memory, const Recording& recording, const DebugOffsets& offsets) {
  CaptureOptions options;
  options.locals = true;
  // Enough to get into each kind of value, and not so much that one dump takes long.
  options.values.max_string = 40;
  options.values.max_items = 12;
  options.values.max_depth = 3;
  const CountingMemory counting(memory);
  const auto snapshot =
      read_snapshot(counting, {recording.runtime, offsets}, recording.facts,
                    {.list = [&] { return recording.facts.tasks; }}, options, Log());
  if (!snapshot) {
    if (snapshot.error().message.empty()) broken("an error says what it is");
    return;
  }
  check_text(render_text(*snapshot, TextOptions{}));
  const std::string json = render_json(*snapshot, JsonStyle::Compact);
  check_text(json);
  if (!nlohmann::json::accept(json)) broken("the JSON is valid");
}

}  // namespace

void image(std::span<const std::uint8_t> input) {
  static const std::vector<Seed> seeds = load_seeds();
  if (input.empty()) return;
  const Seed& seed = seeds[input.front() % seeds.size()];
  input = input.subspan(1);
  ImageMemory memory = seed.recording.memory;
  // How to change a word (1 byte), which one (4), and by what (4).
  constexpr std::size_t kChange = 9;
  constexpr std::size_t kMostChanges = 64;
  for (std::size_t i = 0; i < kMostChanges && input.size() >= kChange; ++i) {
    std::uint32_t which = 0;
    std::uint32_t by = 0;
    std::memcpy(&which, input.data() + 1, 4);
    std::memcpy(&by, input.data() + 5, 4);
    const std::uint64_t at = seed.words[which % seed.words.size()];
    const std::uint64_t other = seed.words[by % seed.words.size()];
    const std::uint64_t old = read_as<std::uint64_t>(memory, RemoteAddr{at}).value_or(0);
    std::uint64_t value = 0;
    switch (input.front() % 10) {
      case 0:  // refers to something else
        value = read_as<std::uint64_t>(memory, RemoteAddr{other}).value_or(0);
        break;
      case 1:  // to the place itself, or near it
        value = at - by % 64 * 8;
        break;
      case 2:  // to anywhere in the memory that is there
        value = other - by % 8 * 8;
        break;
      case 3:  // a length, a kind
        value = by % 256;
        break;
      case 4:
        value = by;
        break;
      case 5:
        value = ~std::uint64_t{by};
        break;
      case 6:
        value = old + by % 512 - 256;
        break;
      case 7:
        value = old ^ (std::uint64_t{1} << (by % 64));
        break;
      case 8:
        value = std::uint64_t{by} << 32U | by;
        break;
      default:
        break;  // null
    }
    memory.put_value(RemoteAddr{at}, value);
    input = input.subspan(kChange);
  }
  dump(memory, seed.recording, seed.offsets);
}

void recording(std::span<const std::uint8_t> input) {
  std::istringstream in(std::string(reinterpret_cast<const char*>(input.data()), input.size()));
  const auto parsed = read_recording(in, "input");
  if (!parsed) return;
  std::array<std::byte, DebugOffsets::kMaxSize> table{};
  if (!parsed->memory.read(parsed->runtime, table)) return;
  const auto offsets = DebugOffsets::decode(table);
  if (offsets) dump(parsed->memory, *parsed, *offsets);
}

}  // namespace pyscope::fuzz
