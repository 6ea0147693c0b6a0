#include "passes/native_frames.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/file_name.hpp"
#include "native/machinery.hpp"
#include "native/merge.hpp"

namespace pyscope {
namespace {

using From = MergedFrame::From;

// Unwinding tables and what names functions in memory, for all threads.
// Bound (bytes): copies of memory for unwinding
constexpr std::size_t kMostMemory = std::size_t{64} << 20U;

}  // namespace

NativeFrames::NativeFrames(const BudgetedMemory& memory, const Target& target,
                           const Runtime& runtime, std::span<const Mapping> maps, Native mode,
                           std::vector<NativeLocation>& locations, const Log& log)
    : mode_(mode),
      locations_(locations),
      cache_(memory, kMostMemory),
      images_(cache_, maps),
      symbols_(target, images_, log),
      unwinder_(
          cache_, images_,
          [this](RemoteAddr image, const char* name) {
            return symbols_.section_of_file(image, name);
          },
          [this](RemoteAddr pc) { return symbols_.registered_unwind_table(pc); }),
      interpreter_(images_.mapping(runtime.at)) {
  if (interpreter_ != nullptr && interpreter_->inode == 0) interpreter_ = nullptr;
  if (interpreter_ != nullptr && symbols_.section_of_file(runtime.at, ".PyRuntime")) return;
  // The program has a copy of _PyRuntime; the code is that of the library.
  const auto library = std::find_if(maps.begin(), maps.end(), [](const Mapping& mapping) {
    return mapping.executable && mapping.inode != 0 &&
           file_name(mapping.path).starts_with("libpython");
  });
  if (library != maps.end()) interpreter_ = images_.mapping(library->range.start);
}

std::uint32_t NativeFrames::location_of(const UnwoundFrame& frame) {
  const RemoteAddr instruction = frame.instruction();
  const auto [entry, is_new] =
      known_.try_emplace(instruction, static_cast<std::uint32_t>(locations_.size()));
  if (is_new) {
    NativeSymbol symbol = symbols_.find(instruction);
    // The frame's own name (__restore_rt) is seldom known, and tells less.
    if (frame.signal) symbol.function = "<signal handler called>";
    locations_.push_back({.function = std::move(symbol.function),
                          .module = std::move(symbol.module),
                          .offset = symbol.offset,
                          .file = std::move(symbol.file),
                          .line = symbol.line});
  }
  return entry->second;
}

bool NativeFrames::is_interpreter(RemoteAddr instruction) const {
  const Mapping* mapping = images_.mapping(instruction);
  return mapping != nullptr && interpreter_ != nullptr && mapping->same_file(*interpreter_);
}

/// Which frames a reader of a Python stack has no use for.
std::vector<bool> NativeFrames::find_folded(const MergedStack& stack, const NativeWalk& walk) {
  const std::vector<MergedFrame>& merged = stack.frames;
  std::vector<bool> folded(merged.size(), false);
  const auto last_loop = std::find_if(merged.rbegin(), merged.rend(), [](const MergedFrame& frame) {
                           return frame.from == From::EvaluationLoop;
                         }).base();
  for (std::size_t i = 0; i < merged.size(); ++i) {
    const auto& [from, index] = merged[i];
    if (from == From::Chain) continue;
    if (from == From::EvaluationLoop) {
      folded[i] = true;
      continue;
    }
    const std::string& function = locations_[location_of(walk.frames[index])].function;
    const bool beneath_python =
        stack.beyond == 0 && last_loop != merged.begin() &&
        i >= static_cast<std::size_t>(std::distance(merged.begin(), last_loop));
    if (is_interpreter(walk.frames[index].instruction())) {
      // A frame without a name tells something only if the thread is right there.
      folded[i] =
          beneath_python || is_call_machinery(function) || (function.empty() && i > 0) ||
          (i > 0 && merged[i - 1].from == From::Native &&
           takes_arguments_for(function,
                               locations_[location_of(walk.frames[merged[i - 1].index])].function));
    } else if (is_compiled_python(function)) {
      folded[i] = true;
    } else if (beneath_python) {
      folded[i] = function.empty() || begins_thread(function);
    }
  }
  return folded;
}

void NativeFrames::add(Thread& thread, std::vector<RawFrame>& chain, const NativeState& state) {
  std::vector<ChainLink> links;
  links.reserve(chain.size());
  std::vector<RemoteAddr> entry_frames;
  for (const RawFrame& frame : chain) {
    links.push_back({frame.at, frame.is_entry()});
    if (frame.is_entry()) entry_frames.push_back(frame.at);
  }
  const NativeWalk walk = unwinder_.walk(state, entry_frames);
  if (!walk.error.empty()) {
    thread.native_error = walk.frames.size() <= 1
                              ? fmt::format("the native stack could not be unwound: {}", walk.error)
                              : fmt::format(
                                    "the native stack could not be unwound beyond {} "
                                    "frames: {}",
                                    walk.frames.size(), walk.error);
  }
  const MergedStack merged = merge_stacks(links, walk);
  const auto native_frame = [&](std::size_t index) {
    Frame frame;
    frame.kind = FrameKind::Native;
    frame.native = location_of(walk.frames[index]);
    frame.guessed = walk.frames[index].guessed;
    return frame;
  };
  if (!merged.note.empty()) {
    thread.native_note = merged.note;
    for (std::size_t i = 0; i < walk.frames.size(); ++i)
      thread.native_frames.push_back(native_frame(i));
    return;
  }
  if (merged.beyond > 0 && walk.error.empty()) {
    thread.native_error = fmt::format(
        "the native stack ends before {} of the interpreter, whose native frames are not known: "
        "the thread has changed to another stack since",
        merged.beyond == 1 ? "a call" : fmt::format("{} calls", merged.beyond));
  }
  const std::vector<bool> folded = mode_ == Native::Full
                                       ? std::vector<bool>(merged.frames.size(), false)
                                       : find_folded(merged, walk);
  std::vector<Frame> frames;
  std::vector<RawFrame> raw;
  for (std::size_t i = 0; i < merged.frames.size(); ++i) {
    if (folded[i]) continue;
    const auto& [from, index] = merged.frames[i];
    if (from == From::Chain) {
      frames.push_back(std::move(thread.frames[index]));
      raw.push_back(chain[index]);
    } else {
      frames.push_back(native_frame(index));
      raw.emplace_back();
    }
  }
  thread.frames = std::move(frames);
  chain = std::move(raw);
}

namespace {

/// Keeps as many Python frames as were asked for, and the native ones above them. The others only
/// tell what the thread is doing.
void cut(Thread& thread, std::vector<RawFrame>& chain, std::size_t most) {
  std::size_t functions = 0;
  for (std::size_t i = 0; i < thread.frames.size(); ++i) {
    if (thread.frames[i].kind != FrameKind::Python || functions++ < most) continue;
    thread.truncated = true;
    thread.outer_frames.assign(thread.frames.begin() + static_cast<std::ptrdiff_t>(i),
                               thread.frames.end());
    thread.frames.resize(i);
    chain.resize(i);
    return;
  }
}

}  // namespace

void add_native_frames(Draft& draft, std::vector<std::vector<RawFrame>>& chains) {
  Snapshot& snapshot = draft.snapshot;
  NativeFrames native(draft.memory, draft.target, draft.runtime, draft.native->maps,
                      draft.options.native, snapshot.native_locations, draft.log);
  for (Thread& thread : draft.bare_threads) {
    thread.consistent = draft.native->states.contains(thread.tid);
    if (thread.consistent) thread.proof = Proof::Paused;
    snapshot.threads.push_back(std::move(thread));
    chains.emplace_back();
  }
  for (std::size_t i = 0; i < snapshot.threads.size(); ++i) {
    Thread& thread = snapshot.threads[i];
    const auto state = draft.native->states.find(thread.tid);
    if (state != draft.native->states.end()) {
      native.add(thread, chains[i], state->second);
    } else if (thread.tid != 0) {
      const auto refusal = draft.native->refusals.find(thread.tid);
      thread.native_error = fmt::format(
          "it could not be held for its native frames: {}",
          refusal == draft.native->refusals.end() ? "it was started meanwhile" : refusal->second);
      if (!thread.python) thread.inconsistency = thread.native_error;
    }
    if (draft.options.max_frames) cut(thread, chains[i], *draft.options.max_frames);
  }
}

}  // namespace pyscope
