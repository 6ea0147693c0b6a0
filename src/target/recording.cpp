#include "target/recording.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <vector>

#include "base/unique_fd.hpp"
#include "process/system_calls.hpp"

namespace pyscope {
namespace {

constexpr std::string_view kHeader = "pyscope-recording 1";
// Bound (bytes): memory of a recording that is read again
constexpr std::uint64_t kMaxMemory = std::uint64_t{512} << 20U;  // of all ranges
// Bound (bytes): line of a recording
constexpr std::size_t kMaxLine = std::size_t{8} << 20U;
// Bound: lines of a recording
constexpr std::size_t kMaxLines = 1'000'000;
constexpr std::string_view kEmptyWord = "%";  // what no encoded value is

/// False with errno set if not all of it could be written.
bool write_all(int file, std::string_view rest) {
  while (!rest.empty()) {
    const ssize_t n = ::write(file, rest.data(), rest.size());
    if (n > 0) rest.remove_prefix(static_cast<std::size_t>(n));
    if (n < 0 && errno != EINTR) return false;
  }
  return true;
}

// Values may hold any byte: those that would end a word or a line are written as %XX.
std::string encode(std::string_view value) {
  std::string text;
  for (const char c : value) {
    if (c > ' ' && c < 0x7F && c != '%') {
      text += c;
    } else {
      text += fmt::format("%{:02x}", static_cast<unsigned char>(c));
    }
  }
  return text;
}

std::string decode(std::string_view text) {
  std::string value;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned byte = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 3, byte, 16).ec == std::errc{}) {
      value += static_cast<char>(byte);
      i += 2;
    } else {
      value += text[i];
    }
  }
  return value;
}

std::int64_t to_microseconds(std::chrono::system_clock::time_point time) {
  return std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count();
}

/// Empty for what the clock can't hold, which counts nanoseconds: no recording of ours has that.
std::optional<std::chrono::system_clock::time_point> from_microseconds(std::int64_t microseconds) {
  using Time = std::chrono::system_clock::time_point;
  constexpr auto kLast = std::chrono::floor<std::chrono::microseconds>(Time::max());
  if (microseconds < 0 || microseconds > kLast.time_since_epoch().count()) return std::nullopt;
  return Time{std::chrono::microseconds(microseconds)};
}

std::uint64_t parse_address(const std::string& word) {
  std::uint64_t value = 0;
  std::from_chars(word.data(), word.data() + word.size(), value, 16);
  return value;
}

/// A line without its end. False at the end of the file, and for a line that is too long.
bool read_line(std::istream& file, std::string& line) {
  line.clear();
  for (int c = file.get(); c != std::istream::traits_type::eof(); c = file.get()) {
    if (c == '\n') return true;
    if (line.size() == kMaxLine) {
      file.setstate(std::ios::badbit);
      return false;
    }
    line += static_cast<char>(c);
  }
  return !line.empty();
}

/// As a word of a line, which can't be empty.
std::string to_word(std::string_view value) {
  return value.empty() ? std::string(kEmptyWord) : encode(value);
}

template <class T>
std::string to_word(const std::optional<T>& value) {
  return value ? fmt::to_string(*value) : std::string(kEmptyWord);
}

std::string read_text(std::istringstream& line) {
  std::string word;
  line >> word;
  return word == kEmptyWord ? std::string{} : decode(word);
}

template <class T>
std::optional<T> read_number(std::istringstream& line) {
  std::string word;
  line >> word;
  T value{};
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  return error == std::errc{} ? std::optional(value) : std::nullopt;
}

void read_wait(std::istringstream& line, Recording& recording) {
  RecordedWait recorded;
  line >> recorded.tid;
  recorded.wait.kind = read_text(line);
  recorded.wait.system_call = read_text(line);
  recorded.wait.fd = read_number<int>(line);
  recorded.wait.target = read_text(line);
  recorded.wait.timeout_us = read_number<std::uint64_t>(line);
  recorded.wait.left_us = read_number<std::uint64_t>(line);
  recording.waits.push_back(std::move(recorded));
}

void read_map(std::istringstream& line, Recording& recording) {
  std::string start;
  std::string size;
  std::string flags;
  Mapping mapping;
  line >> start >> size >> flags >> mapping.file_offset >> mapping.device_major >>
      mapping.device_minor >> mapping.inode;
  mapping.range = {RemoteAddr{parse_address(start)}, parse_address(size)};
  mapping.readable = flags.find('r') != std::string::npos;
  mapping.writable = flags.find('w') != std::string::npos;
  mapping.executable = flags.find('x') != std::string::npos;
  mapping.path = read_text(line);
  // In order and apart from each other, as the kernel's are.
  const auto& maps = recording.maps;
  const bool in_order =
      maps.empty() ||
      (mapping.range.start > maps.back().range.start &&
       mapping.range.start.raw() - maps.back().range.start.raw() >= maps.back().range.size);
  if (in_order) recording.maps.push_back(std::move(mapping));
}

void read_registers(std::istringstream& line, Recording& recording) {
  pid_t tid = 0;
  std::string architecture;
  line >> tid >> architecture;
  if (architecture != Registers::kArchitecture) return;
  std::array<std::uint64_t, Registers::kWords> words{};
  std::string word;
  for (auto& value : words) {
    if (line >> word) value = parse_address(word);
  }
  Registers& registers = recording.registers[tid];
  std::memcpy(&registers.raw, words.data(), sizeof registers.raw);
}

std::int64_t system_call_number(const std::string& word) {
  constexpr std::int64_t kUnknownHere = std::numeric_limits<std::int32_t>::max();
  if (const BlockingCall* call = find_blocking_call(word)) return call->number;
  std::int64_t number = 0;
  const char* end = word.data() + word.size();
  return std::from_chars(word.data(), end, number).ptr == end ? number : kUnknownHere;
}

void read_task(std::istringstream& line, ProcessFacts& facts) {
  Task task;
  std::string state;
  line >> task.tid >> task.namespace_tid >> state >> task.cpu_time_us;
  task.state = state.empty() ? '?' : state.front();
  task.os_name = read_text(line);
  SystemCall call;
  std::string name;
  if (line >> name) {
    call.number = system_call_number(name);
    std::string argument;
    for (auto& value : call.arguments) {
      if (line >> argument) value = parse_address(argument);
    }
    task.system_call = call;
  }
  facts.tasks.push_back(std::move(task));
}

}  // namespace

Result<void> write_recording(int file, const Recording& recording) {
  std::string text = fmt::format("{}\nruntime {:x}\n", kHeader, recording.runtime.raw());
  const ProcessFacts& facts = recording.facts;
  text += fmt::format("process {} {}\nhost {}\nexecutable {}\ncaptured {}\n", facts.pid,
                      facts.namespace_pid, encode(facts.host), encode(facts.executable),
                      to_microseconds(facts.captured_at));
  if (facts.started_at) text += fmt::format("started {}\n", to_microseconds(*facts.started_at));
  for (const std::string& word : facts.command)
    text += fmt::format("command {}\n", encode(word));
  for (const Task& task : facts.tasks) {
    text += fmt::format("task {} {} {} {} {}", task.tid, task.namespace_tid, task.state,
                        task.cpu_time_us, to_word(task.os_name));
    if (task.system_call) {
      // By its name, as the processor that reads the recording may number them otherwise.
      const BlockingCall* known = find_blocking_call(task.system_call->number);
      text += known != nullptr ? fmt::format(" {}", known->name)
                               : fmt::format(" {}", task.system_call->number);
      for (const std::uint64_t argument : task.system_call->arguments) {
        text += fmt::format(" {:x}", argument);
      }
    }
    text += '\n';
  }
  for (const auto& [tid, wait] : recording.waits) {
    text += fmt::format("wait {} {} {} {} {} {} {}\n", tid, to_word(wait.kind),
                        to_word(wait.system_call), to_word(wait.fd), to_word(wait.target),
                        to_word(wait.timeout_us), to_word(wait.left_us));
  }
  for (const Mapping& mapping : recording.maps) {
    text +=
        fmt::format("map {:x} {:x} {}{}{}- {} {} {} {} {}\n", mapping.range.start.raw(),
                    mapping.range.size, mapping.readable ? "r" : "", mapping.writable ? "w" : "",
                    mapping.executable ? "x" : "", mapping.file_offset, mapping.device_major,
                    mapping.device_minor, mapping.inode, to_word(mapping.path));
  }
  for (const auto& [tid, registers] : recording.registers) {
    text += fmt::format("registers {} {}", tid, Registers::kArchitecture);
    std::array<std::uint64_t, Registers::kWords> words{};
    std::memcpy(words.data(), &registers.raw, sizeof registers.raw);
    for (const std::uint64_t word : words)
      text += fmt::format(" {:x}", word);
    text += '\n';
  }
  bool written = write_all(file, text);
  recording.memory.for_each_range([&](RemoteAddr at, std::span<const std::byte> bytes) {
    // A char may alias any object.
    const std::string_view content(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    written = written && write_all(file, fmt::format("memory {:x} {}\n", at.raw(), bytes.size())) &&
              write_all(file, content) && write_all(file, "\n");
  });
  if (!written) {
    return fail(ErrorKind::Failed,
                fmt::format("the recording can't be written: {}", std::strerror(errno)));
  }
  return {};
}

Result<void> write_recording(const std::string& path, const Recording& recording) {
  const UniqueFd file{::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
                             S_IRUSR | S_IWUSR)};
  if (file) return write_recording(file.get(), recording);
  return fail(ErrorKind::Failed,
              fmt::format("the recording {} can't be written: {}", path, std::strerror(errno)));
}

Result<Recording> read_recording(const std::string& path) {
  // A device or a FIFO may go on for ever.
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    return fail(ErrorKind::Failed, fmt::format("{} is no regular file, and no recording", path));
  }
  std::ifstream file(path, std::ios::binary);
  return read_recording(file, path);
}

Result<Recording> read_recording(std::istream& file, const std::string& name) {
  std::string text;
  if (!read_line(file, text) || text != kHeader) {
    return fail(ErrorKind::Failed, fmt::format("{} can't be opened, or is no recording", name));
  }
  Recording recording;
  std::uint64_t memory_left = kMaxMemory;
  for (std::size_t lines = 0; read_line(file, text); ++lines) {
    if (lines == kMaxLines) return fail(ErrorKind::Failed, "a recording of too many lines");
    std::istringstream line(text);
    std::string key;
    std::string word;
    std::int64_t number = 0;
    line >> key;
    if (key == "runtime" && line >> word) {
      recording.runtime = RemoteAddr{parse_address(word)};
    } else if (key == "process") {
      line >> recording.facts.pid >> recording.facts.namespace_pid;
    } else if (key == "host" && line >> word) {
      recording.facts.host = decode(word);
    } else if (key == "executable" && line >> word) {
      recording.facts.executable = decode(word);
    } else if (key == "captured" && line >> number) {
      recording.facts.captured_at = from_microseconds(number).value_or(recording.facts.captured_at);
    } else if (key == "started" && line >> number) {
      recording.facts.started_at = from_microseconds(number);
    } else if (key == "command") {
      word.clear();
      line >> word;
      recording.facts.command.push_back(decode(word));
    } else if (key == "task") {
      read_task(line, recording.facts);
    } else if (key == "wait") {
      read_wait(line, recording);
    } else if (key == "map") {
      read_map(line, recording);
    } else if (key == "registers") {
      read_registers(line, recording);
    } else if (key == "memory") {
      std::uint64_t size = 0;
      line >> word >> size;
      if (size > memory_left)
        return fail(ErrorKind::Failed, "a recording with a range that is too large");
      memory_left -= size;
      // In pieces: the size may be far beyond what the file holds.
      constexpr std::uint64_t kPiece = std::uint64_t{1} << 20U;
      std::vector<char> piece(std::min(size, kPiece));
      for (std::uint64_t at = parse_address(word); size != 0;) {
        const auto bytes = std::span{piece}.first(std::min(size, kPiece));
        if (!file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) break;
        recording.memory.put(RemoteAddr{at}, std::as_bytes(bytes));
        at += bytes.size();
        size -= bytes.size();
      }
      if (!file || file.get() != '\n')
        return fail(ErrorKind::Failed, "a recording that is cut short");
    }
  }
  if (file.bad()) return fail(ErrorKind::Failed, "a recording with a line that is too long");
  return recording;
}

}  // namespace pyscope
