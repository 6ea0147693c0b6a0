#include "process/polled.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "process/words.hpp"

namespace pyscope {
namespace {

constexpr std::uint64_t kMostDescriptorsPolled = 256;
constexpr std::uint64_t kMostBitsPolled = 4096;  // of a set of select
constexpr std::size_t kMostEpollText = std::size_t{1} << 16U;

enum class PollCall : std::uint8_t { None, Array, Sets, Epoll };

/// The kind of a call without a timeout.
PollCall kind_of_poll(const SystemCall& call) {
  const auto& arguments = call.arguments;
  const auto negative = [&](std::size_t i) {
    return std::bit_cast<std::int32_t>(static_cast<std::uint32_t>(arguments.at(i))) < 0;
  };
  switch (call.number) {
#ifdef SYS_poll
    case SYS_poll:
      return negative(2) ? PollCall::Array : PollCall::None;
#endif
    case SYS_ppoll:
      return arguments[2] == 0 ? PollCall::Array : PollCall::None;
#ifdef SYS_select
    case SYS_select:
#endif
    case SYS_pselect6:
      return arguments[4] == 0 ? PollCall::Sets : PollCall::None;
#ifdef SYS_epoll_wait
    case SYS_epoll_wait:
#endif
    case SYS_epoll_pwait:
      return negative(3) ? PollCall::Epoll : PollCall::None;
    default:
      return PollCall::None;
  }
}

std::optional<std::vector<int>> polled_in_array(const Process& process, const SystemCall& call) {
  if (call.arguments[1] == 0 || call.arguments[1] > kMostDescriptorsPolled) return std::nullopt;
  std::vector<pollfd> array(call.arguments[1]);
  if (!process.read_memory(RemoteAddr{call.arguments[0]},
                           std::as_writable_bytes(std::span(array)))) {
    return std::nullopt;
  }
  std::vector<int> descriptors;
  for (const pollfd& one : array) {
    if (one.fd >= 0) descriptors.push_back(one.fd);  // poll leaves out negative ones
  }
  return descriptors;
}

std::optional<std::vector<int>> polled_in_sets(const Process& process, const SystemCall& call) {
  constexpr std::uint64_t kBits = 64;
  const std::uint64_t count = call.arguments[0];
  if (count == 0 || count > kMostBitsPolled) return std::nullopt;
  std::vector<std::uint64_t> any((count + kBits - 1) / kBits);
  std::vector<std::uint64_t> set(any.size());
  for (std::size_t i = 1; i <= 3; ++i) {
    if (call.arguments[i] == 0) continue;
    if (!process.read_memory(RemoteAddr{call.arguments[i]},
                             std::as_writable_bytes(std::span(set)))) {
      return std::nullopt;
    }
    for (std::size_t word = 0; word < any.size(); ++word)
      any[word] |= set[word];
  }
  std::vector<int> descriptors;
  for (std::uint64_t fd = 0; fd < count; ++fd) {
    if ((any[fd / kBits] >> (fd % kBits) & 1U) != 0) descriptors.push_back(static_cast<int>(fd));
  }
  return descriptors;
}

/// An epoll instance watches files, and names the numbers under which they were added. A number may
/// mean another file meanwhile.
std::optional<std::vector<int>> polled_by_epoll(const Process& process, const SystemCall& call) {
  const auto fd = std::bit_cast<std::int32_t>(static_cast<std::uint32_t>(call.arguments[0]));
  const auto text = process.read_file(fmt::format("fdinfo/{}", fd).c_str(), kMostEpollText);
  if (!text) return std::nullopt;
  std::vector<int> descriptors;
  for (std::string_view rest = *text; !rest.empty();) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    // "tfd:        5 events:       19 data:                5  pos:0 ino:1f3 sdev:9"
    if (!line.starts_with("tfd:")) continue;
    line.remove_prefix(4);
    const auto watched = to_number<int>(next_word(line));
    constexpr std::string_view kInode = "ino:";
    const std::size_t at = line.find(kInode);
    if (!watched || at == std::string_view::npos) return std::nullopt;
    line.remove_prefix(at + kInode.size());
    const auto inode = to_number<std::uint64_t>(next_word(line), 16);
    const auto link = process.read_link(fmt::format("fd/{}", *watched).c_str());
    if (!inode || !link) return std::nullopt;
    const bool numbered = link->starts_with("pipe:[") || link->starts_with("socket:[");
    if (numbered && !link->ends_with(fmt::format(":[{}]", *inode))) return std::nullopt;
    descriptors.push_back(*watched);
  }
  return descriptors;
}

}  // namespace

bool polls_for_ever(const SystemCall& call) {
  return kind_of_poll(call) != PollCall::None;
}

std::optional<std::vector<int>> polled_descriptors(const Process& process, const SystemCall& call) {
  std::optional<std::vector<int>> descriptors;
  switch (kind_of_poll(call)) {
    case PollCall::Array:
      descriptors = polled_in_array(process, call);
      break;
    case PollCall::Sets:
      descriptors = polled_in_sets(process, call);
      break;
    case PollCall::Epoll:
      descriptors = polled_by_epoll(process, call);
      break;
    case PollCall::None:
      break;
  }
  if (!descriptors || descriptors->empty() || descriptors->size() > kMostDescriptorsPolled)
    return std::nullopt;
  return descriptors;
}

}  // namespace pyscope
