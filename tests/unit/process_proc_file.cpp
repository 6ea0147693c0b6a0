#include <fcntl.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <string>

#include "process/proc_file.hpp"
#include "unit/scratch_folder.hpp"

using namespace pyscope;

TEST_CASE("a file is read whole within its bound, or not at all", "[process]") {
  const test::ScratchFolder folder;
  const std::string text(40'000, 'x');
  const std::string path = folder.write("file", text);
  CHECK(read_whole_file(AT_FDCWD, path.c_str(), text.size()).value_or("") == text);
  const auto cut = read_whole_file(AT_FDCWD, path.c_str(), text.size() - 1);
  REQUIRE_FALSE(cut.has_value());
  CHECK(cut.error().kind == ErrorKind::Failed);
  CHECK(cut.error().message == path + " is larger than 39999 bytes");
  const auto missing = read_whole_file(AT_FDCWD, (path + "s").c_str(), 1);
  REQUIRE_FALSE(missing.has_value());
  CHECK(missing.error().kind == ErrorKind::NoSuchProcess);
  CHECK_FALSE(read_whole_file(AT_FDCWD, folder.path().c_str(), 1).has_value());  // EISDIR
}

TEST_CASE("the start of a file ends at its bound", "[process]") {
  const test::ScratchFolder folder;
  const std::string path = folder.write("file", "0123456789");
  CHECK(read_file_start(AT_FDCWD, path.c_str(), 4).value_or("") == "0123");
  CHECK(read_file_start(AT_FDCWD, path.c_str(), 10).value_or("") == "0123456789");
  CHECK(read_file_start(AT_FDCWD, path.c_str(), 100).value_or("") == "0123456789");
  CHECK(read_file_start(AT_FDCWD, path.c_str(), 0).value_or("?").empty());
  const std::string fifo = folder.path() / "fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  CHECK(read_file_start(AT_FDCWD, fifo.c_str(), 4).value_or("?").empty());  // and doesn't wait
}

TEST_CASE("a small file that fills the buffer isn't taken for whole", "[process]") {
  const test::ScratchFolder folder;
  constexpr std::size_t kBuffer = 8192;
  const std::string fits = folder.write("fits", std::string(kBuffer - 1, 'x'));
  const std::string fills = folder.write("fills", std::string(kBuffer, 'x'));
  CHECK(SmallFile(AT_FDCWD, fits.c_str()).text().size() == kBuffer - 1);
  errno = EACCES;  // of an earlier call
  const SmallFile full(AT_FDCWD, fills.c_str());
  CHECK_FALSE(full);
  CHECK(full.text().empty());
  CHECK_FALSE(full.denied());
  CHECK_FALSE(SmallFile(AT_FDCWD, (fits + "s").c_str()).denied());
  CHECK(SmallFile(AT_FDCWD, "/proc/self/stat"));
}
