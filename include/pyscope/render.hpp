// A snapshot to text for people, or to JSON for scripts. Renderers see the model and nothing else.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pyscope/diagnosis.hpp"
#include "pyscope/error.hpp"
#include "pyscope/execution.hpp"
#include "pyscope/inspected_value.hpp"
#include "pyscope/python_process.hpp"
#include "pyscope/snapshot.hpp"

namespace pyscope {

enum class Grouping : std::uint8_t {
  Automatic,  // threads with the same stack once, unless all is asked for
  Always,
  Never,
};

/// A line of a message that may hold text from a target, such as an error's: safe to print.
[[nodiscard]] std::string render_line(std::string_view message);

/// How the program was started, for hints that say what to type next.
struct Invocation {
  std::string program = "pyscope";  // the path of its executable
  std::vector<std::string> words;   // the verb and its arguments, as typed; empty: not known
};

/// The text that says what to do next: an error's `hint`, or its `command_hint` in words. Empty if
/// there is nothing to do. The renderers below use it without an invocation, and then name the verb
/// dump.
[[nodiscard]] std::string render_hint(const Error& error, const Invocation& invocation = {});

struct TextOptions {
  bool color = false;
  Grouping grouping = Grouping::Automatic;
  /// Of the terminal: a source line that doesn't fit is cut around the piece that is being
  /// executed, since a terminal would wrap it and put the marks below something else, and values
  /// are cut, too. 0: for a file or a pipe, nothing is cut.
  std::size_t columns = 0;
  /// Show the tasks below the threads (CaptureOptions::tasks).
  bool tasks = false;
  /// All frames of all threads with their source lines. Otherwise threads at rest have a line each,
  /// and machinery around the program's own frames has a line for all of its frames.
  bool full = false;
  /// Threads at rest have their stacks, too.
  bool idle_stacks = false;
};

/// The text form: deadlocks, a summary in at most three lines of the terminal, a heading, and the
/// threads with their frames, innermost first. Threads that deserve attention come first. Ends with
/// a line end.
[[nodiscard]] std::string render_text(const Snapshot& snapshot, const TextOptions& options);

enum class JsonStyle : std::uint8_t {
  Pretty,   // indented, for one document
  Compact,  // one line, for JSON Lines
};

inline constexpr std::string_view kDumpSchema = "pyscope.dump/1";

/// The contract's object, schema pyscope.dump/1. Ends with a line end.
[[nodiscard]] std::string render_json(const Snapshot& snapshot, JsonStyle style);
/// Takes a text piece by piece, while it is made.
using TextSink = std::function<void(std::string_view)>;
/// The same document, which is never there as a whole: that of deep stacks is large.
void render_json(const Snapshot& snapshot, JsonStyle style, TextSink take);

/// The contract's error object for a process that could not be read. Ends with a line end.
[[nodiscard]] std::string render_json(pid_t pid, const Error& error, JsonStyle style,
                                      std::string_view schema = kDumpSchema);

inline constexpr std::string_view kWhySchema = "pyscope.why/1";

struct DiagnosisTextOptions {
  bool color = false;
  bool full = false;  // threads at rest with their evidence, each on its own
};

/// A verdict for each thread, the worst first, with its evidence; deadlocks before all else. Ends
/// with a line end.
[[nodiscard]] std::string render_text(const Diagnosis& diagnosis,
                                      const DiagnosisTextOptions& options);

/// The contract's object, schema pyscope.why/1. Ends with a line end.
[[nodiscard]] std::string render_json(const Diagnosis& diagnosis);

inline constexpr std::string_view kTasksSchema = "pyscope.tasks/1";

struct TasksTextOptions {
  bool color = false;
  std::size_t columns = 0;  // as TextOptions::columns
  bool flat = false;        // a line for each task, in place of a tree with stacks
  bool full = false;        // each task on its own, and source lines of libraries, too
  /// Only these tasks: names or ids. Empty: all.
  std::vector<std::string> tasks = {};
};

/// The tasks of a snapshot: a one-line summary, what was found wrong, and the tree of tasks, each
/// with its frames, innermost first. Tasks that are alike are shown once. Ends with a line end.
[[nodiscard]] std::string render_tasks(const Snapshot& snapshot, const TasksTextOptions& options);

/// The contract's object, schema pyscope.tasks/1. Ends with a line end.
[[nodiscard]] std::string render_tasks_json(const Snapshot& snapshot, JsonStyle style,
                                            std::span<const std::string> tasks = {});
/// The same, piece by piece.
void render_tasks_json(const Snapshot& snapshot, JsonStyle style,
                       std::span<const std::string> tasks, TextSink take);

inline constexpr std::string_view kInspectSchema = "pyscope.inspect/1";

struct InspectTextOptions {
  bool color = false;
  bool path = false;  // before each value, as when there are several
  /// A value that is wider is laid out over lines; 0: each value is one line, equal to its repr().
  std::size_t columns = 0;
};

/// Values as text: each on a line, with what is in it below if that was asked for. Errors are left
/// out. Ends with a line end, unless there is nothing.
[[nodiscard]] std::string render_text(const InspectedValue& value,
                                      const InspectTextOptions& options);

/// The contract's object for one path, schema pyscope.inspect/1. Ends with a line end.
[[nodiscard]] std::string render_json(pid_t pid, const InspectedValue& value, JsonStyle style);

inline constexpr std::string_view kExecSchema = "pyscope.exec/1";

/// The contract's object for code in one thread, schema pyscope.exec/1. Ends with a line end.
[[nodiscard]] std::string render_json(const Execution& execution, JsonStyle style);

/// Text of several lines that a program wrote: line ends and tabs stay, all else is escaped.
[[nodiscard]] std::string render_output(std::string_view text);

/// What the main thread of a snapshot does, in some words: "waiting for a lock in reserve". Empty
/// if there is no such thread. Escaped.
[[nodiscard]] std::string summarize_main_thread(const Snapshot& snapshot);

inline constexpr std::string_view kPsSchema = "pyscope.ps/1";

struct ProcessListOptions {
  bool color = false;
  std::size_t columns = 0;  // of the terminal, to cut command lines at; 0: nowhere
  bool full = false;        // whole command lines, with the path of the interpreter
};

/// A table with a heading, children below their parents, and below it what kept processes from
/// being read. Empty for no processes; ends with a line end.
[[nodiscard]] std::string render_text(std::span<const PythonProcess> processes,
                                      const ProcessListOptions& options);

/// The contract's object for one process in a list, schema pyscope.ps/1, on one line.
[[nodiscard]] std::string render_json(const PythonProcess& process);

}  // namespace pyscope
