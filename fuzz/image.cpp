#include <array>
#include <cstring>
#include <iterator>
#include <map>
#include <sstream>
#include <string>

#include "fuzz/promises.hpp"
#include "fuzz/recordings.hpp"
#include "fuzz/targets.hpp"
#include "memory/image_memory.hpp"

namespace pyscope::fuzz {
namespace {

using Bytes = std::span<const std::uint8_t>;

std::uint64_t one_of(const std::vector<std::uint64_t>& words, std::uint32_t which) {
  return words[which % words.size()];
}

/// A word of one of the structures, not far from its beginning.
std::uint64_t word_of(const std::vector<RemoteAddr>& structures, std::uint32_t which,
                      std::uint32_t words) {
  const std::uint32_t structure = which / words;
  return structures[structure % structures.size()].raw() + which % words * 8;
}

/// Which word is changed: `kind` chooses among those that matter most.
std::uint64_t place_of(const Seed& seed, std::uint8_t kind, std::uint32_t which) {
  // As many words as are read of each: locals and evaluation stack come behind a frame, the
  // bytecode behind a code object.
  constexpr std::uint32_t kFrameWords = 32;
  constexpr std::uint32_t kCodeWords = 48;
  constexpr std::uint32_t kThreadWords = 64;
  constexpr std::uint32_t kInterpreterWords = 2048;
  switch (kind) {
    case 0:
      return word_of(seed.landmarks.frames, which, kFrameWords);
    case 1:
      return word_of(seed.landmarks.codes, which, kCodeWords);
    case 2:
      return word_of(seed.landmarks.threads, which, kThreadWords);
    case 3:
      return word_of(seed.landmarks.interpreters, which, kInterpreterWords);
    case 4:
      return one_of(seed.headers, which);
    case 5:  // what follows an object's type: its length, mostly
      return one_of(seed.headers, which) + 8;
    case 6:
      return one_of(seed.headers, which / 16) + which % 16 * 8;
    case 7:
      return one_of(seed.pointers, which);
    default:
      return one_of(seed.words, which);
  }
}

/// What it is replaced by.
std::uint64_t value_for(const Seed& seed, const AlteredMemory& memory, std::uint8_t kind,
                        std::uint64_t at, std::uint32_t by) {
  const std::uint64_t old = memory.word(at);
  switch (kind) {
    case 0:  // refers to something else
      return memory.word(one_of(seed.pointers, by));
    case 1:  // to the place itself, or near it
      return at - by % 64 * 8;
    case 2:  // to anywhere in the memory that is there
      return one_of(seed.words, by) - by % 8 * 8;
    case 3:  // a length, a kind, a count of references
      return by % 256;
    case 4:
      return by;
    case 5:  // negative
      return ~std::uint64_t{by};
    case 6:
      return old + by % 512 - 256;
    case 7:
      return old ^ (std::uint64_t{1} << (by % 64));
    case 8:  // is of another type
      return one_of(seed.types, by);
    case 9:
      return seed.landmarks.frames[by % seed.landmarks.frames.size()].raw();
    case 10:
      return seed.landmarks.codes[by % seed.landmarks.codes.size()].raw();
    case 11:  // huge
      return (std::uint64_t{1} << (by % 64)) - by / 64 % 3;
    case 12:  // with other tag bits
      return (old & ~std::uint64_t{7}) | by % 8;
    case 13:  // to nowhere that was recorded
      return (std::uint64_t{by} << 12U) + 0x10000;
    case 14:  // what some other word is
      return memory.word(one_of(seed.words, by));
    default:
      return 0;
  }
}

/// The memory that an input stands for, and the recording that it begins with.
struct Altered {
  const Seed& seed;
  AlteredMemory memory;
};

/// A word of a stack, mostly near the stack pointer.
std::uint64_t word_of_stack(const Seed& seed, std::uint8_t kind, std::uint32_t which) {
  const auto& registers = seed.recording.registers;
  if (registers.empty()) return one_of(seed.words, which);
  const auto thread =
      std::next(registers.begin(), static_cast<std::ptrdiff_t>(kind % registers.size()));
  constexpr std::uint32_t kWords = 2048;
  return (thread->second.sp().raw() & ~std::uint64_t{7}) + which % kWords * 8;
}

enum class Part : std::uint8_t { Python, Native };

Altered decode(Bytes input, Part part) {
  const Seed& seed = seeds()[input[0] % seeds().size()];
  const std::uint8_t mode = input[1];
  // Mostly nothing lies elsewhere, and mostly nothing changes: that goes deepest.
  const Elsewhere elsewhere = mode % 8 == 0   ? Elsewhere::Zeros
                              : mode % 8 <= 2 ? Elsewhere::Recorded
                                              : Elsewhere::Fault;
  Altered altered{seed, AlteredMemory(seed, elsewhere, mode / 8 % 8 == 0)};
  input = input.subspan(2);
  // How to change a word (1 byte), which one (4), and by what (4).
  constexpr std::size_t kChange = 9;
  constexpr std::size_t kMostChanges = 64;
  constexpr std::uint8_t kValues = 16;
  for (std::size_t i = 0; i < kMostChanges && input.size() >= kChange; ++i) {
    std::uint32_t which = 0;
    std::uint32_t by = 0;
    std::memcpy(&which, input.data() + 1, sizeof which);
    std::memcpy(&by, input.data() + 5, sizeof by);
    const std::uint8_t place = input.front() / kValues;
    const bool in_stack = part == Part::Native && place % 4 != 0;
    const std::uint64_t at =
        in_stack ? word_of_stack(seed, place, which) : place_of(seed, place % 10, which);
    altered.memory.change(at, value_for(seed, altered.memory, input.front() % kValues, at, by));
    input = input.subspan(kChange);
  }
  return altered;
}

}  // namespace

void image(Bytes input) {
  if (input.size() < 2) return;
  const Altered altered = decode(input, Part::Python);
  // The table itself isn't what is altered: its copy was validated.
  explore_stacks(altered.memory, altered.seed.offsets, altered.seed.surroundings());
}

void inspect(Bytes input) {
  if (input.size() < 2) return;
  const Altered altered = decode(input, Part::Python);
  explore_paths(altered.memory, altered.seed.offsets, altered.seed.surroundings());
}

void native(Bytes input) {
  if (input.size() < 2) return;
  const Altered altered = decode(input, Part::Native);
  std::map<pid_t, Registers> registers = altered.seed.recording.registers;
  constexpr std::uint8_t kElsewhere = 200;
  if (input[1] >= kElsewhere && input.size() >= 6) {
    std::uint32_t by = 0;
    std::memcpy(&by, input.data() + 2, sizeof by);
    for (auto& [tid, of_thread] : registers) {
      const std::uint64_t word = one_of(altered.seed.words, by++);
      const RemoteAddr to{input[1] % 2 == 0 ? altered.memory.word(word) : word};
      of_thread.set(input[1] % 3 == 0 ? of_thread.pc() : to,
                    input[1] % 3 == 1 ? of_thread.sp() : to);
      of_thread.set_frame_pointer(RemoteAddr{altered.memory.word(word)});
    }
  }
  ProcessSurroundings surroundings = altered.seed.surroundings();
  explore_native(
      altered.memory, altered.seed.offsets,
      {surroundings.runtime, surroundings.facts, surroundings.waits, surroundings.maps, registers});
}

void save_image(Bytes input, const std::string& path) {
  if (input.size() < 2) broken("the input is long enough");
  const Altered altered = decode(input, Part::Python);
  Recording recording = altered.seed.recording;
  altered.memory.for_each_change([&](std::uint64_t at, std::uint64_t value) {
    recording.memory.put_value(RemoteAddr{at}, value);
  });
  if (auto ok = write_recording(path, recording); !ok)
    broken("a recording can be written", ok.error().message);
}

void recording(Bytes input) {
  std::istringstream in(std::string(reinterpret_cast<const char*>(input.data()), input.size()));
  auto parsed = read_recording(in, "input");
  if (!parsed) {
    if (parsed.error().message.empty()) broken("an error says what it is");
    return;
  }
  // An input is mostly the facts alone: the memory is that of the recording that they came from.
  const ImageMemory nothing;
  const Memory* below = &nothing;
  for (const Seed& seed : seeds_if_any()) {
    if (seed.recording.runtime == parsed->runtime) below = &seed.recording.memory;
  }
  const LayeredMemory memory(parsed->memory, *below);
  std::array<std::byte, DebugOffsets::kMaxSize> table{};
  if (!memory.read(parsed->runtime, table)) return;
  const auto offsets = DebugOffsets::decode(table);
  if (!offsets) return;
  const ProcessSurroundings surroundings{parsed->runtime, parsed->facts, parsed->waits,
                                         parsed->maps, parsed->registers};
  explore_stacks(memory, *offsets, surroundings);
  explore_native(memory, *offsets, surroundings);
}

}  // namespace pyscope::fuzz
