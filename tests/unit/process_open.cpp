// A process that was pinned, and what becomes of it.
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <csignal>

#include "process/process.hpp"

using namespace pyscope;

TEST_CASE("an exec is noticed, and what came before one isn't", "[process]") {
  std::array<int, 2> order{};
  std::array<int, 2> answer{};
  REQUIRE(::pipe(order.data()) == 0);
  REQUIRE(::pipe(answer.data()) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    char byte = 0;
    if (::read(order[0], &byte, 1) != 1) ::_exit(1);
    ::dup2(order[0], STDIN_FILENO);
    ::dup2(answer[1], STDOUT_FILENO);
    ::execl("/bin/cat", "cat", nullptr);
    ::_exit(1);
  }
  const auto before = Process::open(child, Log());
  REQUIRE(before);
  CHECK_FALSE(before->replaced_program());
  // cat has got there once it has passed on the second one.
  REQUIRE(::write(order[1], "xy", 2) == 2);
  char byte = 0;
  REQUIRE(::read(answer[0], &byte, 1) == 1);
  CHECK(byte == 'y');
  CHECK(before->replaced_program());
  CHECK_FALSE(before->ended());
  const auto after = Process::open(child, Log());
  REQUIRE(after);
  CHECK_FALSE(after->replaced_program());
  ::kill(child, SIGKILL);
  REQUIRE(::waitpid(child, nullptr, 0) == child);
  CHECK(before->ended());
  for (const int fd : {order[0], order[1], answer[0], answer[1]})
    ::close(fd);
}
