// The `with` statements that threads are in, by the lock that each of them has taken. A frame in a
// `with` statement keeps on its evaluation stack what the statement will call at its end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "locks/thread_frames.hpp"

namespace pyscope {

/// An object whose __exit__ a frame's `with` statement will call.
struct ContextManager {
  std::size_t thread = 0;
  std::size_t frame = 0;      // index into the thread's walk
  std::uint64_t handler = 0;  // code unit of the statement's clean-up, in that frame's code
  RemoteAddr at;
  RemoteAddr lock;       // the lock that the object has taken; itself if that isn't known
  bool certain = false;  // the object's __enter__ is known to take that lock
};

class WithStatements {
 public:
  explicit WithStatements(ThreadFrames& frames) : frames_(frames), reader_(frames.reader()) {}

  /// Those that have taken a lock, in the order of the threads and from the inside outwards. The
  /// first call looks at all frames.
  [[nodiscard]] const std::vector<ContextManager>& of_lock(RemoteAddr lock);
  /// Whether a thread's frame is in a `with` statement that has taken a lock. Looks at that frame
  /// only.
  [[nodiscard]] bool is_in_one(std::size_t thread, std::size_t frame);
  /// The objects whose `with` and `async with` statements a frame is in that stands still, of any
  /// kind; and those in whose statements such an object is itself: that of a generator of
  /// contextlib, or of an exit stack.
  [[nodiscard]] std::vector<RemoteAddr> entered_in(const RawFrame& frame);

 private:
  /// A context manager, and the code unit of the clean-up of the statement that it is of.
  using Entered = std::pair<RemoteAddr, std::uint64_t>;

  struct EnterMethod {
    bool takes_lock = false;
    bool of_condition = false;
  };

  [[nodiscard]] std::vector<ContextManager> find_all();
  [[nodiscard]] EnterMethod find_enter(RemoteAddr object) const;
  [[nodiscard]] std::vector<Entered> entered_by(RemoteAddr at, RemoteAddr code,
                                                const CodeFacts& facts) const;
  [[nodiscard]] std::vector<Entered> entered_by_generator(RemoteAddr generator);
  [[nodiscard]] std::vector<RemoteAddr> entered_by_exit_stack(RemoteAddr stack) const;
  void find_lock(ContextManager& manager);
  [[nodiscard]] bool names_release(const ContextManager& manager) const;
  [[nodiscard]] bool is_given_back(const ContextManager& manager);

  ThreadFrames& frames_;
  const Reader& reader_;
  std::optional<std::unordered_map<std::uint64_t, std::vector<ContextManager>>> by_lock_;
};

}  // namespace pyscope
