// Finds the other end of a unix socket. /proc doesn't tell it; the kernel does by netlink
// (sock_diag(7)), for the sockets of the asker's own network namespace.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/unique_fd.hpp"

namespace pyscope {

struct UnixPeer {
  std::uint32_t inode = 0;
  std::string name;  // its path, abstract ones with an "@" in front; empty: it has none
};

class UnixPeers {
 public:
  UnixPeers();

  /// The peer of the socket with this inode; empty if the socket has none, or if the kernel doesn't
  /// say.
  [[nodiscard]] std::optional<UnixPeer> of(std::uint64_t inode);

 private:
  UniqueFd netlink_;
  std::uint32_t sequence_ = 0;
};

/// The kernel's answer about one socket.
struct UnixDiagnosis {
  std::uint32_t peer = 0;  // its inode; 0: none
  std::string name;
};

/// Parses the kernel's answer to the question with this sequence number. Empty for an error, for
/// the answer to another question, and for anything that isn't an answer.
[[nodiscard]] std::optional<UnixDiagnosis> parse_unix_diagnosis(std::span<const std::byte> message,
                                                                std::uint32_t sequence);

}  // namespace pyscope
