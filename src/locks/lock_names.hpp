// The object of the program that a waiting thread waits for, and the name that the program has for
// the object.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "locks/locks.hpp"
#include "locks/namespaces.hpp"
#include "locks/parking_lot.hpp"
#include "locks/thread_frames.hpp"

namespace pyscope {

/// The lock of a thread that waits, while nothing is known of its holder.
struct NamedLock {
  FoundLock lock;
  SleepKind kind = SleepKind::Lock;
  /// Of a lock of Python code that records its holder: None, or the int that is the thread's ident.
  std::optional<RemoteAddr> owner;
};

class LockNames {
 public:
  LockNames(ThreadFrames& frames, Namespaces& namespaces)
      : frames_(frames), reader_(frames.reader()), namespaces_(namespaces) {}

  [[nodiscard]] NamedLock name(std::size_t thread, const Sleep& sleep);

 private:
  /// The functions of the standard library at the inner end of a stack that wait.
  struct Library {
    const RawFrame* innermost = nullptr;
    const StandardWait* innermost_wait = nullptr;
    const RawFrame* outermost = nullptr;  // null: there are none that have the object as `self`
    const StandardWait* wait = nullptr;   // of the outermost
    std::optional<std::size_t> caller;    // the function that called them
  };
  [[nodiscard]] Library find_library(std::size_t thread);

  [[nodiscard]] const std::string& module_of(RemoteAddr type);
  [[nodiscard]] std::string label_of(RemoteAddr object, std::string_view type);

  template <class Matches>
  bool name_among_attributes(RemoteAddr object, std::string_view variable, FoundLock& found,
                             const Matches& matches);
  template <class Matches>
  bool name_in_frame(const RawFrame& frame, FoundLock& found, const Matches& matches);
  [[nodiscard]] bool is_around(RemoteAddr value, const Sleep& sleep) const;
  void find_name(std::size_t thread, std::size_t first, const Sleep& sleep, FoundLock& found);
  bool name_in_class(RemoteAddr object, FoundLock& found);
  [[nodiscard]] std::string name_in_namespace(RemoteAddr dict, const FoundLock& found);
  bool name_in_module(RemoteAddr globals, FoundLock& found);
  bool name_in_imported_module(RemoteAddr globals, FoundLock& found);

  ThreadFrames& frames_;
  const Reader& reader_;
  Namespaces& namespaces_;
  std::unordered_map<std::uint64_t, std::string> modules_of_types_;
};

}  // namespace pyscope
