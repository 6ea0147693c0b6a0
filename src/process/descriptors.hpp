// What the descriptors of a process are, in words: the socket with its addresses, the pipe with who
// is at its other end, the path of a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "process/process.hpp"

namespace pyscope {

struct Descriptor {
  std::string kind;    // "socket", "pipe", "file", "device", "epoll", "eventfd", "timerfd",
                       // "inotify", "signal", "child" (a pidfd), "io_uring" or "other"; empty: it
                       // isn't open, or can't be read
  std::string target;  // which one, in words; any bytes; empty: not known
};

/// The descriptors that an epoll instance watches, by its text in /proc/PID/fdinfo.
[[nodiscard]] std::vector<int> parse_epoll_targets(std::string_view fdinfo);

/// The value behind "key:" in a text of /proc/PID/fdinfo, without the space around it; empty if
/// the key isn't there.
[[nodiscard]] std::string_view fdinfo_value(std::string_view fdinfo, std::string_view key);

/// The signals of a set as the kernel has it, bit 0 for signal 1: "SIGINT, SIGTERM"; a set that
/// holds nearly all is told by what it lacks.
[[nodiscard]] std::string name_signals(std::uint64_t set);

/// "fd 3 (tcp …), fd 4 (pipe …) and 12 more", for up to four.
[[nodiscard]] std::string list_descriptors(const std::vector<std::string>& named,
                                           std::size_t count);

/// Looks descriptors up: first all that are wanted are named by want(), then resolve() asks, once
/// for all of them, what is costly to know.
class Descriptors {
 public:
  /// So many of several are named.
  static constexpr std::size_t kMostNamed = 4;

  /// Both must outlive it.
  Descriptors(const Process& process, const Log& log);

  void want(int fd);
  void resolve();

  /// Empty for one that wasn't wanted.
  [[nodiscard]] Descriptor describe(int fd) const;
  /// "fd 5 (tcp …)", for a list of several.
  [[nodiscard]] std::string name(int fd) const;
  /// The process that holds the lock on the file for which the target waits; empty: not known.
  [[nodiscard]] std::string lock_holder(int fd) const;

  /// A path of the kernel's as the target itself would write it.
  [[nodiscard]] std::string inside_root(std::string path) const;

 private:
  struct Entry {
    std::string link;
    Descriptor descriptor;
    std::uint64_t inode = 0;  // of a socket
    bool is_pipe = false;     // or a FIFO
    bool reads = false;       // what the pipe is open for
    bool writes = false;
    bool direct = false;       // wanted itself, and not only watched by an epoll instance
    std::vector<int> watched;  // by an epoll instance
  };

  void look_at(int fd, Entry& entry);
  void look_at_anonymous(int fd, std::string_view name, Entry& entry);
  void look_at_path(int fd, Entry& entry);
  [[nodiscard]] std::string read_fdinfo(int fd) const;
  void resolve_sockets();
  void resolve_other_ends();
  [[nodiscard]] std::string protocol_of(int fd) const;

  const Process& process_;
  const Log& log_;
  std::string root_;  // of the target, as we see it; empty where it is ours
  std::unordered_map<int, Entry> entries_;
  std::unordered_map<std::uint64_t, std::uint32_t> peers_;  // of unix sockets, by their inodes
};

}  // namespace pyscope
