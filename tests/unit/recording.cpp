#include "target/recording.hpp"

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "scratch_folder.hpp"

using namespace pyscope;
using test::ScratchFolder;

namespace {

using Ranges = std::vector<std::pair<std::uint64_t, std::string>>;

Ranges ranges_of(const ImageMemory& memory) {
  Ranges ranges;
  memory.for_each_range([&](RemoteAddr at, std::span<const std::byte> bytes) {
    std::string text;
    for (const std::byte byte : bytes)
      text += static_cast<char>(byte);
    ranges.emplace_back(at.raw(), text);
  });
  return ranges;
}

void put(ImageMemory& memory, std::uint64_t at, const std::string& text) {
  memory.put(RemoteAddr{at}, std::as_bytes(std::span{text}));
}

Task make_task(pid_t tid, const std::string& name) {
  Task task;
  task.tid = tid;
  task.namespace_tid = tid - 4000;
  task.os_name = name;
  task.state = 'S';
  task.cpu_time_us = 123'456;
  return task;
}

Recording make_recording() {
  Recording recording;
  recording.runtime = RemoteAddr{0x55aa00112240};
  ProcessFacts& facts = recording.facts;
  facts.pid = 4711;
  facts.namespace_pid = 711;
  facts.host = "web-3";
  facts.command = {"python3", "app.py", "--port=80"};
  facts.executable = "/usr/bin/python3.14";
  facts.started_at = std::chrono::system_clock::time_point(std::chrono::microseconds(1'700'000));
  facts.captured_at = std::chrono::system_clock::time_point(std::chrono::microseconds(1'800'001));
  facts.tasks = {make_task(4711, "python3"), make_task(4712, "loader")};
  facts.tasks[1].system_call = SystemCall{202, {0x7f8a'e400'0b60, 0x189, 0, 0, 0, ~0ULL}};
  recording.waits = {{4711, {"socket", "recvfrom", 12, "unix stream /run/a b%\n", {}, {}}},
                     {4712, {"sleep", "clock_nanosleep", {}, "", 2'000'000, 1}}};
  put(recording.memory, 0x1000, "first");
  put(recording.memory, 0x7ffd'0000'0ff0, "across the end of a page");
  return recording;
}

Recording read_back(const Recording& recording) {
  const ScratchFolder folder;
  const std::string path = folder.path() / "recording";
  REQUIRE(write_recording(path, recording));
  auto read = read_recording(path);
  REQUIRE(read);
  return *std::move(read);
}

/// What becomes of recordings with other texts.
class Texts {
 public:
  [[nodiscard]] Result<Recording> read(const std::string& text) const {
    return read_recording(folder_.write("recording", text));
  }

 private:
  ScratchFolder folder_;
};

std::string text_of(const Recording& recording) {
  const ScratchFolder folder;
  const std::string path = folder.path() / "recording";
  REQUIRE(write_recording(path, recording));
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("a recording is read as it was written", "[recording]") {
  const Recording written = make_recording();
  const Recording read = read_back(written);
  CHECK(read.runtime == written.runtime);
  CHECK(read.facts.pid == 4711);
  CHECK(read.facts.namespace_pid == 711);
  CHECK(read.facts.host == "web-3");
  CHECK(read.facts.command == written.facts.command);
  CHECK(read.facts.executable == "/usr/bin/python3.14");
  CHECK(read.facts.started_at == written.facts.started_at);
  CHECK(read.facts.captured_at == written.facts.captured_at);
  CHECK(ranges_of(read.memory) == ranges_of(written.memory));
  REQUIRE(read.facts.tasks.size() == 2);
  const Task& task = read.facts.tasks[1];
  CHECK(task.tid == 4712);
  CHECK(task.namespace_tid == 712);
  CHECK(task.os_name == "loader");
  CHECK(task.state == 'S');
  CHECK(task.cpu_time_us == 123'456);
  REQUIRE(task.system_call);
  CHECK(task.system_call->number == 202);
  CHECK(task.system_call->arguments == written.facts.tasks[1].system_call->arguments);
  CHECK_FALSE(read.facts.tasks[0].system_call);
  REQUIRE(read.waits.size() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(read.waits[i].tid == written.waits[i].tid);
    CHECK(read.waits[i].wait == written.waits[i].wait);
  }
}

TEST_CASE("a system call without a number is recorded too", "[recording]") {
  Recording recording = make_recording();
  recording.facts.tasks[0].system_call = SystemCall{};
  const Recording read = read_back(recording);
  REQUIRE(read.facts.tasks[0].system_call);
  CHECK(read.facts.tasks[0].system_call->number == -1);
}

TEST_CASE("names may hold any bytes", "[recording]") {
  const std::string name =
      GENERATE(as<std::string>(), "", " ", "%", "%2", "%41", "100%", "a b\tc\nd", "memory 0 10",
               "\xff\xfe\x80", "\x01\x1b\x7f", "Wörker");
  CAPTURE(name);
  Recording recording = make_recording();
  recording.facts.host = name;
  recording.facts.executable = name;
  recording.facts.command = {name, "", name};
  recording.facts.tasks[1].os_name = name;
  const Recording read = read_back(recording);
  CHECK(read.facts.host == name);
  CHECK(read.facts.executable == name);
  CHECK(read.facts.command == recording.facts.command);
  CHECK(read.facts.tasks.at(1).os_name == name);
  CHECK(read.facts.tasks.at(1).system_call.has_value());
}

TEST_CASE("a name with a zero byte is kept whole", "[recording]") {
  Recording recording = make_recording();
  recording.facts.command = {std::string("a\0b", 3)};
  CHECK(read_back(recording).facts.command == recording.facts.command);
}

TEST_CASE("memory may look like a recording itself", "[recording]") {
  Recording recording = make_recording();
  const std::string text = "\nmemory 5000 3\nabc\nruntime 1\n";
  put(recording.memory, 0x9000, text);
  const Recording read = read_back(recording);
  CHECK(read.runtime == recording.runtime);
  CHECK(ranges_of(read.memory) == ranges_of(recording.memory));
}

TEST_CASE("what is no recording is refused", "[recording]") {
  const Texts texts;
  for (const std::string text :
       {"", "\n", "pyscope-recording 2\n", "pyscope-recording 1 \nruntime 1000\n",
        "\x7f"
        "ELF"}) {
    const auto read = texts.read(text);
    REQUIRE_FALSE(read);
    CHECK(read.error().kind == ErrorKind::Failed);
  }
  const ScratchFolder folder;
  CHECK_FALSE(read_recording(folder.path() / "missing"));
  CHECK_FALSE(read_recording(folder.path()));
}

TEST_CASE("a recording that is cut within its memory is refused", "[recording]") {
  const Texts texts;
  const std::string text = text_of(make_recording());
  const std::size_t memory = text.find("\nmemory ") + 1;
  const std::size_t second = text.find("memory ", memory + 1);
  for (std::size_t size = 0; size < text.size(); ++size) {
    const auto read = texts.read(text.substr(0, size));
    const std::string_view first_line = "pyscope-recording 1";
    CAPTURE(size);
    if (size < first_line.size()) {
      CHECK_FALSE(read);
    } else if (size > memory + 20 && size < second) {
      REQUIRE_FALSE(read);
      CHECK(read.error().message == "a recording that is cut short");
    }
  }
}

TEST_CASE("absurd sizes in a recording are refused without reading them", "[recording]") {
  const Texts texts;
  const std::string header = "pyscope-recording 1\n";
  for (const std::string size :
       {"1073741825", "18446744073709551615", "99999999999999999999", "-1", "none", ""}) {
    CAPTURE(size);
    CHECK_FALSE(texts.read(header + "memory 1000 " + size + "\nabc\n"));
  }
  CHECK_FALSE(texts.read(header + "memory 1000 2\nabc\n"));
  CHECK_FALSE(texts.read(header + "memory 1000 4\nabc\n"));
  CHECK_FALSE(texts.read(header + "memory 1000 1000000000\nabc\n"));
}

TEST_CASE("lines of a recording that are not known are passed over", "[recording]") {
  const Texts texts;
  const auto read = texts.read(
      "pyscope-recording 1\n"
      "\n"
      "colour blue\n"
      "runtime\n"
      "process none\n"
      "task\n"
      "captured yesterday\n"
      "memory 1000 3\nabc\n"
      "memory fffffffffffffffe 3\nabc\n"
      "memory zzz 3\nabc\n"
      "host web-4\n");
  REQUIRE(read);
  CHECK(read->facts.host == "web-4");
  CHECK(ranges_of(read->memory) == Ranges{{0, "abc"}, {0x1000, "abc"}});
}

TEST_CASE("a time that the clock can not hold is passed over", "[recording]") {
  const Texts texts;
  const auto read = [&](const std::string& microseconds) {
    const auto recording = texts.read("pyscope-recording 1\ncaptured " + microseconds +
                                      "\nstarted " + microseconds + "\n");
    REQUIRE(recording);
    return recording->facts;
  };
  const std::string last = "9223372036854775";
  CHECK(std::to_string(
            std::chrono::floor<std::chrono::microseconds>(read(last).captured_at.time_since_epoch())
                .count()) == last);
  for (const char* time :
       {"9223372036854776", "9223372036854775807", "-1", "-9223372036854775808"}) {
    CAPTURE(time);
    CHECK(read(time).captured_at == std::chrono::system_clock::time_point{});
    CHECK_FALSE(read(time).started_at);
  }
}

TEST_CASE("a recording that can not be written is an error", "[recording]") {
  const ScratchFolder folder;
  const auto ok = write_recording(folder.path() / "missing" / "recording", make_recording());
  REQUIRE_FALSE(ok);
  CHECK(ok.error().kind == ErrorKind::Failed);
  CHECK_FALSE(write_recording("/dev/full", make_recording()));
}

TEST_CASE("what is no regular file is no recording, and is not read", "[recording]") {
  const auto read = read_recording("/dev/zero");
  REQUIRE_FALSE(read);
  CHECK(read.error().message == "/dev/zero is no regular file, and no recording");
}

TEST_CASE("a recording has a limit on its lines and on its memory", "[recording]") {
  const Texts texts;
  const std::string header = "pyscope-recording 1\n";
  CHECK_FALSE(texts.read(std::string(std::size_t{9} << 20U, 'x')));
  const auto long_line = texts.read(header + "host " + std::string(std::size_t{9} << 20U, 'x'));
  REQUIRE_FALSE(long_line);
  CHECK(long_line.error().message == "a recording with a line that is too long");
  const auto many = texts.read(header + std::string(2'000'000, '\n'));
  REQUIRE_FALSE(many);
  CHECK(many.error().message == "a recording of too many lines");
  const auto large = texts.read(header + "memory 1000 1\na\nmemory 2000 536870912\n");
  REQUIRE_FALSE(large);
  CHECK(large.error().message == "a recording with a range that is too large");
}
