// The system calls that a thread can be blocked in, as data: their names, and the arguments that
// tell what the thread waits for. The numbers are those of this machine, and so the target's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pyscope {

/// The place in a system call's arguments that tells what the call waits for.
enum class Subject : std::uint8_t {
  None,            // nowhere
  Descriptor,      // in its first argument, a descriptor
  Connection,      // likewise, and the second is the address to connect it to
  FileLock,        // likewise, and it waits until the file can be locked
  FileControl,     // likewise; a wait for a lock only with some commands (fcntl)
  PollArray,       // in an array of struct pollfd at the first argument, whose size is the second
  DescriptorSets,  // in three sets of descriptors at arguments 1 to 3 (select)
  Path,            // in a path at the first argument
  PathAt,          // in a path at the second argument, seen from the descriptor in the first
  Signals,         // in a set of signals at the first argument
  Child,           // in its first argument, a process of the caller's pid namespace (wait4)
  ChildById,       // in its first two arguments: what kind of id, and the id (waitid)
  AnyChild,        // a child that has just been started (vfork)
  Clock,           // in time: the timeout is all there is to it
};

/// The form of the timeout among a system call's arguments.
enum class TimeoutForm : std::uint8_t {
  None,
  Milliseconds,  // the argument itself, an int; negative: for ever
  Timespec,      // where the argument points; null: for ever
  Timeval,
  ClockTimespec,  // clock_nanosleep: by the clock and the flags in arguments 0 and 1
};

struct BlockingCall {
  std::int64_t number = -1;
  std::string_view name;
  std::string_view kind;  // of Wait, as long as nothing more is known than the call
  Subject subject = Subject::None;
  TimeoutForm timeout = TimeoutForm::None;
  std::uint8_t timeout_argument = 0;
};

/// The entry of a system call; nullptr for one that isn't known to block.
[[nodiscard]] const BlockingCall* find_blocking_call(std::int64_t number);
[[nodiscard]] const BlockingCall* find_blocking_call(std::string_view name);

/// "recvfrom"; "syscall 123" for one without an entry.
[[nodiscard]] std::string system_call_name(std::int64_t number);

}  // namespace pyscope
