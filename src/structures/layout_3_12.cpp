// CPython 3.12, which publishes no offsets: all are built in. Sources: scripts/make_layout.py (the
// structures), Include/cpython/pystate.h (status), Include/opcode.h, Include/cpython/object.h.
#include "structures/built_in.hpp"
#include "structures/built_in_3_12.hpp"
#include "structures/layouts.hpp"

namespace pyscope {
namespace {

using enum Field;

// What lies before an instance: the word for its dict or its values.
constexpr auto kBeforeObjects =
    std::to_array<BuiltInField>({{PreHeaderSize, 32}, {PreHeaderDict, 24}});

constexpr auto kBackwardJumps = std::to_array<std::uint8_t>({140, 134, 246});
constexpr auto kChangingInstructions = std::to_array<OpcodeRange>({{23, 24},
                                                                   {27, 29},
                                                                   {34, 34},
                                                                   {38, 40},
                                                                   {43, 48},
                                                                   {56, 56},
                                                                   {60, 61},
                                                                   {122, 122},
                                                                   {142, 142},
                                                                   {145, 147},
                                                                   {159, 160},
                                                                   {162, 165},
                                                                   {171, 171},
                                                                   {173, 174},
                                                                   {237, 254}});
constexpr auto kResumes = std::to_array<std::uint8_t>({151, 240});

}  // namespace

const PythonLayout kLayout312 = {
    .minor = 12,
    .fields = {},
    .built_in = {kStructures312, kBuiltInNumpy, kBeforeObjects},
    .status = {.initialized = 1U << 0U,
               .unbound = 1U << 2U,
               .bound_gilstate = 1U << 3U,
               .cleared = 1U << 6U,
               .finalized = 1U << 7U},
    .names_last_unit = true,
    .instance_values = InstanceValues::BehindTaggedPointer,
    .backward_jumps = kBackwardJumps,
    .changing_instructions = kChangingInstructions,
    .rlock_is_semaphore = true,
    .with_keeps_bound_exit = true,
    .with_except_start = 49,
    .generator = {.suspended = -1, .delegating = 1},
    .resumes = kResumes,
    .unicode = {15, 0},
};

}  // namespace pyscope
