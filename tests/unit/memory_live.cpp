// LiveMemory on the test's own process, whose memory is known.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <vector>

#include "memory/live_memory.hpp"

using namespace pyscope;

namespace {

const auto kPage = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));

RemoteAddr address_of(const void* object) {
  return RemoteAddr{reinterpret_cast<std::uint64_t>(object)};
}

/// This process, read by either system call.
struct Own {
  explicit Own(bool proc_mem) {
    if (proc_mem) memory.use_proc_mem();
  }
  UniqueFd directory{::open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC)};
  LiveMemory memory{::getpid(), directory.get()};
};

/// How the page in the middle of three is made unreadable.
enum class Hole {
  NoAccess,       // PROT_NONE, which /proc/PID/mem doesn't mind
  BeyondTheFile,  // mapped from a file that is shorter
};

/// Three pages of numbers, of which the one in the middle can't be read.
class PagesWithHole {
 public:
  explicit PagesWithHole(Hole hole)
      : start_(static_cast<std::uint8_t*>(::mmap(nullptr, 3 * kPage, PROT_READ | PROT_WRITE,
                                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {
    for (std::size_t i = 0; i < 3 * kPage; ++i)
      start_[i] = static_cast<std::uint8_t>(i % 251);
    if (hole == Hole::NoAccess) {
      ::mprotect(start_ + kPage, kPage, PROT_NONE);
    } else {
      const UniqueFd empty{::memfd_create("empty", MFD_CLOEXEC)};
      ::mmap(start_ + kPage, kPage, PROT_READ, MAP_SHARED | MAP_FIXED, empty.get(), 0);
    }
  }
  PagesWithHole(const PagesWithHole&) = delete;
  PagesWithHole& operator=(const PagesWithHole&) = delete;
  ~PagesWithHole() { ::munmap(start_, 3 * kPage); }

  [[nodiscard]] RemoteAddr at(std::size_t offset) const { return address_of(start_ + offset); }

 private:
  std::uint8_t* start_;
};

/// What a read of `size` bytes at `offset` of the pages must give; nothing for the hole.
bool readable(std::size_t offset, std::size_t size) {
  return offset + size <= kPage || offset >= 2 * kPage;
}

}  // namespace

TEST_CASE("a process reads its own memory", "[memory]") {
  const Own own(GENERATE(false, true));
  const std::uint64_t value = 0x0123456789abcdef;
  CHECK(read_as<std::uint64_t>(own.memory, address_of(&value)).value() == value);
}

TEST_CASE("more ranges than one system call takes are read in two", "[memory]") {
  const Own own(false);
  std::vector<std::uint16_t> source(3000);
  std::iota(source.begin(), source.end(), std::uint16_t{1});
  // Every second one, so that no two are neighbours.
  std::vector<std::uint16_t> copy(source.size() / 2);
  std::vector<ReadRequest> requests;
  for (std::size_t i = 0; i < copy.size(); ++i) {
    requests.push_back(
        {address_of(&source[2 * i]), std::as_writable_bytes(std::span{&copy[i], 1})});
  }
  own.memory.read_many(requests);
  for (std::size_t i = 0; i < copy.size(); ++i) {
    CHECK(requests[i].status == ReadStatus::Ok);
    CHECK(copy[i] == 2 * i + 1);
  }
  CHECK(own.memory.system_calls() == 2);
  CHECK_FALSE(own.memory.uses_proc_mem());
}

TEST_CASE("ranges around a hole settle each for itself", "[memory]") {
  const bool proc_mem = GENERATE(false, true);
  const Own own(proc_mem);
  const PagesWithHole pages(proc_mem ? Hole::BeyondTheFile
                                     : GENERATE(Hole::NoAccess, Hole::BeyondTheFile));
  // Everything from the start to the end in neighbouring pieces, of a size that doesn't divide a
  // page; and then some on their own.
  std::vector<std::pair<std::size_t, std::size_t>> wanted;
  constexpr std::size_t kPiece = 100;
  for (std::size_t at = 0; at + kPiece <= 3 * kPage; at += kPiece)
    wanted.emplace_back(at, kPiece);
  wanted.insert(wanted.end(), {{kPage - 1, 1},
                               {kPage, 1},
                               {kPage - 1, 2},
                               {2 * kPage - 1, 1},
                               {2 * kPage - 1, 2},
                               {2 * kPage, 1},
                               {0, kPage},
                               {0, 3 * kPage},
                               {2 * kPage, kPage},
                               {kPage, 0}});
  std::vector<std::vector<std::byte>> copies;
  for (const auto& [offset, size] : wanted)
    copies.emplace_back(size);
  std::vector<ReadRequest> requests;
  for (std::size_t i = 0; i < wanted.size(); ++i)
    requests.push_back({pages.at(wanted[i].first), copies[i]});
  own.memory.read_many(requests);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const auto [offset, size] = wanted[i];
    CAPTURE(offset, size);
    REQUIRE(requests[i].status ==
            (readable(offset, size) || size == 0 ? ReadStatus::Ok : ReadStatus::Fault));
    if (requests[i].status != ReadStatus::Ok || size == 0) continue;
    CHECK(copies[i].front() == static_cast<std::byte>(offset % 251));
    CHECK(copies[i].back() == static_cast<std::byte>((offset + size - 1) % 251));
  }
}

TEST_CASE("the same range is read as often as it is asked for", "[memory]") {
  const Own own(GENERATE(false, true));
  const std::array<std::uint8_t, 6> source{1, 2, 3, 4, 5, 6};
  std::array<std::array<std::byte, 2>, 4> copies{};
  std::vector<ReadRequest> requests;
  for (auto& copy : copies)
    requests.push_back({address_of(&source), copy});
  own.memory.read_many(requests);
  for (std::size_t i = 0; i < copies.size(); ++i) {
    CHECK(requests[i].status == ReadStatus::Ok);
    CHECK(copies[i] == std::array{std::byte{1}, std::byte{2}});
  }
}

TEST_CASE("addresses that no process can have are faults", "[memory]") {
  const bool proc_mem = GENERATE(false, true);
  const Own own(proc_mem);
  std::array<std::byte, 16> out{};
  for (const std::uint64_t at :
       {std::uint64_t{0}, std::uint64_t{8}, std::uint64_t{1} << 47U, std::uint64_t{1} << 63U,
        ~std::uint64_t{0} - 4095, ~std::uint64_t{0} - 7}) {
    CAPTURE(at);
    const auto ok = own.memory.read(RemoteAddr{at}, out);
    REQUIRE_FALSE(ok);
    CHECK(ok.error().kind == ErrorKind::Fault);
  }
  CHECK(own.memory.uses_proc_mem() == proc_mem);
}

TEST_CASE("the memory of a process that has ended is gone", "[memory]") {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  const std::string path = "/proc/" + std::to_string(child);
  const UniqueFd directory{::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  REQUIRE(::waitpid(child, nullptr, 0) == child);
  const LiveMemory memory(child, directory.get());
  std::array<std::array<std::byte, 8>, 2> out{};
  std::array<ReadRequest, 2> requests{ReadRequest{address_of(&child), out[0]},
                                      ReadRequest{address_of(&out), out[1]}};
  memory.read_many(requests);
  CHECK(requests[0].status == ReadStatus::Gone);
  CHECK(requests[1].status == ReadStatus::Gone);
}

TEST_CASE("without a right to the memory reads are denied", "[memory]") {
  const std::uint64_t value = 1;
  const LiveMemory memory(::getpid(), -1);  // no /proc/PID/mem can be opened below this
  memory.use_proc_mem();
  const auto read = read_as<std::uint64_t>(memory, address_of(&value));
  REQUIRE_FALSE(read);
  CHECK(read.error().kind == ErrorKind::NotPermitted);
}
