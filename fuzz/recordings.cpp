#include "fuzz/recordings.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <unordered_set>

#include "fuzz/promises.hpp"
#include "python/unpublished_offsets.hpp"

namespace pyscope::fuzz {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr const char* kFolder = "PYSCOPE_FUZZ_RECORDINGS";

void look_through(Seed& seed) {
  std::unordered_set<std::uint64_t> recorded;  // pages of which there is something
  std::vector<std::pair<std::uint64_t, std::uint64_t>> words;
  seed.recording.memory.for_each_range([&](RemoteAddr at, std::span<const std::byte> bytes) {
    for (std::uint64_t page = at.raw() / kPage; page * kPage < at.raw() + bytes.size(); ++page)
      recorded.insert(page);
    for (std::uint64_t i = (8 - at.raw() % 8) % 8; i + 8 <= bytes.size(); i += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data() + i, sizeof word);
      if (word != 0) words.emplace_back(at.raw() + i, word);
    }
  });
  const std::uint64_t to_type = seed.offsets[Field::ObjectObType];
  const auto type_at = [&](std::uint64_t object) {
    return read_as<std::uint64_t>(seed.recording.memory, RemoteAddr{object}, to_type).value_or(0);
  };
  std::unordered_set<std::uint64_t> types;
  std::unordered_set<std::uint64_t> looked_at;
  for (const auto& [at, word] : words) {
    seed.words.push_back(at);
    if (!recorded.contains(word / kPage)) continue;
    seed.pointers.push_back(at);
    // A type is an object whose type is `type`, which is its own.
    if (!looked_at.insert(word).second) continue;
    const std::uint64_t meta = type_at(word);
    if (meta != 0 && type_at(meta) == meta) types.insert(word);
  }
  for (const auto& [at, word] : words) {
    if (types.contains(word)) seed.headers.push_back(at);
  }
  seed.types.assign(types.begin(), types.end());
  std::sort(seed.types.begin(), seed.types.end());
  seed.landmarks = find_landmarks(seed.recording.memory, seed.offsets, seed.surroundings());
  if (seed.headers.empty() || seed.landmarks.frames.empty() || seed.landmarks.threads.empty())
    broken("a recording has objects and a stack");
}

std::vector<Seed> load() {
  const char* folder = std::getenv(kFolder);
  if (folder == nullptr) broken("PYSCOPE_FUZZ_RECORDINGS names a folder of recordings");
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<Seed> loaded;
  for (const std::string& path : paths) {
    auto recording = read_recording(path);
    if (!recording) broken("a recording can be read", recording.error().message);
    std::array<std::byte, DebugOffsets::kMaxSize> table{};
    if (!recording->memory.read(recording->runtime, table)) broken("a recording has the table");
    auto offsets = DebugOffsets::decode_version(table)
                       ? DebugOffsets::decode(table)
                       : identify_runtime(recording->memory, recording->runtime, std::nullopt);
    if (!offsets) broken("the table of a recording is valid", offsets.error().message);
    Seed seed{*std::move(recording), *std::move(offsets), {}, {}, {}, {}, {}};
    look_through(seed);
    loaded.push_back(std::move(seed));
  }
  if (loaded.empty()) broken("there is a recording");
  return loaded;
}

}  // namespace

const std::vector<Seed>& seeds() {
  static const std::vector<Seed> loaded = load();
  return loaded;
}

const std::vector<Seed>& seeds_if_any() {
  static const std::vector<Seed> none;
  return std::getenv(kFolder) == nullptr ? none : seeds();
}

std::uint64_t AlteredMemory::word(std::uint64_t at) const {
  const auto changed = changes_.find(at);
  return changed != changes_.end()
             ? changed->second
             : read_as<std::uint64_t>(seed_.recording.memory, RemoteAddr{at}).value_or(0);
}

void AlteredMemory::read_many(std::span<ReadRequest> requests) const {
  ++calls_;
  seed_.recording.memory.read_many(requests);
  for (ReadRequest& request : requests) {
    if (request.status == ReadStatus::Fault) read_elsewhere(request);
    if (request.status == ReadStatus::Ok && !(changes_while_read_ && calls_ % 2 == 0))
      apply(request);
  }
}

void AlteredMemory::read_elsewhere(ReadRequest& request) const {
  const std::uint64_t begin = request.at.raw();
  constexpr std::uint64_t kUserSpace = std::uint64_t{1} << 47U;
  if (elsewhere_ == Elsewhere::Fault || begin < kPage || begin >= kUserSpace ||
      request.out.size() >= kUserSpace - begin) {
    return;
  }
  for (std::uint64_t done = 0; done < request.out.size();) {
    const std::uint64_t at = begin + done;
    const auto piece =
        request.out.subspan(done, std::min(kPage - at % kPage, request.out.size() - done));
    done += piece.size();
    if (seed_.recording.memory.read(RemoteAddr{at}, piece)) continue;
    std::fill(piece.begin(), piece.end(), std::byte{0});
    if (elsewhere_ == Elsewhere::Zeros) continue;
    // Always the same page at the same address.
    const std::uint64_t page =
        seed_.words[at / kPage * 2654435761U % seed_.words.size()] / kPage * kPage;
    (void)seed_.recording.memory.read(RemoteAddr{page + at % kPage}, piece);
  }
  request.status = ReadStatus::Ok;
}

void AlteredMemory::apply(ReadRequest& request) const {
  const std::uint64_t begin = request.at.raw();
  const std::uint64_t end = begin + request.out.size();
  for (auto change = changes_.lower_bound(begin < 8 ? 0 : begin - 7);
       change != changes_.end() && change->first < end; ++change) {
    std::array<std::byte, 8> bytes{};
    std::memcpy(bytes.data(), &change->second, bytes.size());
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const std::uint64_t at = change->first + i;
      if (at >= begin && at < end) request.out[at - begin] = bytes[i];
    }
  }
}

void LayeredMemory::read_many(std::span<ReadRequest> requests) const {
  above_.read_many(requests);
  for (ReadRequest& request : requests) {
    if (request.status == ReadStatus::Fault) below_.read_many({&request, 1});
  }
}

}  // namespace pyscope::fuzz
