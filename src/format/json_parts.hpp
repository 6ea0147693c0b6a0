// What the documents of several verbs have in common. Each type of the model that more than one
// document shows has its writer here.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "format/json_writer.hpp"
#include "format/timestamp.hpp"
#include "pyscope/error.hpp"
#include "pyscope/snapshot.hpp"

namespace pyscope {

/// The schema and the process, with which a short document begins.
void write_subject(JsonWriter& json, std::string_view schema, pid_t pid);

/// The schema, the process, and when and by which pyscope it was looked at: a full document begins
/// so. `Process` is a Snapshot or a PythonProcess.
template <class Process>
void write_capture(JsonWriter& json, std::string_view schema, const Process& process) {
  json.word_field("schema", schema);
  json.word_field("pyscope", PYSCOPE_VERSION);
  json.word_field("captured_at", format_utc(process.captured_at));
  json.text_field("host", process.host);
  json.id_field("pid", process.pid);
  json.id_field("namespace_pid", process.namespace_pid);
}

void write_start_time(JsonWriter& json,
                      const std::optional<std::chrono::system_clock::time_point>& started_at);
/// Writes the fields of the build.
void write_build(JsonWriter& json, const PythonBuild& build);
/// Writes the type and the address of the lock.
void write_lock_identity(JsonWriter& json, const LockWait& lock);
/// Writes the threads that can bring about what is waited for; nothing if none is known.
void write_servers(JsonWriter& json, const LockWait& lock);
void write_deadlocks(JsonWriter& json, const std::vector<Deadlock>& deadlocks);
void write_warnings(JsonWriter& json, const std::vector<std::string>& warnings);
/// Writes an error of a part of a document, whose other parts are there.
void write_partial_error(JsonWriter& json, std::string_view message);
/// Writes a whole error, with the hint for what to do next.
void write_error(JsonWriter& json, const Error& error);

}  // namespace pyscope
