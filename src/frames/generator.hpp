// Generators, coroutines and asynchronous generators: their state, and the chain of frames that
// begins with the frame inside of them.
#pragma once

#include <cstdint>

#include "frames/raw_frame.hpp"
#include "python/reader.hpp"
#include "python/stack_start.hpp"

namespace pyscope {

enum class GeneratorState : std::uint8_t { NotStarted, Suspended, Running, Finished };

struct Generator {
  GeneratorState state = GeneratorState::Finished;
  /// Suspended at an `await` or `yield from`: read_awaited() gives the object that is waited for.
  bool delegates = false;
  /// Where a walk of its chain begins; no current frame if it has finished. The chain of one that
  /// is suspended or hasn't started ends with its own frame, the chain of a running one goes on to
  /// the caller. `max_frames` is left to the caller.
  StackStart stack;
};

/// `object` must be a generator, a coroutine or an asynchronous generator.
[[nodiscard]] Result<Generator> read_generator(const Reader& reader, RemoteAddr object);

/// The object that a generator's frame waits for at an `await` or `yield from`; the generator must
/// delegate. Null if there is none.
[[nodiscard]] Result<RemoteAddr> read_awaited(const Reader& reader, const Generator& generator);

}  // namespace pyscope
