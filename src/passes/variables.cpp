#include "passes/variables.hpp"

#include <algorithm>
#include <span>
#include <unordered_set>
#include <utility>
#include <vector>

#include "frames/variables.hpp"
#include "memory/page_cache.hpp"
#include "values/repr.hpp"

namespace pyscope {
namespace {

/// A frame whose variables are wanted.
struct WantedFrame {
  const RawFrame* raw;
  Frame* model;
};

/// Those of the threads that are shown, and then those of the stacks that no thread executes.
std::vector<WantedFrame> wanted_frames(Draft& draft) {
  std::vector<WantedFrame> frames;
  for (std::size_t t = 0; t < draft.wanted; ++t) {
    ThreadDraft& thread = draft.threads[t];
    for (std::size_t i = 0; i < thread.thread.frames.size(); ++i) {
      if (!thread.thread.frames[i].code) continue;
      frames.push_back({&thread.stack.walk.frames[thread.raw_frames[i]], &thread.thread.frames[i]});
    }
  }
  for (SuspendedStack& stack : draft.snapshot.stacks) {
    const auto found = draft.frames_of_stack.find(stack.id);
    for (std::size_t i = 0; i < stack.frames.size(); ++i) {
      if (stack.frames[i].code) frames.push_back({&found->second[i], &stack.frames[i]});
    }
  }
  return frames;
}

/// Whether a frame of a stack is still there: the same function, called by the same frame. By the
/// time the variables are read, another function's frame may lie at the address.
bool is_there(const Reader& reader, const RawFrame& frame) {
  const auto now = read_frame(reader.memory(), reader.offsets(), frame.at);
  return now && now->previous == frame.previous && now->executable == frame.executable;
}

/// What the variables of all frames may be, whatever their values are. Each frame counts, too.
// Bound: variables of all frames
constexpr std::size_t kMostVariables = 200'000;
// Bound (bytes): names of variables
constexpr std::size_t kMostNameBytes = std::size_t{32} << 20U;

/// Hands each frame's variables, and whether the frame is still there, to `take`. Returns how many
/// frames were read: all, unless they have too many variables.
template <class Take>
std::size_t read_each(const Draft& draft, std::span<const WantedFrame> frames, const Take& take) {
  // Bound (bytes): copies of memory for the variables of a dump
  constexpr std::size_t kMostForValues = std::size_t{128} << 20U;
  // Bound: looks at memory for the variables of a dump
  constexpr std::uint64_t kMostWork = std::uint64_t{1} << 23U;
  const PageCache cache(draft.memory, kMostForValues, kMostWork);
  const Reader reader(cache, draft.offsets());
  ObjectReader objects(reader);
  ReprBudget budget;
  ReprWriter values(objects, draft.options.values, budget);
  std::unordered_set<std::uint64_t> being_changed;
  if (draft.instant != nullptr) {
    being_changed = find_objects_being_changed(reader, draft.gils);
    values.decoder().set_being_changed(being_changed);
  }
  std::size_t variables = 0;
  std::size_t name_bytes = 0;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    if (variables >= kMostVariables || name_bytes >= kMostNameBytes) return i;
    const WantedFrame& frame = frames[i];
    const std::size_t failures = cache.failures();
    Locals locals = read_locals(reader, *frame.raw, values, draft.options.values);
    // An attribute that wasn't found may be where nothing could be read.
    locals.complete = locals.complete && cache.failures() == failures;
    locals.half_done = values.decoder().met_one_being_changed();
    variables += 1 + locals.variables.size();
    for (const Local& local : locals.variables)
      name_bytes += local.name.size();
    take(*frame.model, std::move(locals), is_there(reader, *frame.raw));
  }
  return frames.size();
}

/// Of a recording: whether nobody had a GIL when it was made, so that nothing changed.
bool nobody_had_a_gil(const Draft& draft) {
  const Gils now = read_gils(draft.memory, draft.offsets(), draft.raw);
  return now == draft.gils && std::all_of(now.begin(), now.end(),
                                          [](const auto& gil) { return gil.second.locked == 0; });
}

}  // namespace

Locals read_locals(const Reader& reader, const RawFrame& frame, ReprWriter& values,
                   const ValueLimits& limits) {
  Locals locals;
  const auto found = read_variables(reader, frame);
  if (!found) {
    locals.error = found.error().message;
    return locals;
  }
  locals.complete = found->complete;
  for (const FrameVariable& variable : found->variables) {
    // A module may hold hundreds of names.
    if (found->is_namespace && locals.variables.size() >= limits.max_items) {
      ++locals.left_out;
      continue;
    }
    Repr repr = values.write(variable.value, variable.name);
    locals.complete = locals.complete && repr.complete;
    locals.variables.push_back({.name = variable.name,
                                .kind = variable.kind,
                                .parameter = variable.parameter,
                                .type = std::move(repr.type),
                                .repr = std::move(repr.text),
                                .detail = std::move(repr.detail),
                                .truncated = repr.truncated});
  }
  return locals;
}

void read_variables(Draft& draft) {
  std::vector<WantedFrame> frames = wanted_frames(draft);
  // If nobody has taken a GIL since the threads were listed, the frames are as they were.
  const bool rests = draft.instant == nullptr && !draft.is_read_again() &&
                     draft.target.living() != nullptr && !draft.holds.holds_all() &&
                     draft.copier.mark() && draft.copier.marked_gils() == draft.gils;
  auto& all = draft.snapshot.locals;
  const std::size_t read = read_each(draft, frames, [&](Frame& frame, Locals locals, bool) {
    frame.locals = static_cast<std::uint32_t>(all.size());
    all.push_back(std::move(locals));
  });
  if (read < frames.size()) {
    const auto index = static_cast<std::uint32_t>(all.size());
    for (std::size_t i = read; i < frames.size(); ++i)
      frames[i].model->locals = index;
    all.emplace_back();
    all.back().complete = false;
    all.back().error = "not read: the frames before this one have too many variables";
    frames.resize(read);
  }
  // While all threads stand, nothing changes; end_hold() says whether they did.
  if (draft.holds.holds_all()) return;
  if (draft.instant != nullptr) {
    for (Locals& locals : all) {
      locals.consistent = draft.at_one_instant() && !locals.half_done;
      draft.unsettled = draft.unsettled || locals.half_done || !locals.complete;
    }
    return;
  }
  // The session will say whether any thread has run meanwhile.
  if (draft.is_read_again()) return;
  const bool lives = draft.target.living() != nullptr;
  if (lives ? rests && draft.copier.stood_since_mark() : nobody_had_a_gil(draft)) return;
  (void)read_each(draft, frames, [&](const Frame& frame, const Locals& again, bool there) {
    Locals& locals = all[*frame.locals];
    locals.same_twice = there && locals.variables == again.variables && locals.error.empty();
    // What a living process changes in between, and changes back, was perhaps never so.
    locals.consistent = locals.same_twice && !lives;
  });
}

}  // namespace pyscope
