// What may be written to a process, tried on this one.
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <utility>

#include "execution/remote_writer.hpp"
#include "published_offsets.hpp"
#include "structures/remote_debugging.hpp"

using namespace pyscope;
using namespace pyscope::test;

namespace {

constexpr std::size_t kPage = 4096;

/// Two pages, of which the second one may be less than writable.
class Pages {
 public:
  explicit Pages(int second = PROT_READ | PROT_WRITE)
      : at_(static_cast<std::byte*>(::mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {
    ::mprotect(at_ + kPage, kPage, second);
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  ~Pages() { ::munmap(at_, 2 * kPage); }
  [[nodiscard]] const std::byte* data() const { return at_; }
  [[nodiscard]] RemoteAddr at(std::size_t offset) const {
    return RemoteAddr{reinterpret_cast<std::uintptr_t>(at_) + offset};
  }

 private:
  std::byte* at_;
};

DebugOffsets offsets_of(int minor) {
  return DebugOffsets::decode(PublishedTable(minor).bytes).value();
}

}  // namespace

TEST_CASE("only the three members of a thread state are written", "[execution]") {
  const int minor = GENERATE(14, 15);
  const DebugOffsets offsets = offsets_of(minor);
  const Process self = Process::open(::getpid(), Log()).value();
  const Pages pages;
  constexpr std::size_t kState = 1024;
  const auto writer = RemoteWriter::create(self, offsets, pages.at(kState));
  REQUIRE(writer);
  std::array<std::byte, 2 * kPage> expected{};
  const auto put = [&](std::uint64_t offset, const void* bytes, std::size_t size) {
    std::memcpy(expected.data() + kState + offset, bytes, size);
  };
  const std::uint64_t support = offsets[Field::DebuggerRemoteDebuggerSupport];
  const std::string path(511, 'p');
  REQUIRE(writer->write_path(path));
  put(support + offsets[Field::DebuggerScriptPath], path.c_str(), path.size() + 1);
  REQUIRE(writer->write_pending(true));
  const std::int32_t one = 1;
  put(support + offsets[Field::DebuggerPendingCall], &one, sizeof one);
  const std::uint64_t word = 0x1234'5678'9abc'def0;
  REQUIRE(writer->write_breaker(word));
  put(offsets[Field::DebuggerEvalBreaker], &word, sizeof word);
  CHECK(std::memcmp(pages.data(), expected.data(), expected.size()) == 0);
  REQUIRE(writer->write_pending(false));
  const std::int32_t none = 0;
  put(support + offsets[Field::DebuggerPendingCall], &none, sizeof none);
  CHECK(std::memcmp(pages.data(), expected.data(), expected.size()) == 0);
  CHECK_FALSE(writer->write_path(path + "p"));
  CHECK_FALSE(writer->write_path(std::string("a\0b", 3)));
  CHECK(std::memcmp(pages.data(), expected.data(), expected.size()) == 0);
}

TEST_CASE("nothing but data is taken for a thread state", "[execution]") {
  const DebugOffsets offsets = offsets_of(15);
  const Process self = Process::open(::getpid(), Log()).value();
  const std::size_t size = offsets[Field::ThreadSize];
  for (const int protection : {PROT_NONE, PROT_READ, PROT_READ | PROT_EXEC}) {
    const Pages pages(protection);
    CHECK(RemoteWriter::create(self, offsets, pages.at(kPage - size)));
    CHECK_FALSE(RemoteWriter::create(self, offsets, pages.at(kPage - size + 8)));
    CHECK_FALSE(RemoteWriter::create(self, offsets, pages.at(kPage)));
    CHECK_FALSE(RemoteWriter::create(self, offsets, pages.at(kPage - size - 4)));
  }
  CHECK_FALSE(RemoteWriter::create(self, offsets, RemoteAddr{}));
  CHECK_FALSE(RemoteWriter::create(self, offsets, RemoteAddr{~std::uint64_t{7}}));
}

TEST_CASE("a table with other offsets than the version's is not written by", "[execution]") {
  const Process self = Process::open(::getpid(), Log()).value();
  const Pages pages;
  for (const int minor : {14, 15}) {
    CHECK(has_known_remote_debugging(offsets_of(minor)));
    for (const auto& [name, value] : {std::pair("debugger_support.eval_breaker", 32),
                                      std::pair("debugger_support.remote_debugger_support", 312),
                                      std::pair("debugger_support.debugger_pending_call", 4),
                                      std::pair("debugger_support.debugger_script_path", 0),
                                      std::pair("debugger_support.debugger_script_path_size", 256),
                                      std::pair("thread_state.size", 800)}) {
      CAPTURE(minor, name);
      PublishedTable table(minor);
      table.set(name, static_cast<std::uint64_t>(value));
      const auto offsets = DebugOffsets::decode(table.bytes);
      REQUIRE(offsets);
      CHECK_FALSE(RemoteWriter::create(self, *offsets, pages.at(0)));
    }
  }
  CHECK_FALSE(RemoteWriter::create(self, offsets_of(13), pages.at(0)));
}
