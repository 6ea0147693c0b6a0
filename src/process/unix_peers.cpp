#include "process/unix_peers.hpp"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <limits>

namespace pyscope {
namespace {

/// A structure at the start of a message; empty if the message is too short.
template <class T>
std::optional<T> front_as(std::span<const std::byte> message) {
  if (message.size() < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, message.data(), sizeof value);
  return value;
}

/// Each part of a message begins at a multiple of four.
std::span<const std::byte> after(std::span<const std::byte> message, std::size_t size) {
  constexpr std::size_t kAlignment = 4;
  const std::size_t aligned = (size + kAlignment - 1) / kAlignment * kAlignment;
  return message.subspan(std::min(aligned, message.size()));
}

/// The name as /proc/net/unix shows it. An abstract name begins with a zero byte and may hold more
/// of them; a path ends at the first one.
std::string name_of(std::span<const std::byte> value) {
  std::string name;
  const bool is_abstract = !value.empty() && value.front() == std::byte{0};
  for (const std::byte byte : value) {
    if (byte == std::byte{0} && !is_abstract) break;
    name += byte == std::byte{0} ? '@' : static_cast<char>(byte);
  }
  return name;
}

std::optional<UnixDiagnosis> ask(int netlink, std::uint32_t inode, std::uint32_t sequence) {
  struct {
    nlmsghdr header;
    unix_diag_req question;
  } request{};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  request.header.nlmsg_seq = sequence;
  request.question.sdiag_family = AF_UNIX;
  request.question.udiag_states = std::numeric_limits<std::uint32_t>::max();
  request.question.udiag_ino = inode;
  request.question.udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_PEER;
  std::fill(std::begin(request.question.udiag_cookie), std::end(request.question.udiag_cookie),
            std::numeric_limits<std::uint32_t>::max());  // any
  if (::send(netlink, &request, sizeof request, 0) != sizeof request) return std::nullopt;
  std::array<std::byte, 4096> answer;
  const ssize_t size = ::recv(netlink, answer.data(), answer.size(), 0);
  if (size < 0) return std::nullopt;
  return parse_unix_diagnosis(std::span(answer).first(static_cast<std::size_t>(size)), sequence);
}

}  // namespace

std::optional<UnixDiagnosis> parse_unix_diagnosis(std::span<const std::byte> message,
                                                  std::uint32_t sequence) {
  const auto header = front_as<nlmsghdr>(message);
  if (!header || header->nlmsg_type != SOCK_DIAG_BY_FAMILY || header->nlmsg_seq != sequence ||
      header->nlmsg_len < sizeof(nlmsghdr) + sizeof(unix_diag_msg) ||
      header->nlmsg_len > message.size()) {
    return std::nullopt;
  }
  auto attributes = after(message.first(header->nlmsg_len), sizeof(nlmsghdr));
  attributes = after(attributes, sizeof(unix_diag_msg));
  UnixDiagnosis diagnosis;
  while (const auto attribute = front_as<rtattr>(attributes)) {
    if (attribute->rta_len < sizeof(rtattr) || attribute->rta_len > attributes.size()) break;
    const auto value = attributes.first(attribute->rta_len).subspan(sizeof(rtattr));
    if (attribute->rta_type == UNIX_DIAG_PEER) {
      diagnosis.peer = front_as<std::uint32_t>(value).value_or(0);
    } else if (attribute->rta_type == UNIX_DIAG_NAME) {
      diagnosis.name = name_of(value);
    }
    attributes = after(attributes, attribute->rta_len);
  }
  return diagnosis;
}

UnixPeers::UnixPeers()
    : netlink_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG)) {
  // The kernel answers within the request. The timeout is for a kernel that doesn't.
  const timeval most{.tv_sec = 0, .tv_usec = 50'000};
  if (netlink_) ::setsockopt(netlink_.get(), SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
}

std::optional<UnixPeer> UnixPeers::of(std::uint64_t inode) {
  if (!netlink_ || inode > std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
  const auto socket = ask(netlink_.get(), static_cast<std::uint32_t>(inode), ++sequence_);
  if (!socket || socket->peer == 0) return std::nullopt;
  const auto peer = ask(netlink_.get(), socket->peer, ++sequence_);
  return UnixPeer{socket->peer, peer ? peer->name : std::string{}};
}

}  // namespace pyscope
