// The frames of all threads, as the search for locks looks at them: their code's facts and the
// objects in their slots.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "locks/locks.hpp"
#include "model/standard_waits.hpp"
#include "python/code.hpp"
#include "python/exception_table.hpp"
#include "python/reader.hpp"

namespace pyscope {

/// What is needed of a code object, read once.
struct CodeFacts {
  /// The entry for a function of the standard library that waits for an object of the program, or
  /// calls such a function; null for all others.
  const StandardWait* wait = nullptr;
  std::uint32_t slots = 0;
  std::uint32_t stack_size = 0;
  std::uint64_t units = 0;
  std::vector<std::string> slot_names;
  std::vector<ExceptionEntry> exception_table;
  std::vector<bool> ends_with;  // for each entry: its handler ends a `with` statement
  bool has_with = false;
};

/// A str of each item of a tuple, such as co_names; empty where an item can't be read.
[[nodiscard]] std::vector<std::string> read_names(const Reader& reader, RemoteAddr tuple);

class ThreadFrames {
 public:
  ThreadFrames(const Reader& reader, const CodeTable& codes, std::span<const LockThread> threads);
  ThreadFrames(const ThreadFrames&) = delete;
  ThreadFrames& operator=(const ThreadFrames&) = delete;

  [[nodiscard]] const Reader& reader() const { return reader_; }
  [[nodiscard]] const CodeTable& codes() const { return codes_; }
  [[nodiscard]] std::span<const LockThread> threads() const { return threads_; }
  /// A thread's frames, innermost first.
  [[nodiscard]] const std::vector<RawFrame>& of(std::size_t thread) const {
    return threads_[thread].walk->frames;
  }
  /// The stacks of all threads are known to their ends, and were proven.
  [[nodiscard]] bool complete() const { return complete_; }

  /// Which thread an ident means to a thread. Idents are those of OS threads, of which one can have
  /// a thread state in each interpreter; an object that records an ident belongs to the interpreter
  /// of the threads that use it.
  [[nodiscard]] std::optional<std::size_t> find_ident(std::size_t user, std::uint64_t ident) const;

  /// Reads ahead what will be looked at of the innermost frames of all threads that wait.
  void read_ahead();
  /// A frame's bytes from its start to the end of its evaluation stack.
  [[nodiscard]] RemoteRange slots_range(RemoteAddr frame, const CodeFacts& facts) const;

  /// The facts of the code that a frame runs; null for an entry frame or if they can't be read.
  [[nodiscard]] const CodeFacts* facts_of(RemoteAddr code);

  /// The object that a slot of a frame refers to: a variable, or from facts.slots on an item of the
  /// evaluation stack. Null if the slot is empty or can't be an object.
  [[nodiscard]] RemoteAddr slot(RemoteAddr frame, std::uint64_t index) const;
  /// The same for a variable, which may be in a cell.
  [[nodiscard]] RemoteAddr variable(RemoteAddr frame, std::uint64_t index) const;
  [[nodiscard]] RemoteAddr variable(const RawFrame& frame, std::string_view name);
  /// The namespace in which a frame looks up global names; null if it can't be read.
  [[nodiscard]] RemoteAddr globals(const RawFrame& frame) const;

 private:
  [[nodiscard]] std::optional<CodeFacts> read_facts(RemoteAddr code) const;
  void read_handlers(RemoteAddr code, CodeFacts& facts) const;

  const Reader& reader_;
  const CodeTable& codes_;
  std::span<const LockThread> threads_;
  bool complete_ = false;
  std::map<std::pair<RemoteAddr, std::uint64_t>, std::size_t> by_ident_;  // and its interpreter
  std::unordered_map<std::uint64_t, std::optional<CodeFacts>> facts_;     // by code object
};

}  // namespace pyscope
