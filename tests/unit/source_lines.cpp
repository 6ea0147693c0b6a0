#include "source/source_lines.hpp"

#include <fcntl.h>
#include <malloc.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "process/rooted_open.hpp"
#include "target_root.hpp"

using namespace pyscope;
using test::TargetRoot;
namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::system_clock;

/// A reader for a process that started `later` than now, so after the files were written.
struct Sources {
  explicit Sources(const TargetRoot& target, Clock::duration later = std::chrono::hours(1))
      : reader(
            [&target](const std::string& path) {
              return open_from_working_directory(target.proc_directory(), path,
                                                 Credentials{.reads_all = true});
            },
            Clock::now() + later, log) {}
  Sources(const Sources&) = delete;  // the reader refers to the log
  Sources& operator=(const Sources&) = delete;

  /// The line's text; "changed" or "none".
  std::string line(const std::string& file, std::int32_t number) {
    const auto found = reader.line(file, number);
    if (!found) return "none";
    if (!found->changed) return "'" + found->text + "'";
    CHECK(found->text.empty());
    return "changed";
  }

  Log log;
  SourceReader reader;
};

/// The lines of a file with this content.
std::vector<std::string> lines_of(std::string_view content) {
  const TargetRoot target;
  target.write("/srv/app.py", content);
  Sources sources(target);
  std::vector<std::string> lines;
  for (std::int32_t number = 1;; ++number) {
    const std::string line = sources.line("/srv/app.py", number);
    if (line == "none") return lines;
    lines.push_back(line.substr(1, line.size() - 2));
  }
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("lines end as Python's tokenizer takes them to", "[source]") {
  CHECK(lines_of("a\nb\n") == Lines{"a", "b"});
  CHECK(lines_of("a\nb") == Lines{"a", "b"});
  CHECK(lines_of("a\r\nb\r\n") == Lines{"a", "b"});
  CHECK(lines_of("a\rb\r") == Lines{"a", "b"});
  CHECK(lines_of("a\r\rb\n\nc\n\rd") == Lines{"a", "", "b", "", "c", "", "d"});
  CHECK(lines_of("\r\n\r\n") == Lines{"", ""});
  CHECK(lines_of("a\fb\vc\xc2\x85"
                 "d\xe2\x80\xa8"
                 "e\n") == Lines{"a\fb\vc\xc2\x85"
                                 "d\xe2\x80\xa8"
                                 "e"});
  CHECK(lines_of("").empty());
}

TEST_CASE("a byte order mark is no part of the first line", "[source]") {
  CHECK(lines_of("\xef\xbb\xbfimport os\n\xef\xbb\xbf") == Lines{"import os", "\xef\xbb\xbf"});
  CHECK(lines_of("\xef\xbb\xbf").empty());
}

TEST_CASE("lines are kept as they are in the file", "[source]") {
  CHECK(lines_of("\tx = '\x1b[31m\xff'  \n") == Lines{"\tx = '\x1b[31m\xff'  "});
  CHECK(lines_of(std::string_view("a\0b\n", 4)) == Lines{std::string("a\0b", 3)});
}

TEST_CASE("of a very long line the start is kept", "[source]") {
  CHECK(lines_of(std::string(100'000, 'x') + "\ny\n") == Lines{std::string(4096, 'x'), "y"});
}

TEST_CASE("lines that a file does not have are none", "[source]") {
  const TargetRoot target;
  target.write("/srv/app.py", "one\ntwo\n");
  Sources sources(target);
  CHECK(sources.line("/srv/app.py", 2) == "'two'");
  CHECK(sources.line("/srv/app.py", 3) == "none");
  CHECK(sources.line("/srv/app.py", 0) == "none");
  CHECK(sources.line("/srv/app.py", -1) == "none");
  CHECK(sources.line("/srv/missing.py", 1) == "none");
}

TEST_CASE("names that are no files are not looked for", "[source]") {
  const TargetRoot target;
  target.write("/srv/work/<stdin>", "a file of this name\n");
  target.write("/srv/work/<half", "half\n");
  Sources sources(target);
  CHECK(sources.line("<stdin>", 1) == "none");
  CHECK(sources.line("", 1) == "none");
  CHECK(sources.line(std::string("/srv/work/<half\0>", 17), 1) == "none");
  CHECK(sources.line("<half", 1) == "'half'");
}

TEST_CASE("bytes of a name that were no UTF-8 are found again", "[source]") {
  const TargetRoot target;
  target.write("/srv/caf\xe9.py", "latin\n");
  target.write("/srv/\x80\xff.py", "both ends\n");
  target.write("/srv/caf\xc3\xa9.py", "utf-8\n");
  Sources sources(target);
  // os.fsdecode makes lone surrogates of them: U+DCE9, U+DC80 and U+DCFF.
  CHECK(sources.line("/srv/caf\xed\xb3\xa9.py", 1) == "'latin'");
  CHECK(sources.line("/srv/\xed\xb2\x80\xed\xb3\xbf.py", 1) == "'both ends'");
  CHECK(sources.line("/srv/caf\xc3\xa9.py", 1) == "'utf-8'");
  // Other surrogates stand for nothing, and neither does half of one.
  CHECK(sources.line("/srv/caf\xed\xb0\xa9.py", 1) == "none");
  CHECK(sources.line("/srv/caf\xed\xb3", 1) == "none");
}

TEST_CASE("a file that is newer than the process may have changed", "[source]") {
  const TargetRoot target;
  const fs::path file = target.write("/srv/app.py", "one\n");
  CHECK(Sources(target, std::chrono::hours(1)).line("/srv/app.py", 1) == "'one'");
  CHECK(Sources(target, -std::chrono::hours(1)).line("/srv/app.py", 1) == "changed");
  CHECK(Sources(target, -std::chrono::hours(1)).line("/srv/app.py", 99) == "changed");
  // An old time of modification is easily given to a new file.
  fs::last_write_time(file, fs::file_time_type::clock::now() - std::chrono::hours(5));
  CHECK(Sources(target, -std::chrono::hours(1)).line("/srv/app.py", 1) == "changed");
  fs::last_write_time(file, fs::file_time_type::clock::now() + std::chrono::hours(5));
  CHECK(Sources(target, std::chrono::hours(1)).line("/srv/app.py", 1) == "changed");
}

TEST_CASE("a file is read once", "[source]") {
  const TargetRoot target;
  target.write("/srv/app.py", "one\ntwo\n");
  Sources sources(target);
  CHECK(sources.line("/srv/app.py", 1) == "'one'");
  target.write("/srv/app.py", "other\nother\n");
  CHECK(sources.line("/srv/app.py", 2) == "'two'");
  CHECK(Sources(target).line("/srv/app.py", 2) == "'other'");
}

TEST_CASE("files that are too large are not read", "[source]") {
  const TargetRoot target;
  constexpr std::uintmax_t kLargest = 16U << 20U;
  const fs::path file = target.write("/srv/app.py", "one\n");
  fs::resize_file(file, kLargest + 1);
  CHECK(Sources(target).line("/srv/app.py", 1) == "none");
  fs::resize_file(file, kLargest);
  CHECK(Sources(target).line("/srv/app.py", 1) == "'one'");
}

TEST_CASE("all files together are read up to a limit", "[source]") {
  const TargetRoot target;
  Sources sources(target);
  for (int i = 0; i < 9; ++i) {
    const std::string name = "/srv/" + std::to_string(i) + ".py";
    fs::resize_file(target.write(name, "one\n"), 16U << 20U);
    CHECK(sources.line(name, 1) == (i < 8 ? "'one'" : "none"));
  }
  target.write("/srv/small.py", "small\n");
  CHECK(sources.line("/srv/small.py", 1) == "none");
}

TEST_CASE("what is no regular file has no lines", "[source]") {
  const TargetRoot target;
  const std::string fifo = target.root() / "srv/fifo.py";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  fs::create_symlink("loop.py", target.root() / "srv/loop.py");
  Sources sources(target);
  CHECK(sources.line("/srv/fifo.py", 1) == "none");
  CHECK(sources.line("/srv/loop.py", 1) == "none");
  CHECK(sources.line("/srv", 1) == "none");
}

TEST_CASE("frames get the lines that they are at", "[source]") {
  const TargetRoot target;
  target.write("/srv/app.py", "one\ntwo\nthree\n");
  target.write("/srv/work/run.py", "run\n");
  Snapshot snapshot;
  snapshot.codes = {{"f", "f", "/srv/app.py", 1},
                    {"g", "g", "run.py", 1},
                    {"h", "h", "/srv/app.py", 2},
                    {"i", "i", "<frozen os>", 1}};
  const auto frame = [](std::uint32_t code, std::optional<std::int32_t> line) {
    Frame made;
    made.code = code;
    made.position.line = line;
    return made;
  };
  Frame shim;
  shim.kind = FrameKind::Shim;
  snapshot.threads.resize(2);
  snapshot.threads[0].frames = {frame(0, 2), shim, frame(1, 1), frame(0, 9), frame(0, {})};
  snapshot.threads[1].frames = {frame(0, 2), frame(3, 1), frame(2, 3)};
  Sources sources(target);
  add_source_lines(snapshot, sources.reader);
  const auto text_of = [&](std::size_t thread, std::size_t index) {
    const auto source = snapshot.threads[thread].frames[index].source;
    return source ? snapshot.sources.at(*source).text : "none";
  };
  CHECK(text_of(0, 0) == "two");
  CHECK(text_of(0, 1) == "none");
  CHECK(text_of(0, 2) == "run");
  CHECK(text_of(0, 3) == "none");
  CHECK(text_of(0, 4) == "none");
  CHECK(text_of(1, 0) == "two");
  CHECK(text_of(1, 1) == "none");
  CHECK(text_of(1, 2) == "three");
  CHECK(snapshot.sources.size() == 3);  // the same line of the same code once
}

TEST_CASE("a file of line ends takes no more memory than its text", "[source]") {
  const TargetRoot target;
  constexpr std::size_t kLines = std::size_t{8} << 20U;
  target.write("/srv/app.py", std::string(kLines, '\n') + "last");
  Sources sources(target);
  const auto allocated = [] {
    const struct mallinfo2 now = ::mallinfo2();
    return now.uordblks + now.hblkhd;
  };
  const std::size_t before = allocated();
  CHECK(sources.line("/srv/app.py", 1) == "''");
  CHECK(sources.line("/srv/app.py", static_cast<std::int32_t>(kLines) + 1) == "'last'");
  CHECK(sources.line("/srv/app.py", static_cast<std::int32_t>(kLines) + 2) == "none");
  CHECK(allocated() - before < 4 * kLines);
}

TEST_CASE("a file that could not be opened is tried again for the next snapshot", "[source]") {
  const TargetRoot target;
  Sources sources(target);
  CHECK(sources.line("/srv/app.py", 1) == "none");
  target.write("/srv/app.py", "first");
  CHECK(sources.line("/srv/app.py", 1) == "none");
  sources.reader.forget_failures();
  CHECK(sources.line("/srv/app.py", 1) == "'first'");
}
