// The kernel's tables of sockets in /proc/PID/net, which are those of the process's own network
// namespace. Parsed line by line: a busy machine has hundreds of thousands.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "process/process.hpp"

namespace pyscope {

/// One socket as its table shows it.
struct Socket {
  std::string_view protocol;  // "tcp", "udp", "unix stream", "unix datagram", "unix seqpacket"
  std::string local;          // "127.0.0.1:80", "[::1]:80"; of a unix socket its path, any bytes,
                              // abstract names with an "@" in front; empty: it has none
  std::string remote;         // likewise of its peer; empty: none, or not known
  std::string_view state;     // "established", "listen"; empty where it says nothing
};

/// "tcp 127.0.0.1:43210 -> 127.0.0.1:5432 established"
[[nodiscard]] std::string to_text(const Socket& socket);

enum class SocketTable : std::uint8_t { Tcp, Tcp6, Udp, Udp6, Unix };

/// The inode of the socket on a line of a table; empty for a heading and for a line that can't be
/// understood.
[[nodiscard]] std::optional<std::uint64_t> socket_inode(SocketTable table, std::string_view line);

/// The socket on a line; empty if it can't be understood.
[[nodiscard]] std::optional<Socket> parse_socket(SocketTable table, std::string_view line);

/// The table for the kernel's name of a socket's protocol (system.sockprotoname): "TCPv6"; empty if
/// no table is read for that protocol.
[[nodiscard]] std::optional<SocketTable> table_of(std::string_view protocol);

using WantedSockets = std::map<SocketTable, std::unordered_set<std::uint64_t>>;

/// Looks sockets up by their inodes, each in its table, in bounded time, and leaves out those that
/// it doesn't find. Reads each table only as far as needed: even an empty table of TCP takes ten
/// milliseconds to read to its end on a large machine.
[[nodiscard]] std::unordered_map<std::uint64_t, Socket> find_sockets(const Process& process,
                                                                     const WantedSockets& wanted,
                                                                     const Log& log);

}  // namespace pyscope
