// What is fuzzed: each takes any bytes, and aborts where a promise is broken (promises.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace pyscope::fuzz {

/// One parser of texts and tables, which the first byte chooses, on the rest.
void parsers(std::span<const std::uint8_t> input);

/// A dump of a recorded process whose memory the input changes: its first byte chooses the
/// recording (of those in the folder that PYSCOPE_FUZZ_RECORDINGS names), its second what lies
/// where nothing was recorded and whether the memory changes while it is read, and each nine
/// further bytes replace a word.
void image(std::span<const std::uint8_t> input);

/// The same with the values at paths instead of a dump.
void inspect(std::span<const std::uint8_t> input);

/// The same with a dump of native frames: words of the stacks, and of all else that was read for
/// them (unwinding tables, code, symbols), and sometimes the registers.
void native(std::span<const std::uint8_t> input);

/// Writes a file for --replay with the words that an input of `image` or `inspect` replaces.
void save_image(std::span<const std::uint8_t> input, const std::string& path);

/// A file of a recording. Memory that it lacks is that of the recording with the same runtime.
void recording(std::span<const std::uint8_t> input);

/// The renderers, by a model that the input is made into: all its texts, positions and numbers.
void render(std::span<const std::uint8_t> input);

}  // namespace pyscope::fuzz
