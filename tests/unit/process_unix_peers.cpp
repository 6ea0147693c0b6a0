#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "process/unix_peers.hpp"

using namespace pyscope;
using namespace std::string_view_literals;

namespace {

template <class T>
void append(std::vector<std::byte>& message, const T& value) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&value);
  message.insert(message.end(), bytes, bytes + sizeof value);
}

void append_attribute(std::vector<std::byte>& message, unsigned short type,
                      std::string_view value) {
  append(message, rtattr{static_cast<unsigned short>(sizeof(rtattr) + value.size()), type});
  for (const char c : value)
    message.push_back(static_cast<std::byte>(c));
  while (message.size() % 4 != 0)
    message.push_back(std::byte{0xee});
}

/// An answer to question 7, without its length.
std::vector<std::byte> start_answer() {
  std::vector<std::byte> message;
  append(message, nlmsghdr{0, SOCK_DIAG_BY_FAMILY, 0, 7, 0});
  append(message, unix_diag_msg{});
  return message;
}

void set_length(std::vector<std::byte>& message) {
  const auto length = static_cast<std::uint32_t>(message.size());
  std::memcpy(message.data(), &length, sizeof length);
}

}  // namespace

TEST_CASE("the kernel's answer gives a unix socket's name and peer", "[process]") {
  const auto name_in = [](std::string_view name) {
    auto message = start_answer();
    append_attribute(message, UNIX_DIAG_SHUTDOWN, "\0"sv);
    append_attribute(message, UNIX_DIAG_NAME, name);
    append_attribute(message, UNIX_DIAG_PEER, "\x8f\x28\x2f\0"sv);
    set_length(message);
    const auto diagnosis = parse_unix_diagnosis(message, 7);
    REQUIRE(diagnosis);
    CHECK(diagnosis->peer == 0x2f288f);
    return diagnosis->name;
  };
  CHECK(name_in("/run/app.sock\0"sv) == "/run/app.sock");
  CHECK(name_in("/run/app.sock"sv) == "/run/app.sock");
  CHECK(name_in("\0abstract\0name"sv) == "@abstract@name");
  CHECK(name_in(""sv).empty());
}

TEST_CASE("an answer that is cut, or to another question, is none", "[process]") {
  auto message = start_answer();
  append_attribute(message, UNIX_DIAG_NAME, "/run/app.sock"sv);
  append_attribute(message, UNIX_DIAG_PEER, "\x8f\x28\x2f\0"sv);
  set_length(message);
  REQUIRE(parse_unix_diagnosis(message, 7));
  CHECK_FALSE(parse_unix_diagnosis(message, 8));
  for (std::size_t size = 0; size < message.size(); ++size)
    CHECK_FALSE(parse_unix_diagnosis(std::span(message).first(size), 7));
  // Whatever the lengths in it say, nothing outside of it is looked at.
  for (std::size_t i = 0; i < message.size(); ++i) {
    for (const int value : {0, 1, 3, 0x7f, 0xff}) {
      auto broken = message;
      broken[i] = static_cast<std::byte>(value);
      (void)parse_unix_diagnosis(broken, 7);
    }
  }
}

TEST_CASE("both ends of a pair of sockets are each other's peer", "[process]") {
  std::array<int, 2> ends{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
  const UniqueFd first{ends[0]};
  const UniqueFd second{ends[1]};
  const auto inode = [](const UniqueFd& fd) {
    struct stat info {};
    REQUIRE(::fstat(fd.get(), &info) == 0);
    return info.st_ino;
  };
  UnixPeers peers;
  // A kernel may be built without it: then it says nothing, and nothing wrong.
  if (const auto peer = peers.of(inode(first))) {
    CHECK(peer->inode == inode(second));
    CHECK(peer->name.empty());
    CHECK(peers.of(inode(second))->inode == inode(first));
  }
  CHECK_FALSE(peers.of(0xfffffffe));
  CHECK_FALSE(peers.of(std::uint64_t{1} << 40U));
}
