#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "process/maps.hpp"

using namespace pyscope;

namespace {

Mapping only(const std::string& text) {
  const auto mappings = parse_maps(text);
  REQUIRE(mappings.size() == 1);
  return mappings[0];
}

}  // namespace

TEST_CASE("a mapping of a file has all its fields", "[process]") {
  const Mapping mapping = only(
      "7f1c2a400000-7f1c2a5c1000 r-xp 00023000 fd:01 1835123                    "
      "/usr/lib/libpython3.14.so.1.0\n");
  CHECK(mapping.range == RemoteRange{RemoteAddr{0x7f1c2a400000}, 0x1c1000});
  CHECK(mapping.readable);
  CHECK_FALSE(mapping.writable);
  CHECK(mapping.executable);
  CHECK(mapping.file_offset == 0x23000);
  CHECK(mapping.device_major == 0xfd);
  CHECK(mapping.device_minor == 1);
  CHECK(mapping.inode == 1835123);
  CHECK(mapping.path == "/usr/lib/libpython3.14.so.1.0");
}

TEST_CASE("anonymous memory has no path and no inode", "[process]") {
  for (const std::string text :
       {"7f00-8f00 rw-p 00000000 00:00 0", "7f00-8f00 rw-p 00000000 00:00 0 ",
        "7f00-8f00 rw-p 00000000 00:00 0 \n", "7f00-8f00 rw-s 00000000 00:00 0\n"}) {
    const Mapping mapping = only(text);
    CHECK(mapping.path.empty());
    CHECK(mapping.inode == 0);
    CHECK(mapping.writable);
  }
}

TEST_CASE("names of the kernel and of anonymous memory are kept", "[process]") {
  CHECK(only("7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0      [stack]").path == "[stack]");
  CHECK(only("7f00-8f00 rw-p 00000000 00:00 0  [anon: python heap]").path == "[anon: python heap]");
  const Mapping vsyscall =
      only("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0  [vsyscall]");
  CHECK(vsyscall.range.start == RemoteAddr{0xffffffffff600000});
  CHECK_FALSE(vsyscall.readable);
}

TEST_CASE("a path is kept as it is but for its line feeds", "[process]") {
  const std::string fields = "400000-401000 r--p 00000000 08:02 77 ";
  CHECK(only(fields + "/srv/my app/python 3").path == "/srv/my app/python 3");
  CHECK(only(fields + "/srv/python3 (deleted)").path == "/srv/python3 (deleted)");
  CHECK(only(fields + "/srv/a\\012b").path == "/srv/a\nb");
  CHECK(only(fields + "/srv/\\012\\012").path == "/srv/\n\n");
  CHECK(only(fields + "/srv/a\\011b\\").path == "/srv/a\\011b\\");  // not what the kernel escapes
  CHECK(only(fields + "/srv/ends in \\01").path == "/srv/ends in \\01");
  CHECK(only(fields + "/srv/\xff\x1b").path == "/srv/\xff\x1b");
}

TEST_CASE("lines that are no mapping are left out and cost the others nothing", "[process]") {
  const auto mappings = parse_maps(
      "1000-2000 r--p 00000000 00:00 0\n"
      "\n"
      "VmFlags: rd ex\n"
      "2000 r--p 00000000 00:00 0\n"
      "3000-2000 r--p 00000000 00:00 0\n"  // ends before it begins
      "2000-3000 r-\n"
      "2000-3000 r--p\n"
      "2000-3000 r--pp00000000 00:00 0\n"
      "2000-3000 r--p 00000000 00-00 0\n"
      "2000-3000 r--p 00000000 00:00 inode\n"
      "2000-10000000000000000 r--p 00000000 00:00 0\n"  // beyond 64 bits
      "-2000-3000 r--p 00000000 00:00 0\n"
      "4000-5000 rwxp 00000000 00:00 0");
  REQUIRE(mappings.size() == 2);
  CHECK(mappings[0].range.start == RemoteAddr{0x1000});
  CHECK(mappings[1].range.start == RemoteAddr{0x4000});
}

TEST_CASE("a list of mappings that is cut anywhere gives the whole lines before", "[process]") {
  const std::string line = "400000-401000 r-xp 00001000 08:02 77    /srv/python3\n";
  const std::string text = line + line;
  for (std::size_t size = 0; size <= text.size(); ++size) {
    const auto mappings = parse_maps(text.substr(0, size));
    CHECK(mappings.size() >= size / line.size());
    CHECK(mappings.size() <= size / line.size() + 1);
  }
}

TEST_CASE("mappings are of the same file by device and inode", "[process]") {
  const Mapping file = only("1000-2000 r--p 00000000 08:02 77 /a");
  CHECK(file.same_file(only("8000-9000 rw-p 00003000 08:02 77 /another/name")));
  CHECK_FALSE(file.same_file(only("1000-2000 r--p 00000000 08:02 78 /a")));
  CHECK_FALSE(file.same_file(only("1000-2000 r--p 00000000 08:03 77 /a")));
  CHECK_FALSE(file.same_file(only("1000-2000 r--p 00000000 09:02 77 /a")));
}
