// The printed form of frames. The same few frames occur again and again in the stacks of a process,
// so each distinct one is made once.
#pragma once

#include <tsl/robin_map.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "format/paint.hpp"
#include "pyscope/snapshot.hpp"

namespace pyscope {

struct FrameTextOptions {
  /// Source lines and values take at most so many columns of the terminal; 0: no limit.
  std::size_t columns = 0;
  /// Only the program's own frames have their source line, and those of libraries are dim. If no
  /// frame is the program's own, all are treated as such.
  bool own_stand_out = false;
  /// Native frames have the whole path of their source, with the build machine's folders.
  bool whole_paths = false;
};

/// The snapshot must outlive it.
class FrameTexts {
 public:
  FrameTexts(const Snapshot& snapshot, Painter painter, const FrameTextOptions& options);

  /// A number for the frame; frames that are printed alike have the same number.
  [[nodiscard]] std::uint32_t number(const Frame& frame);

  /// The printed text of a frame: one or more lines with line ends.
  [[nodiscard]] const std::string& text(std::uint32_t number) const { return texts_[number]; }

  /// Equal for frames that execute the same line of the same function, wherever in that line. Such
  /// frames count as the same frame in a recursion.
  [[nodiscard]] std::uint32_t line_key(std::uint32_t number) const { return line_keys_[number]; }

  /// What the frame belongs to if it is machinery: "threading"; empty for all other frames.
  [[nodiscard]] std::string_view machinery(std::uint32_t number) const {
    return machinery_[number];
  }

 private:
  struct Key {
    std::uint32_t code = 0;
    Position position;
    std::optional<std::uint32_t> source;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const;
  };

  std::uint32_t number_of_text(std::string text, std::optional<std::uint64_t> line,
                               const Frame& frame);
  [[nodiscard]] bool is_prominent(const Frame& frame) const;
  [[nodiscard]] std::string make_text(const Frame& frame) const;
  [[nodiscard]] std::string make_native_text(const Frame& frame) const;
  void append_locals(std::string& out, const Frame& frame) const;
  void append_source(std::string& out, const Frame& frame) const;

  const Snapshot& snapshot_;
  Painter painter_;
  FrameTextOptions options_;
  std::vector<bool> own_;  // by code
  tsl::robin_map<Key, std::uint32_t, KeyHash> numbers_;
  std::unordered_map<std::string, std::uint32_t> numbers_of_texts_;
  std::unordered_map<std::uint64_t, std::uint32_t> keys_of_lines_;
  std::vector<std::string> texts_;
  std::vector<std::uint32_t> line_keys_;
  std::vector<std::string_view> machinery_;
};

}  // namespace pyscope
