// Records a process with everything that the fuzz targets read of one, which is more than a dump
// does.
//
//     fuzz_record PID FILE
#include <fcntl.h>
#include <sys/stat.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/unique_fd.hpp"
#include "fuzz/exploration.hpp"
#include "memory/image_memory.hpp"
#include "pyscope/capture.hpp"
#include "session/attach.hpp"
#include "target/recording.hpp"

namespace {

[[noreturn]] void wrong(const std::string& message) {
  std::fprintf(stderr, "fuzz_record: %s\n", message.c_str());
  std::exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  using namespace pyscope;
  if (argc != 3) wrong("usage: fuzz_record PID FILE");
  const std::string number = argv[1];
  const std::string path = argv[2];
  pid_t pid = 0;
  if (std::from_chars(number.data(), number.data() + number.size(), pid).ec != std::errc{})
    wrong(number + " is no PID");

  CaptureOptions options;
  options.locals = true;
  options.native = Native::Full;
  const UniqueFd file{
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, S_IRUSR | S_IWUSR)};
  options.record_to = file.get();
  if (const auto snapshot = capture(pid, options); !snapshot) wrong(snapshot.error().message);
  auto recording = read_recording(path);
  if (!recording) wrong(recording.error().message);
  const auto target = attach(pid, Log());
  if (!target) wrong(target.error().message);
  const RecordingMemory recorder(target->target->memory());
  const fuzz::ProcessSurroundings surroundings{recording->runtime, recording->facts,
                                               recording->waits, recording->maps,
                                               recording->registers};
  fuzz::explore_stacks(recorder, target->runtime.offsets, surroundings);
  fuzz::explore_paths(recorder, target->runtime.offsets, surroundings);
  recorder.image().for_each_range(
      [&](RemoteAddr at, std::span<const std::byte> bytes) { recording->memory.put(at, bytes); });
  if (auto ok = write_recording(path, *recording); !ok) wrong(ok.error().message);
  return 0;
}
