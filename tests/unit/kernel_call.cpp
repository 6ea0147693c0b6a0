// Calls that never come back. Each case is a process of its own, as such a call ends a program.
#include "base/kernel_call.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

using namespace pyscope;

namespace {

constexpr std::chrono::milliseconds kTime{6000};  // of which a call gets a thirtieth

/// The status of the work, done in a child.
int status_of(const std::function<int()>& work, const std::function<int()>& give_up,
              std::chrono::milliseconds time = kTime) {
  const pid_t child = ::fork();
  if (child == 0) {
    const int status = run_answered(
        time, [&](std::chrono::milliseconds) { return work(); }, give_up,
        [](int ended) { ::_exit(ended); });
    ::_exit(status);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int not_wanted() {
  return 99;
}

/// Waits for what never comes.
void wait_in_vain() {
  std::array<int, 2> ends{};
  char byte = 0;
  if (::pipe2(ends.data(), O_CLOEXEC) == 0) (void)!::read(ends[0], &byte, 1);
}

iovec range_at(std::uint64_t at, std::size_t size) {
  return {reinterpret_cast<void*>(at), size};
}

/// Whether this memory may be asked for; stands still if it is in the page at `dead`.
bool read(std::vector<iovec> ranges, std::uint64_t dead) {
  const KernelCall call(1, ranges);
  if (!call) return false;
  for (const iovec& range : ranges) {
    const auto first = reinterpret_cast<std::uint64_t>(range.iov_base);
    if (first < dead + 4096 && first + range.iov_len > dead) wait_in_vain();
  }
  return true;
}

}  // namespace

TEST_CASE("work without calls that stand still is done once", "[base]") {
  int times = 0;
  CHECK(status_of([&] { return ++times; }, not_wanted) == 1);
  CHECK(status_of(
            [] {
              const std::string path = "/proc/self/stat";
              const int fd = open_noted(AT_FDCWD, path.c_str(), O_RDONLY | O_CLOEXEC);
              std::array<char, 16> text{};
              return read_noted(fd, text.data(), text.size()) > 0 && !KernelCall::any_unanswered()
                         ? 5
                         : 6;
            },
            not_wanted) == 5);
}

TEST_CASE("what a file never answers isn't asked again", "[base]") {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const auto work = [&] {
    char byte = 0;
    if (read_noted(ends[0], &byte, 1) != -1 || errno != ETIMEDOUT) return 1;
    const auto words = KernelCall::unanswered();
    return words.size() == 1 && words[0].starts_with("pipe:") ? 7 : 2;
  };
  CHECK(status_of(work, not_wanted) == 7);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE("one page that never answers is found among many", "[base]") {
  constexpr std::uint64_t kDead = 0x7000'0000;
  const auto work = [] {
    const std::uint64_t begin = kDead - 0x4000;
    if (!KernelCall::any_unanswered()) (void)read({range_at(begin, 0x8000), range_at(1, 8)}, kDead);
    int answered = 0;
    for (std::uint64_t at = begin; at < begin + 0x8000; at += 0x1000) {
      if (!KernelCall::is_suspect(1, at, 8)) return 1;
      answered += read({range_at(at, 0x1000)}, kDead) ? 1 : 0;
    }
    // Of another process nothing is suspected.
    if (KernelCall::is_suspect(2, kDead, 8)) return 2;
    return answered;
  };
  CHECK(status_of(work, not_wanted) == 7);
}

TEST_CASE("the more pages don't answer, the less is asked", "[base]") {
  const auto work = [] {
    int answered = 0;
    for (std::uint64_t page = 0; page < 1000; ++page) {
      const std::uint64_t at = 0x7000'0000 + page * 0x1000;
      answered += read({range_at(at, 8)}, at) ? 1 : 0;
    }
    return answered == 0 ? 8 : 1;
  };
  CHECK(status_of(work, not_wanted) == 8);
}

TEST_CASE("work that stands still whatever is left out is given up", "[base]") {
  int calls = 0;
  const auto work = [&] {
    const std::string name = "/proc/never/" + std::to_string(++calls);
    const KernelCall call(AT_FDCWD, name.c_str());
    wait_in_vain();
    return 1;
  };
  CHECK(status_of(
            work, [] { return 9; }, std::chrono::milliseconds(350)) == 9);
}
