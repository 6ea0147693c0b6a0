// Recordings of real processes, and memory that differs from what was recorded.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "fuzz/exploration.hpp"
#include "pyscope/memory.hpp"
#include "target/recording.hpp"

namespace pyscope::fuzz {

/// A recording, and where in it there is what.
struct Seed {
  Recording recording;
  DebugOffsets offsets;
  std::vector<std::uint64_t> words;     // addresses of all words that aren't zero
  std::vector<std::uint64_t> pointers;  // of those that refer to recorded memory
  std::vector<std::uint64_t> headers;   // of objects: where they refer to their type
  std::vector<std::uint64_t> types;     // addresses of types
  Landmarks landmarks;

  [[nodiscard]] ProcessSurroundings surroundings() const {
    return {recording.runtime, recording.facts, recording.waits, recording.maps,
            recording.registers};
  }
};

/// Those in the folder that the environment's PYSCOPE_FUZZ_RECORDINGS names, by their names. Aborts
/// if there are none: nothing would be tested.
[[nodiscard]] const std::vector<Seed>& seeds();
/// The same, and none if the environment names no folder.
[[nodiscard]] const std::vector<Seed>& seeds_if_any();

/// What is read where nothing was recorded.
enum class Elsewhere : std::uint8_t {
  Fault,
  Zeros,
  Recorded,  // some page of the recording: every pointer leads to something that looks alive
};

/// Recorded memory with some of its words replaced.
class AlteredMemory final : public Memory {
 public:
  AlteredMemory(const Seed& seed, Elsewhere elsewhere, bool changes_while_read)
      : seed_(seed), elsewhere_(elsewhere), changes_while_read_(changes_while_read) {}

  void change(std::uint64_t at, std::uint64_t value) { changes_[at] = value; }
  [[nodiscard]] std::uint64_t word(std::uint64_t at) const;
  template <class Visit>
  void for_each_change(const Visit& visit) const {
    for (const auto& [at, value] : changes_)
      visit(at, value);
  }

  /// With `changes_while_read`, every other call reads the words as they were recorded.
  void read_many(std::span<ReadRequest> requests) const override;

 private:
  void read_elsewhere(ReadRequest& request) const;
  void apply(ReadRequest& request) const;

  const Seed& seed_;
  Elsewhere elsewhere_;
  bool changes_while_read_;
  std::map<std::uint64_t, std::uint64_t> changes_;  // words by their addresses
  mutable std::uint64_t calls_ = 0;
};

/// A recording's memory where there is some, else that of another.
class LayeredMemory final : public Memory {
 public:
  LayeredMemory(const Memory& above, const Memory& below) : above_(above), below_(below) {}
  void read_many(std::span<ReadRequest> requests) const override;

 private:
  const Memory& above_;
  const Memory& below_;
};

}  // namespace pyscope::fuzz
