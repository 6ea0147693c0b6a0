#include "process/sockets.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <iterator>
#include <vector>

#include "process/words.hpp"

namespace pyscope {
namespace {

using Clock = std::chrono::steady_clock;

// Bound: tables of sockets, all together
constexpr std::chrono::milliseconds kMostTime{250};
// Bound (bytes): table of sockets
constexpr std::size_t kMostBytes = std::size_t{64} << 20U;  // of one table

std::string_view word_at(std::string_view line, std::size_t index) {
  std::string_view word;
  for (std::size_t i = 0; i <= index; ++i)
    word = next_word(line);
  return word;
}

/// The kernel prints each 32 bits of an address as one number in this machine's byte order.
template <std::size_t Words>
std::optional<std::array<std::uint32_t, Words>> parse_address(std::string_view digits) {
  constexpr std::size_t kDigits = 8;
  if (digits.size() != Words * kDigits) return std::nullopt;
  std::array<std::uint32_t, Words> address{};
  for (std::size_t i = 0; i < Words; ++i) {
    const auto word = to_number<std::uint64_t>(digits.substr(i * kDigits, kDigits), 16);
    if (!word) return std::nullopt;
    address[i] = static_cast<std::uint32_t>(*word);
  }
  return address;
}

/// "0100007F:1F90" to "127.0.0.1:8080". The port of a wildcard address that has none is 0.
struct Endpoint {
  std::string text;
  bool is_set = false;  // it has a port
};

std::optional<Endpoint> parse_endpoint(std::string_view word) {
  const std::size_t colon = word.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto port = to_number<std::uint64_t>(word.substr(colon + 1), 16);
  if (!port || *port > 0xffff) return std::nullopt;
  const std::string_view digits = word.substr(0, colon);
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (const auto v4 = parse_address<1>(digits)) {
    ::inet_ntop(AF_INET, v4->data(), text.data(), text.size());
    return Endpoint{fmt::format("{}:{}", text.data(), *port), *port != 0};
  }
  if (const auto v6 = parse_address<4>(digits)) {
    ::inet_ntop(AF_INET6, v6->data(), text.data(), text.size());
    return Endpoint{fmt::format("[{}]:{}", text.data(), *port), *port != 0};
  }
  return std::nullopt;
}

// include/net/tcp_states.h
constexpr std::array<std::string_view, 13> kTcpStates{
    "",      "established", "syn_sent", "syn_recv", "fin_wait1", "fin_wait2",   "time_wait",
    "close", "close_wait",  "last_ack", "listen",   "closing",   "new_syn_recv"};

std::string_view tcp_state(std::uint64_t state) {
  return state < kTcpStates.size() ? kTcpStates[state] : std::string_view{};
}

/// "sl local remote st queues timer retransmits uid timeout inode"
std::optional<Socket> parse_internet_socket(bool is_tcp, std::string_view line) {
  next_word(line);
  const auto local = parse_endpoint(next_word(line));
  const auto remote = parse_endpoint(next_word(line));
  const auto state = to_number<std::uint64_t>(next_word(line), 16);
  if (!local || !remote || !state) return std::nullopt;
  Socket socket;
  socket.protocol = is_tcp ? "tcp" : "udp";
  socket.local = local->text;
  if (remote->is_set) socket.remote = remote->text;
  // For UDP the states only mean "has a peer" and "has none", which the addresses already say.
  if (is_tcp) socket.state = tcp_state(*state);
  return socket;
}

constexpr std::size_t kUnixInode = 6;

/// "address: references protocol flags type state inode path", all but the inode hexadecimal. The
/// path may hold anything but a line end.
std::optional<Socket> parse_unix_socket(std::string_view line) {
  for (int i = 0; i < 3; ++i)
    next_word(line);
  const auto flags = to_number<std::uint64_t>(next_word(line), 16);
  const auto type = to_number<std::uint64_t>(next_word(line), 16);
  const auto state = to_number<std::uint64_t>(next_word(line), 16);
  if (next_word(line).empty() || !flags || !type || !state) return std::nullopt;
  Socket socket;
  constexpr std::uint64_t kStream = 1;
  constexpr std::uint64_t kDatagram = 2;
  constexpr std::uint64_t kSeqpacket = 5;
  socket.protocol = *type == kStream      ? "unix stream"
                    : *type == kDatagram  ? "unix datagram"
                    : *type == kSeqpacket ? "unix seqpacket"
                                          : "unix";
  constexpr std::uint64_t kListens = 1U << 16U;  // __SO_ACCEPTCON
  constexpr std::uint64_t kConnecting = 2;       // SS_CONNECTING
  constexpr std::uint64_t kConnected = 3;
  if ((*flags & kListens) != 0) {
    socket.state = "listen";
  } else if (*state == kConnecting) {
    socket.state = "connecting";
  } else if (*state == kConnected) {
    socket.state = "connected";
  }
  if (line.size() > 1) socket.local = line.substr(1);
  return socket;
}

const char* file_of(SocketTable table) {
  switch (table) {
    case SocketTable::Tcp:
      return "net/tcp";
    case SocketTable::Tcp6:
      return "net/tcp6";
    case SocketTable::Udp:
      return "net/udp";
    case SocketTable::Udp6:
      return "net/udp6";
    case SocketTable::Unix:
      return "net/unix";
  }
  return "";
}

void read_table(const Process& process, SocketTable table, std::unordered_set<std::uint64_t> wanted,
                Clock::time_point deadline, std::unordered_map<std::uint64_t, Socket>& found) {
  const UniqueFd fd{::openat(process.directory(), file_of(table), O_RDONLY | O_CLOEXEC)};
  if (!fd) return;
  const auto take = [&](std::string_view line) {
    const auto inode = socket_inode(table, line);
    if (!inode || !wanted.contains(*inode)) return;
    if (auto socket = parse_socket(table, line)) found.emplace(*inode, *std::move(socket));
    wanted.erase(*inode);
  };
  // The kernel fills the buffer before it returns, so the first reads are small: the wanted socket
  // may come long before the end.
  constexpr std::size_t kLeast = 256;
  constexpr std::size_t kMost = 65536;
  std::vector<char> buffer(kMost);
  std::size_t kept = 0;  // bytes of a line that isn't whole yet
  for (std::size_t total = 0; total < kMostBytes && !wanted.empty() && Clock::now() < deadline;) {
    const std::size_t size = std::min(std::max(kLeast, total), buffer.size() - kept);
    const ssize_t n = ::read(fd.get(), buffer.data() + kept, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    total += static_cast<std::size_t>(n);
    std::string_view text(buffer.data(), kept + static_cast<std::size_t>(n));
    for (std::size_t end = 0; (end = text.find('\n')) != std::string_view::npos;) {
      take(text.substr(0, end));
      text.remove_prefix(end + 1);
    }
    kept = text.size() < buffer.size() ? text.size() : 0;  // no line is as long as that
    std::memmove(buffer.data(), text.data(), kept);
  }
}

}  // namespace

std::string to_text(const Socket& socket) {
  std::string text{socket.protocol};
  if (!socket.local.empty()) text += " " + socket.local;
  if (!socket.remote.empty()) text += " -> " + socket.remote;
  if (!socket.state.empty()) fmt::format_to(std::back_inserter(text), " {}", socket.state);
  return text;
}

std::optional<std::uint64_t> socket_inode(SocketTable table, std::string_view line) {
  constexpr std::size_t kInternetInode = 9;
  const auto inode = to_number<std::uint64_t>(
      word_at(line, table == SocketTable::Unix ? kUnixInode : kInternetInode));
  // A connection that nobody has accepted yet, or that was closed, has no inode.
  return inode == 0U ? std::nullopt : inode;
}

std::optional<Socket> parse_socket(SocketTable table, std::string_view line) {
  if (table == SocketTable::Unix) return parse_unix_socket(line);
  return parse_internet_socket(table == SocketTable::Tcp || table == SocketTable::Tcp6, line);
}

std::optional<SocketTable> table_of(std::string_view protocol) {
  if (protocol == "TCP") return SocketTable::Tcp;
  if (protocol == "TCPv6") return SocketTable::Tcp6;
  if (protocol == "UDP") return SocketTable::Udp;
  if (protocol == "UDPv6") return SocketTable::Udp6;
  if (protocol.starts_with("UNIX")) return SocketTable::Unix;  // "UNIX-STREAM" since Linux 5.15
  return std::nullopt;
}

std::unordered_map<std::uint64_t, Socket> find_sockets(const Process& process,
                                                       const WantedSockets& wanted,
                                                       const Log& log) {
  const auto begin = Clock::now();
  std::unordered_map<std::uint64_t, Socket> found;
  std::size_t count = 0;
  for (const auto& [table, inodes] : wanted) {
    count += inodes.size();
    read_table(process, table, inodes, begin + kMostTime, found);
  }
  log("{} of {} sockets found in {} tables of /proc/PID/net in {} us", found.size(), count,
      wanted.size(),
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin).count());
  return found;
}

}  // namespace pyscope
